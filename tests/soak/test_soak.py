"""The soak says what grows, and what does not; and a short one finds nothing."""

from pathlib import Path

import pytest

from tests.soak.gauges import Sample
from tests.soak.soak import Plan, soak
from tests.soak.verdict import trends

HOUR = 3600.0


def of(gauge: str, *values: float) -> list[Sample]:
    return [Sample(number * HOUR, {gauge: value}) for number, value in enumerate(values)]


def test_what_grows_by_more_than_chance_makes_of_it_is_found() -> None:
    (trend,) = trends(of("server: memory", *(50e6 + 2e6 * number for number in range(9))))
    assert (trend.first, trend.last) == (52e6, 64e6)
    assert trend.per_hour == pytest.approx(2e6)
    assert not trend.is_flat
    assert "grows" in str(trend)


def test_what_goes_up_and_down_is_flat() -> None:
    (trend,) = trends(of("server: files", 20, 29, 21, 30, 20, 28, 22, 29, 21))
    assert trend.is_flat


def test_a_few_samples_say_nothing() -> None:
    with pytest.raises(ValueError, match="5 samples"):
        list(trends(of("replicas", 1, 1, 1, 1, 1)))


@pytest.mark.anyio
async def test_a_short_soak_violates_nothing(tmp_path: Path) -> None:
    plan = Plan(0.0, 2.0, settling=0.0, between_storms=0.2, between_gusts=0.5, between_samples=0.2)
    result = await soak("sqlite", plan, tmp_path)
    assert result.report.violations == []
    assert result.report.accepted
    assert len(result.done) == 9
    assert {trend.gauge for trend in result.trends} >= {"server: memory", "database", "replicas"}
