"""Our own standard error: written to, whoever reads it or does not."""

import os
import time

from tests.stderr import our_stderr
from zypher.stderr import patient_stderr

MUCH = 1_000_000  # more than any pipe takes


def test_what_is_written_arrives_at_the_end_of_each_line() -> None:
    with our_stderr() as reading:
        stderr = patient_stderr()
        stderr.write("a line\n")
        assert os.read(reading, MUCH) == b"a line\n"


def test_a_reader_that_reads_nothing_is_waited_for_once_and_not_again() -> None:
    with our_stderr():
        stderr = patient_stderr()
        started = time.monotonic()
        for _ in range(100):
            stderr.write("x" * (MUCH // 100) + "\n")
        assert time.monotonic() - started < 1.0


def test_a_reader_that_reads_again_gets_what_is_written_then_on_a_line_of_its_own() -> None:
    with our_stderr() as reading:
        stderr = patient_stderr()
        stderr.write("x" * MUCH + "\n")
        os.read(reading, MUCH)
        stderr.write("a line\n")
        assert os.read(reading, MUCH) == b"\na line\n"
