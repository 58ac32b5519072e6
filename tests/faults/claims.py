"""Outcomes that come twice or late, and a clock that jumps: at the broker itself.

No process has a clock of its own that one could set, and none delivers twice when it is asked
to. So these faults are injected where they would arrive.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

from tests.faults.desk import HOUR, LEASE, Desk
from tests.faults.report import Report, Size, report
from zypher.prediction import Claim, IllegalMove

Story = Callable[[Desk], Awaitable[bool]]


async def duplicates(size: Size, directory: Path) -> Report:
    """Outcomes that are delivered twice, or by a worker that was thought dead."""
    async with Desk(_file(directory)) as desk:
        return await outcomes_too_many(desk, size, STORIES)


async def outcomes_too_many(desk: Desk, size: Size, stories: Sequence[Story]) -> Report:
    """In each story comes one outcome too many, and has to be refused."""
    number = size.of(100, 500)
    refused, wrong = 0, list[str]()
    try:
        for turn in range(number):
            refused += await stories[turn % len(stories)](desk)
    except IllegalMove as error:  # the last line of defence has held, and none before it
        wrong.append(f"An outcome was taken that should have been refused: {error}.")
    if refused != number:
        wrong.append(f"Of {number} outcomes too many {refused} were refused.")
    remarks = [f"{number} outcomes too many, {refused} refused"]
    return report("outcomes that come again", desk.history, violations=wrong, remarks=remarks)


def _file(directory: Path) -> str:
    return f"sqlite:///{directory / 'zypher.db'}"


async def _twice(desk: Desk) -> bool:
    """The same outcome comes twice; True if one of them is refused."""
    await desk.submit()
    claim = await desk.claim()
    return sum(await asyncio.gather(desk.finish(claim), desk.finish(claim))) == 1


async def _between(desk: Desk) -> bool:
    """An outcome comes when its claim was taken back; True if it is refused."""
    stale = await _lost_claim(desk)
    refused = not await desk.finish(stale)
    await desk.finish(await desk.claim())
    return refused


async def _late(desk: Desk) -> bool:
    """An outcome comes when another attempt has begun; True if it is refused."""
    stale = await _lost_claim(desk)
    fresh = await desk.claim()
    refused = not await desk.finish(stale)
    await desk.finish(fresh)
    return refused


async def _too_late(desk: Desk) -> bool:
    """An outcome comes when another attempt has ended; True if it is refused."""
    stale = await _lost_claim(desk)
    await desk.finish(await desk.claim())
    return not await desk.finish(stale)


async def _lost_claim(desk: Desk) -> Claim:
    """A claim whose lease has run out."""
    await desk.submit()
    claim = await desk.claim()
    desk.clock.advance(LEASE)
    await desk.broker.reclaim()
    return claim


# In each, True if the outcome that comes once too often is refused.
STORIES: tuple[Story, ...] = (_twice, _between, _late, _too_late)


async def clock_jumps(size: Size, directory: Path) -> Report:
    """Somebody sets the wall clock an hour ahead, and an hour back."""
    async with Desk(_file(directory)) as desk:
        return await jumps(desk, size)


async def jumps(desk: Desk, size: Size) -> Report:
    """The wall clock of a desk jumps ahead and back."""
    wrong = [
        sentence
        for _ in range(size.of(5, 50))
        for jump in (HOUR, -HOUR)
        async for sentence in _wrong_after(desk, jump)
    ]
    return report("the clock jumps by an hour", desk.history, violations=wrong)


async def _wrong_after(desk: Desk, jump: float) -> AsyncIterator[str]:
    """What a jump of the clock spoils: leases, the order of the queue, results."""
    await desk.submit()
    ended = await desk.claim()
    await desk.finish(ended)
    await desk.submit()
    running = await desk.claim()
    ids = [await desk.submit()]

    desk.clock.jump(jump)
    desk.history.note("the clock jumps")
    if await desk.broker.reclaim() or await desk.broker.renew("w", [running]):
        yield f"A jump of {jump:+g} s ended a lease."
    if not await desk.finish(running):
        yield f"A jump of {jump:+g} s made a worker lose its claim."
    ids.append(await desk.submit())
    await desk.restart()
    if ids != [(await _run(desk)) for _ in ids]:
        yield f"A jump of {jump:+g} s changed the order of the queue."
    await desk.broker.purge()
    await desk.look(ended.id)


async def _run(desk: Desk) -> str:
    """Run the next one; which it was."""
    claim = await desk.claim()
    await desk.finish(claim)
    return claim.id
