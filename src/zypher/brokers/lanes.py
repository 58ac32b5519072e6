"""The order in which the waiting predictions of one model are claimed."""

import heapq
from collections import Counter
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from zypher.prediction import Priority


class Waiting(Protocol):
    """Something that waits. `place` orders it, `lane` is where it belongs now, or None.

    `queued_in` is where its entry is; only lanes write it.
    """

    queued_in: Priority | None

    @property
    def place(self) -> int: ...

    @property
    def lane(self) -> Priority | None: ...


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

# So many dead entries are not worth a sweep.
_FEW = 64


class Lanes(Generic[Item]):
    """Three queues by priority, claimed 8:4:1 while all have work.

    What leaves the queue by another way than `pop` changes its `lane`: its old entry is dead,
    and is passed over when it comes up or swept out with others (`left`).
    """

    def __init__(self) -> None:
        # Lanes with items that are not here: when these run dry, those have to be waited for.
        self.incomplete: set[Priority] = set()
        self._heaps: dict[Priority, list[tuple[int, int, Item]]] = {lane: [] for lane in Priority}
        self._waiting = dict.fromkeys(Priority, 0)
        self._dead = dict.fromkeys(Priority, 0)
        self._turn = 0

    def push(self, item: Item) -> None:
        """Queue an item in its lane, at its place, unless it is there already."""
        lane = item.lane
        assert lane is not None
        if item.queued_in is not lane:
            self._mark(item, lane)
            # The second part decides between one item and the dead entry of another at its place.
            heapq.heappush(self._heaps[lane], (item.place, id(item), item))

    def left(self, item: Item) -> None:
        """An item is about to leave by another way than `pop`."""
        if (lane := item.queued_in) is None:
            return
        self._mark(item, None)
        self._dead[lane] += 1
        heap = self._heaps[lane]
        if self._dead[lane] > max(_FEW, len(heap) // 2):
            heap[:] = [entry for entry in heap if self._is_live(entry[-1], lane)]
            heapq.heapify(heap)
            self._dead[lane] = 0

    def count(self, lane: Priority) -> int:
        """How many items are in a lane, dead ones included."""
        return len(self._heaps[lane])

    def waiting(self, lane: Priority) -> int:
        """How many items wait in a lane."""
        return self._waiting[lane]

    def peek(self) -> Item | None:
        """The item whose turn it is, passing over empty lanes; None if nothing can be taken."""
        for lane in _ORDERS[self._turn]:
            if (item := self.head(lane)) is not None:
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

    def head(self, lane: Priority) -> Item | None:
        """The item that has waited longest in a lane."""
        heap = self._heaps[lane]
        while heap and not self._is_live(heap[0][-1], lane):
            heapq.heappop(heap)
            self._dead[lane] = max(0, self._dead[lane] - 1)
        return heap[0][-1] if heap else None

    def _is_live(self, item: Item, lane: Priority) -> bool:
        """False for what has left; its mark is taken off, so that it can be queued again."""
        if item.queued_in is not lane:
            return False
        if item.lane is lane:
            return True
        self._mark(item, None)
        return False

    def _mark(self, item: Item, lane: Priority | None) -> None:
        """Note on an item where its entry is now."""
        if item.queued_in is not None:
            self._waiting[item.queued_in] -= 1
        item.queued_in = lane
        if lane is not None:
            self._waiting[lane] += 1


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
