"""Others who want the same file: a second server, and a person with a tool."""

import asyncio
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from tests.faults.report import Report, Size
from tests.faults.rig import Rig, target
from tests.harness import ZYPHER

# So many seconds a second server has to notice that it is one.
_SOON = 2.0
# And after so many it has not.
_NEVER = 10.0


async def second_server(size: Size, directory: Path) -> Report:
    """A second server, and a tool, open the file of one that serves."""
    async with Rig(directory, "work") as rig:
        wrong: list[str] = []
        async with rig.load(clients=2) as load:
            for _ in range(size.of(2, 10)):
                await load.accepts(10)
                wrong += await asyncio.to_thread(lambda: [*_start_another(rig), *_open_file(rig)])
            await load.accepts(10)
        return await rig.report("a second server, a tool on the file", *wrong)


def _start_another(rig: Rig) -> Iterator[str]:
    """Start a second server; what is wrong with how it ends."""
    command = [str(ZYPHER), "serve", "--port", "0", target("work")]
    started = time.monotonic()
    try:
        second = subprocess.run(
            command, cwd=rig.directory, capture_output=True, text=True, timeout=_NEVER, check=False
        )
    except subprocess.TimeoutExpired:
        yield "A second server serves the same file."
        return
    seconds = time.monotonic() - started
    if second.returncode == 0:
        yield "A second server ended as if all were well."
    if seconds > _SOON:
        yield f"A second server took {seconds:.1f} s to refuse."
    if str(rig.running.process.pid) not in second.stderr:
        yield f"A second server did not name the first: {second.stderr.strip()}"


def _open_file(rig: Rig) -> Iterator[str]:
    """Open the file as a tool does; what is wrong if that works."""
    with closing(sqlite3.connect(rig.directory / "zypher.db", timeout=0)) as tool:
        try:
            tool.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                return
            yield f"A tool was told: {error}."
        else:
            yield "A tool could read the file of a running server."
