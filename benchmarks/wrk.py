"""Synchronous calls: wrk asks over connections that stay open, each as soon as it was answered."""

import json
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.processes import LOAD_CORE, folder, processor_time
from benchmarks.systems import KEY, Service, Setup

_SCRIPT = Path(__file__).with_name("wrk.lua")


class Answers(NamedTuple):
    """What wrk has seen: how many answers, and the right ones per second; the processor time that
    the server's processes took for each, in microseconds; latencies in milliseconds; how many
    answers were not 200, and what broke."""

    answered: int
    rate: float
    cost: float
    p50: float
    p99: float
    slowest: float
    refused: int
    broken: int

    @property
    def errors(self) -> int:
        """What was not answered with 200."""
        return self.refused + self.broken


def ask(
    service: Service,
    setup: Setup,
    inputs: Sequence[Any],
    connections: int,
    seconds: int,
    *,
    headers: Sequence[str] = (),
) -> Answers:
    """Let wrk ask for so long; every 20th time with the second input, if there is one, which is
    meant to be refused. `headers` are `Name: value`, or `Name: #` for a value that differs."""
    wrk = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s"]
    pin = ["taskset", "-c", LOAD_CORE] if setup.pinned else []
    keys = [f"X-API-Key: {KEY}"] if setup.keyed else []
    address = f"http://127.0.0.1:{service.port}{service.path}"
    with folder() as directory:
        bodies = [directory / str(number) for number in range(len(inputs))]
        for body, input in zip(bodies, inputs, strict=True):
            body.write_text(json.dumps({"input": input}, separators=(",", ":")))
        before = processor_time(*service.processes)
        output = subprocess.run(
            [*pin, *wrk, "-s", str(_SCRIPT), address, "--", *map(str, bodies), *keys, *headers],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    told = json.loads(output.splitlines()[-1])
    used = processor_time(*service.processes) - before
    right = told["answers"] - (told["refused"] if len(inputs) == 1 else 0)
    return Answers(
        told["answers"],
        right / told["seconds"],
        1e6 * used / max(1, told["answers"]),
        *(told[name] for name in ("p50", "p99", "slowest", "refused", "broken")),
    )


def median(rounds: Sequence[Answers], field: str) -> float:
    return float(statistics.median(getattr(answers, field) for answers in rounds))
