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

# So many seconds a second server has to notice that it is one; more where others use the machine.
_SOON = 2.0
_SOON_IN_COMPANY = 5.0
# And after so many it has not.
_NEVER = 10.0


async def second_server(size: Size, directory: Path) -> Report:
    """A second server, and a tool, open the file of one that serves."""
    async with Rig(directory, "work") as rig:
        await rig.stop()
        await rig.start()  # a file that is there is opened in another way than a new one
        soon = _SOON if size is Size.FULL else _SOON_IN_COMPANY
        wrong: list[str] = []
        for _ in range(size.of(1, 10)):
            started = time.monotonic()
            wrong += await asyncio.to_thread(list, _start_another(rig))
            if (seconds := time.monotonic() - started) > soon:
                wrong.append(f"A second server took {seconds:.1f} s to refuse.")
            async with rig.load(clients=2) as load:
                await load.accepts(10)
                for intrusion in (_start_another, _open_file):
                    wrong += await asyncio.to_thread(list, intrusion(rig))
                    await load.accepts(10)
        return await rig.report("a second server, a tool on the file", *wrong)


def _start_another(rig: Rig) -> Iterator[str]:
    """Start a second server; what is wrong with how it ends."""
    command = [str(ZYPHER), "serve", "--port", "0", target("work")]
    try:
        second = subprocess.run(
            command, cwd=rig.directory, capture_output=True, text=True, timeout=_NEVER, check=False
        )
    except subprocess.TimeoutExpired:
        yield "A second server serves the same file."
        return
    if second.returncode == 0:
        yield "A second server ended as if all were well."
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
