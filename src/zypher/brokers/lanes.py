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


class Lanes(Generic[Item]):
    """Three queues by priority, claimed 8:4:1 while all have work.

    Suspects are kept apart in each, so that they can be passed over at no cost. What leaves the
    queue by another way than `pop` changes its `slot`: its old entry is dead, and is passed over
    when it comes up or swept out with others (`left`).
    """

    def __init__(self) -> None:
        # Lanes with items that are not here: when these run dry, those have to be waited for.
        self.incomplete: set[Priority] = set()
        self._heaps: dict[Slot, list[tuple[int, int, Item]]] = {slot: [] for slot in _SLOTS}
        self._waiting = dict.fromkeys(_SLOTS, 0)
        self._dead = dict.fromkeys(_SLOTS, 0)
        self._turn = 0

    def push(self, item: Item) -> None:
        """Queue an item in its lane, at its place, unless it is there already."""
        slot = item.slot
        assert slot is not None
        if item.queued_in != slot:
            self._mark(item, slot)
            # The second part decides between one item and the dead entry of another at its place.
            heapq.heappush(self._heaps[slot], (item.place, id(item), item))

    def left(self, item: Item) -> None:
        """An item is about to leave by another way than `pop`."""
        if (slot := item.queued_in) is None:
            return
        self._mark(item, None)
        self._dead[slot] += 1
        heap = self._heaps[slot]
        if self._dead[slot] > max(_FEW, len(heap) // 2):
            heap[:] = [entry for entry in heap if self._is_live(entry[-1], slot)]
            heapq.heapify(heap)
            self._dead[slot] = 0

    def count(self, lane: Priority) -> int:
        """How many items that are no suspects are in a lane, dead ones included."""
        return len(self._heaps[lane, False])

    def waiting(self, lane: Priority) -> int:
        """How many items wait in a lane."""
        return self._waiting[lane, False] + self._waiting[lane, True]

    def peek(self, *, suspects: bool) -> Item | None:
        """The item whose turn it is, passing over empty lanes; None if nothing can be taken.

        Without `suspects` these are passed over, too.
        """
        for lane in _ORDERS[self._turn]:
            if (item := self.head(lane, suspects=suspects)) is not None:
                return item
            if lane in self.incomplete:
                return None
        return None

    def pop(self, item: Item) -> None:
        """Take the item that `peek` has just shown."""
        assert item.queued_in is not None
        heapq.heappop(self._heaps[item.queued_in])
        self._mark(item, None)
        self._turn = (self._turn + 1) % len(_ROUND)

    def oldest(self) -> Item | None:
        """The item that has waited longest, whatever its lane."""
        heads = (self.head(lane) for lane in Priority)
        return min((head for head in heads if head), key=lambda item: item.place, default=None)

    def head(self, lane: Priority, *, suspects: bool = True) -> Item | None:
        """The item that has waited longest in a lane; without `suspects`, of the others."""
        first = self._first((lane, False))
        if not suspects or not self._heaps[lane, True]:
            return first
        suspect = self._first((lane, True))
        if first is None or (suspect is not None and suspect.place < first.place):
            return suspect
        return first

    def _first(self, slot: Slot) -> Item | None:
        heap = self._heaps[slot]
        while heap and not self._is_live(heap[0][-1], slot):
            heapq.heappop(heap)
            self._dead[slot] = max(0, self._dead[slot] - 1)
        return heap[0][-1] if heap else None

    def _is_live(self, item: Item, slot: Slot) -> bool:
        """False for what has left; its mark is taken off, so that it can be queued again."""
        if item.queued_in != slot:
            return False
        if item.slot == slot:
            return True
        self._mark(item, None)
        return False

    def _mark(self, item: Item, slot: Slot | None) -> None:
        """Note on an item where its entry is now."""
        if item.queued_in is not None:
            self._waiting[item.queued_in] -= 1
        item.queued_in = slot
        if slot is not None:
            self._waiting[slot] += 1


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
