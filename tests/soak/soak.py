"""One soak: a storm, in which servers and workers come and go, and then a long time to measure."""

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.faults import invariants
from tests.faults.report import Report
from tests.soak.gauges import Sampler
from tests.soak.places import PLACES, TTL, Deed
from tests.soak.traffic import Traffic
from tests.soak.verdict import FEWEST, Trend, trends

# How long most runs take, in seconds.
_SHORT = 0.05


class Plan(NamedTuple):
    """How long each part takes, and the pauses between what happens in it. In seconds.

    Nothing is measured while it settles: what had ended in the storm is forgotten only then.
    """

    storm: float
    calm: float
    settling: float = TTL + 70  # the events of what has ended stay for a minute
    between_storms: float = 8.0
    between_gusts: float = 25.0
    between_samples: float = 2.0

    @classmethod
    def of(cls, minutes: float) -> "Plan":
        """A quarter of the time is storm."""
        storm = 15 * minutes
        return cls(storm, max(0.0, 60 * minutes - storm - cls._field_defaults["settling"]))


@dataclass(frozen=True)
class Soak:
    """What came of it."""

    report: Report
    trends: Sequence[Trend]
    done: dict[str, int]
    interrupted: int

    @property
    def violations(self) -> list[str]:
        """What was promised and is not so."""
        grown = [f"{trend.gauge} grows: {trend}" for trend in self.trends if not trend.is_flat]
        return [*self.report.violations, *grown]


async def soak(place: str, plan: Plan, directory: Path) -> Soak:
    """Use the system there in all ways for as long as planned."""
    async with PLACES[place](directory) as there:
        rig = there.rig
        traffic = Traffic(rig.url, partial(rig.work, seconds=_SHORT))
        async with rig.load(seconds=_SHORT, clients=2, pause=0.1), traffic:
            both = [*there.rough, *there.gentle]
            await _happen(both, plan.storm, plan.between_storms)
            await asyncio.sleep(plan.settling)
            async with Sampler(there.gauges, plan.between_samples) as sampler:
                await _happen(there.gentle, plan.calm, plan.between_gusts)
                await sampler.has_samples(FEWEST)
            await _happen(there.rough, 0.0, 0.0)  # also what has lived long ends well
        report = await rig.report(
            place, *traffic.wrong, *invariants.failed(rig.history), has_looked=True
        )
        measured = list(trends(sampler.samples))
        return Soak(report, measured, dict(traffic.done), traffic.interrupted.total())


async def _happen(deeds: Sequence[Deed], seconds: float, pause: float) -> None:
    """Have each of these happen, by turns, for so long; once at least."""
    end = time.monotonic() + seconds
    for number, deed in enumerate(itertools.cycle(deeds), start=1):
        await deed()
        if number >= len(deeds) and time.monotonic() + pause > end:
            break
        await asyncio.sleep(pause)
    await asyncio.sleep(max(0.0, end - time.monotonic()))
