"""Waiting until something holds."""

import asyncio

import pytest

from zypher.replicas.conditions import Conditions

pytestmark = pytest.mark.anyio


async def test_who_waits_until_something_holds_is_woken_when_it_does_and_not_before() -> None:
    conditions = Conditions()
    there: list[int] = []
    waiting = asyncio.create_task(conditions.until(lambda: bool(there)))
    for _ in range(3):
        await asyncio.sleep(0)
        conditions.look()
    assert not waiting.done()
    there.append(1)
    conditions.look()
    await waiting


async def test_what_holds_no_more_when_they_wake_is_waited_for_again() -> None:
    conditions, there = Conditions(), [1]
    await conditions.until(lambda: bool(there))
    there.clear()
    waiting = asyncio.create_task(conditions.until(lambda: bool(there)))
    await asyncio.sleep(0)
    there.append(1)
    conditions.look()
    there.clear()
    for _ in range(3):
        await asyncio.sleep(0)
    assert not waiting.done()
    there.append(1)
    conditions.look()
    await waiting
