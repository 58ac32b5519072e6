"""The benchmarks run, and count what they are for."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SYSTEMS = ("raw", "zypher")


def test_a_small_round_of_jobs_has_figures_of_every_system_and_no_errors() -> None:
    command = [sys.executable, "-m", "benchmarks", "durable", "--rounds", "1", "--jobs", "200"]
    ran = subprocess.run(
        [*command, "--only", *SYSTEMS], cwd=ROOT, check=True, capture_output=True, text=True
    )
    lines = [line.split() for line in ran.stdout.splitlines()]
    figures = {line[0]: line[1:] for line in lines if line and line[0] in SYSTEMS}
    assert figures["raw"][1] == "1.00"
    assert float(figures["zypher"][1]) > 0
    assert [figures[system][-1] for system in SYSTEMS] == ["0", "0"]
