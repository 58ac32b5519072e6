"""A run as its model sees it, whatever the model does to it."""

import io
from typing import cast

from zypher.prediction import Claim
from zypher.replicas.channel import Channel
from zypher.replicas.frames import Told
from zypher.replicas.lines import Line
from zypher.replicas.runs import Run


class Wire:
    """Takes what a run tells; while it does, something else is printed, as by a thread."""

    def __init__(self) -> None:
        self.told: list[bytes] = []
        self.noted: list[str] = []
        self.run = Run([Claim("id", 1)], None, cast("Channel", self))

    def offer(self, told: Told) -> None:
        self.told.append(told.data)
        self.run.printed("more", io.StringIO())

    def note(self, line: Line) -> None:
        self.noted.append(line.text)


def test_a_run_can_end_while_a_thread_of_it_still_prints() -> None:
    wire = Wire()
    wire.run.printed("half a line", io.StringIO())
    wire.run.end()
    assert wire.told == [b'{"text":"half a line"}']
    assert wire.noted == ["half a line"]
