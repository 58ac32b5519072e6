"""How the queues stood over the last minutes, for plots."""

from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

from zypher.brokers.base import ModelStats
from zypher.clock import Clock
from zypher.server.records import timestamp

# Seconds between two samples, and over how many seconds they are kept.
INTERVAL = 2.0
LENGTH = 300.0


class _Reading(NamedTuple):
    """How many predictions had ended, by model, at a steady time."""

    at: float
    ended: dict[str, int]


class History:
    """Samples of the last minutes. They are few, whoever follows."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._samples: deque[dict[str, Any]] = deque(maxlen=int(LENGTH / INTERVAL))
        self._last: _Reading | None = None

    @property
    def samples(self) -> list[dict[str, Any]]:
        """The oldest first."""
        return list(self._samples)

    @property
    def newest(self) -> dict[str, Any] | None:
        """The last one that was taken."""
        return self._samples[-1] if self._samples else None

    def add(self, stats: Mapping[str, ModelStats]) -> None:
        """Take a sample of how the queues stand now."""
        now = _Reading(self._clock.steady(), {name: _ended(one) for name, one in stats.items()})
        before, self._last = self._last, now
        self._samples.append(
            {
                "time": timestamp(self._clock.wall()),
                "models": {
                    name: {
                        "queued": one.queued,
                        "processing": one.processing,
                        "throughput": _throughput(name, before, now),
                        "service_time": one.service_time,
                        "oldest_queued_age": round(one.oldest_queued_age, 3),
                    }
                    for name, one in stats.items()
                },
            }
        )


def _ended(stats: ModelStats) -> int:
    return stats.completed + stats.failed + stats.canceled


def _throughput(name: str, before: _Reading | None, now: _Reading) -> float | None:
    """Predictions that ended per second between two readings; None if nobody can know."""
    if before is None or name not in before.ended or now.at <= before.at:
        return None
    ended = now.ended[name] - before.ended[name]
    return None if ended < 0 else round(ended / (now.at - before.at), 3)  # it was counted anew
