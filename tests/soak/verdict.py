"""Whether what a system takes up is flat: the same at the end as after its warm-up."""

import statistics
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tests.soak.gauges import Sample

# Fewer samples say nothing about a trend.
FEWEST = 6

# How much more the last third may have than the first, as a part of it: what load of the machine
# and chance make of it. More where it is in proportion to the traffic of the last minute; a leak
# there is in proportion to all that there ever was.
_TOLERANCE = 0.05
_OF_TRAFFIC = 0.25

_MB = 1e6

# And beside that, by the ending of a gauge's name: the least that means anything.
_SLACK = {
    "memory": 4 * _MB,
    "database": 1 * _MB,
    "keys": 100,
    "entries of streams": 100,
    "files": 10,
    "connections": 4,
}
_LEAST_SLACK = 2.0


class Trend(NamedTuple):
    """How one gauge went: its median in the first and in the last third, and per hour."""

    gauge: str
    first: float
    last: float
    per_hour: float

    @property
    def is_flat(self) -> bool:
        slack = next((s for end, s in _SLACK.items() if self.gauge.endswith(end)), _LEAST_SLACK)
        is_traffic = self.gauge.endswith(("database", "keys", "entries of streams"))
        tolerance = _OF_TRAFFIC if is_traffic else _TOLERANCE
        return self.last <= self.first * (1 + tolerance) + slack

    def __str__(self) -> str:
        grown = "" if self.is_flat else " **grows**"
        numbers = (_text(self.gauge, value) for value in (self.first, self.last, self.per_hour))
        return f"| {' | '.join((self.gauge, *numbers))}{grown} |"


def trends(samples: Sequence[Sample]) -> Iterator[Trend]:
    """The trend of each gauge. Raises `ValueError` for fewer than six samples."""
    if len(samples) < FEWEST:
        raise ValueError(f"{len(samples)} samples say nothing about a trend.")
    third = len(samples) // 3
    hours = [(sample.at - samples[0].at) / 3600 for sample in samples]
    for gauge in samples[0].values:
        values = [sample.values[gauge] for sample in samples]
        yield Trend(
            gauge,
            statistics.median(values[:third]),
            statistics.median(values[-third:]),
            statistics.linear_regression(hours, values).slope,
        )


def _text(gauge: str, value: float) -> str:
    is_size = gauge.endswith(("memory", "database"))
    return f"{value / _MB:.1f} MB" if is_size else f"{value:.0f}"
