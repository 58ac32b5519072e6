"""The order in which the waiting predictions of one model are claimed."""

import heapq
from collections import Counter
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from zypher.prediction import Priority

# Where something waits: its lane, and whether it is a suspect there.
Slot = tuple[Priority, bool]


class Waiting(Protocol):
    """Something that waits. `place` orders it, `slot` is where it belongs now, or None.

    `queued_in` is where its entry is; only lanes write it.
    """

    queued_in: Slot | None

    @property
    def place(self) -> int: ...

    @property
    def slot(self) -> Slot | None: ...


Item = TypeVar("Item", bound=Waiting)

# One round of claims: 8 high, 4 normal, 1 low, spread so that none waits for a whole block.
_HIGH, _NORMAL, _LOW = Priority
_ROUND = (
    *(_HIGH, _NORMAL, _HIGH, _HIGH, _NORMAL, _HIGH, _LOW),
    *(_HIGH, _NORMAL, _HIGH, _HIGH, _NORMAL, _HIGH),
)

_TURNS = Counter(_ROUND)

# For each turn of a round, the lanes in the order in which they are looked at.
_ORDERS: tuple[tuple[Priority, ...], ...] = tuple((lane, *Priority) for lane in _ROUND)

_SLOTS: tuple[Slot, ...] = tuple((lane, suspect) for lane in Priority for suspect in (False, True))

# So many dead entries are not worth a sweep.
_FEW = 64


class _Line(Generic[Item]):
    """Those of one slot, by their places."""

    __slots__ = ("dead", "heap", "slot", "waiting")

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        # The second part decides between one item and the dead entry of another at its place.
        self.heap: list[tuple[int, int, Item]] = []
        self.waiting = 0
        self.dead = 0

    def push(self, item: Item) -> None:
        """An item waits here from now on."""
        item.queued_in = self.slot
        self.waiting += 1
        heapq.heappush(self.heap, (item.place, id(item), item))

    def first(self) -> Item | None:
        """The item that has waited longest."""
        while self.heap:
            item = self.heap[0][2]
            if self._is_live(item):
                return item
            heapq.heappop(self.heap)
            self.dead = max(0, self.dead - 1)
        return None

    def pop(self) -> None:
        """Take the item that is the first."""
        _, _, item = heapq.heappop(self.heap)
        self.forget(item)

    def forget(self, item: Item) -> None:
        """An item does not wait here any more."""
        item.queued_in = None
        self.waiting -= 1

    def died(self) -> None:
        """One of the entries is dead; sweep them out if they are many."""
        self.dead += 1
        if self.dead > max(_FEW, len(self.heap) // 2):
            self.heap = [entry for entry in self.heap if self._is_live(entry[2])]
            heapq.heapify(self.heap)
            self.dead = 0

    def _is_live(self, item: Item) -> bool:
        """False for what has left; its mark is taken off, so that it can be queued again."""
        if item.queued_in != self.slot:
            return False
        if item.slot == self.slot:
            return True
        self.forget(item)
        return False


class Lanes(Generic[Item]):
    """Three queues by priority, claimed 8:4:1 while all have work.

    Suspects are kept apart in each, so that they can be passed over at no cost. What leaves the
    queue by another way than `pop` changes its `slot`: its old entry is dead, and is passed over
    when it comes up or swept out with others (`left`).
    """

    def __init__(self) -> None:
        # Lanes with items that are not here: when these run dry, those have to be waited for.
        self.incomplete: set[Priority] = set()
        self._lines: dict[Slot, _Line[Item]] = {slot: _Line(slot) for slot in _SLOTS}
        # Those of a lane: of the others, and of its suspects.
        self._pairs = [(self._lines[lane, False], self._lines[lane, True]) for lane in Priority]
        self._turn = 0

    def push(self, item: Item) -> bool:
        """Queue an item in its lane, at its place, unless it is there already.

        False for one that belongs in none now.
        """
        slot = item.slot
        if slot is None:
            return False
        if item.queued_in is None:
            self._lines[slot].push(item)
        elif item.queued_in != slot:
            self._lines[item.queued_in].forget(item)
            self._lines[slot].push(item)
        return True

    def left(self, item: Item) -> None:
        """An item is about to leave by another way than `pop`."""
        if item.queued_in is not None:
            line = self._lines[item.queued_in]
            line.forget(item)
            line.died()

    def count(self, lane: Priority) -> int:
        """How many items that are no suspects are in a lane, dead ones included."""
        return len(self._lines[lane, False].heap)

    def waiting(self, lane: Priority) -> int:
        """How many items wait in a lane."""
        return sum(line.waiting for line in self._pairs[lane])

    def peek(self, *, suspects: bool) -> Item | None:
        """The item whose turn it is, passing over empty lanes; None if nothing can be taken.

        Without `suspects` these are passed over, too.
        """
        for lane in _ORDERS[self._turn]:
            others, under_suspicion = self._pairs[lane]
            is_empty = not (others.heap or under_suspicion.heap)
            if not is_empty and (item := self.head(lane, suspects=suspects)) is not None:
                return item
            if lane in self.incomplete:
                return None
        return None

    def pop(self, item: Item) -> None:
        """Take the item that `peek` has just shown."""
        assert item.queued_in is not None
        self._lines[item.queued_in].pop()
        self._turn = (self._turn + 1) % len(_ROUND)

    def oldest(self) -> Item | None:
        """The item that has waited longest, whatever its lane."""
        heads = (self.head(lane) for lane in Priority)
        return min((head for head in heads if head), key=lambda item: item.place, default=None)

    def head(self, lane: Priority, *, suspects: bool = True) -> Item | None:
        """The item that has waited longest in a lane; without `suspects`, of the others."""
        others, under_suspicion = self._pairs[lane]
        first = others.first() if others.heap else None
        if not suspects or not under_suspicion.heap:
            return first
        suspect = under_suspicion.first()
        if first is None or (suspect is not None and suspect.place < first.place):
            return suspect
        return first


def claims_before(lane: Priority, ahead: int, waiting: Sequence[int]) -> int:
    """How many claims come before that of an item which has `ahead` before it in its own lane.

    `waiting` counts the items of each lane. Roughly: as if the turns of a round were taken at
    the same time, and nothing arrived meanwhile.
    """
    left = dict(zip(Priority, map(float, waiting), strict=True))
    left[lane] = ahead + 1.0
    rounds = 0.0
    while True:
        turns = {other: _TURNS[other] for other in Priority if other is lane or left[other] > 0}
        turns[min(turns)] += len(_ROUND) - sum(turns.values())  # those of empty lanes
        next_empty = min(turns, key=lambda other: (left[other] / turns[other], other is not lane))
        step = left[next_empty] / turns[next_empty]
        rounds += step
        if next_empty is lane:
            return round(rounds * len(_ROUND)) - 1
        for other, count in turns.items():
            left[other] -= step * count
        left[next_empty] = 0.0
