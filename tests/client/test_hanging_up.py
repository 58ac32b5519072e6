"""Who stops waiting for a predict abandons it: its run is asked to end."""

import asyncio
import signal
import subprocess
import sys

import pytest

from tests.harness import PATIENCE, Server, holder
from zypher import AsyncClient


def test_ctrl_c_abandons_the_run(server: Server) -> None:
    script = (
        "import sys, zypher; zypher.Client(sys.argv[1]).predict(int(sys.argv[2]), model='hold')"
    )
    with holder() as holding:
        arguments = [sys.executable, "-c", script, server.url, str(holding.port)]
        with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
            run = holding.started()
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=PATIENCE)
            assert errors.rstrip().endswith("KeyboardInterrupt")
        assert run.said() == ""  # it has ended


def test_ctrl_c_ends_a_program_in_the_middle_of_a_map(server: Server) -> None:
    script = (
        "import sys, zypher\n"
        "list(zypher.Client(sys.argv[1]).map([int(sys.argv[2])] * 3, model='hold'))"
    )
    with holder() as holding:
        arguments = [sys.executable, "-c", script, server.url, str(holding.port)]
        with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
            runs = [holding.started() for _ in range(3)]
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=PATIENCE)
        for run in runs:
            assert run.said() == ""


@pytest.mark.anyio
async def test_to_cancel_a_task_abandons_the_run(server: Server) -> None:
    with holder() as holding:
        async with AsyncClient(server.url) as client:
            predicting = asyncio.create_task(client.predict(holding.port, model="hold"))
            run = await asyncio.to_thread(holding.started)
            predicting.cancel()
            assert await asyncio.to_thread(run.said) == ""
            with pytest.raises(asyncio.CancelledError):
                await predicting


@pytest.mark.anyio
async def test_to_leave_a_map_abandons_what_runs(server: Server) -> None:
    with holder() as holding:
        async with AsyncClient(server.url) as client:
            results = client.map([holding.port] * 2, model="hold")
            first = asyncio.ensure_future(anext(results))
            runs = [await asyncio.to_thread(holding.started) for _ in range(2)]
            first.cancel()
            for run in runs:
                assert await asyncio.to_thread(run.said) == ""
