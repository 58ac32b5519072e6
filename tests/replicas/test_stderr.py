"""The standard error of a replica's process: passed on, and its end kept."""

import asyncio
import os

import pytest

from tests.harness import PATIENCE
from tests.stderr import our_stderr
from zypher.replicas.stderr import ErrorOutput

pytestmark = pytest.mark.anyio


async def ended(output: ErrorOutput) -> None:
    async with asyncio.timeout(PATIENCE):
        await output.ended.wait()


async def test_what_is_written_is_passed_on_and_the_last_lines_are_kept() -> None:
    with our_stderr() as reading:
        output = ErrorOutput("m")
        with output.starting() as writing:
            os.write(writing, b"".join(b"line %d\n" % number for number in range(30)) + b"\xff")
        await ended(output)
        assert output.last_lines == [f"line {number}" for number in range(11, 30)] + ["\\xff"]
        assert os.read(reading, 10_000).endswith(b"line 29\n\\xff\n")


async def test_a_long_line_is_cut() -> None:
    output = ErrorOutput("m")
    with output.starting() as writing:
        os.write(writing, b"x" * 10_000)
    await ended(output)
    assert output.last_lines == ["x" * 500]


async def test_what_was_written_before_the_beginning_is_forgotten_though_nobody_has_read_it() -> (
    None
):
    output = ErrorOutput("m")
    with output.starting() as writing:
        os.write(writing, b"of others\nhalf a ")
        output.begin()
        os.write(writing, b"line\nnew\n")
    await ended(output)
    assert output.last_lines == ["line", "new"]


async def test_what_was_read_before_the_beginning_is_forgotten() -> None:
    output = ErrorOutput("m")
    with output.starting() as writing:
        os.write(writing, b"of others\n")
    await ended(output)
    assert output.last_lines == ["of others"]
    output.begin()
    assert output.last_lines == []


async def test_a_model_goes_on_though_nobody_reads_our_standard_error() -> None:
    with our_stderr():
        output = ErrorOutput("m")
        with output.starting() as writing:
            process = await asyncio.create_subprocess_exec(
                *("head", "-c", "1000000", "/dev/zero"), stdout=writing
            )
        async with asyncio.timeout(PATIENCE):
            assert await process.wait() == 0
        await ended(output)
