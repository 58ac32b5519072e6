"""A run as its model sees it, whatever the model does to it."""

import io
import sys
from typing import cast

import pytest

from zypher.prediction import Claim
from zypher.replicas.channel import Channel
from zypher.replicas.frames import Told
from zypher.replicas.runs import Run


class Wire:
    """Takes what a run tells; while it does, something else is printed, as by a thread."""

    def __init__(self) -> None:
        self.told: list[bytes] = []
        self.run = Run([Claim("id", 1)], None, cast("Channel", self))

    def offer(self, told: Told) -> None:
        self.told.append(told.data)
        self.run.printed("more", io.StringIO())


def test_a_run_can_end_while_a_thread_of_it_still_prints() -> None:
    wire = Wire()
    wire.run.printed("half a line", io.StringIO())
    wire.run.end()
    assert wire.told == [b'{"text":"half a line"}']


def test_a_run_can_log_though_the_model_has_closed_its_standard_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "__stderr__", closed)
    wire = Wire()
    wire.run.log("a line")
    assert wire.told == [b'{"text":"a line"}']
