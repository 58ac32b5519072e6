"""The logs of all runs together are bounded, and nobody is told less without being told so."""

import pytest

from zypher.brokers import events
from zypher.brokers.base import Event
from zypher.brokers.events import EventLogs


def test_a_log_that_gave_way_to_another_goes_on_with_its_numbers_and_has_a_gap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events, "_MOST_BYTES_OF_ALL", 5_000)
    logs = EventLogs()
    for _ in range(3):
        logs.append("long", 1, Event("log", b"1"))
    logs.append("other", 1, Event("log", bytes(4_600)))
    assert logs.after("long", 1, 2) == ([], True)
    assert logs.after("long", 1, 3) == ([], False)
    for _ in range(2):
        logs.append("long", 1, Event("log", b"2"))
    new, has_gap = logs.after("long", 1, 3)
    assert ([number for number, _ in new], has_gap) == ([4, 5], False)
    assert logs.after("long", 1, 2)[1]
