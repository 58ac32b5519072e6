"""The order in which the waiting predictions of one model are claimed."""

import heapq
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from zypher.prediction import Priority


class Waiting(Protocol):
    """Something that waits: `place` orders it, `lane` is where it waits now, or None."""

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


class Lanes(Generic[Item]):
    """Three queues by priority, claimed 8:4:1 while all have work.

    What leaves the queue by another way than `pop` only has to change its `lane`: its old
    entry is passed over when it comes up.
    """

    def __init__(self) -> None:
        self._heaps: dict[Priority, list[tuple[int, Item]]] = {lane: [] for lane in Priority}
        self._turn = 0

    def push(self, item: Item) -> None:
        """Queue an item in its lane, at its place."""
        assert item.lane is not None
        heapq.heappush(self._heaps[item.lane], (item.place, item))

    def peek(self) -> Item | None:
        """The item that `pop` would take."""
        lane = self._next_lane()
        return None if lane is None else self._heaps[lane][0][1]

    def pop(self) -> None:
        """Take the item that `peek` shows."""
        lane = self._next_lane()
        assert lane is not None
        heapq.heappop(self._heaps[lane])
        self._turn = (self._turn + 1) % len(_ROUND)

    def oldest(self) -> Item | None:
        """The item that has waited longest, whatever its lane."""
        heads = (self._head(lane) for lane in Priority)
        return min((head for head in heads if head), key=lambda item: item.place, default=None)

    def _next_lane(self) -> Priority | None:
        """The lane whose turn it is, passing over the empty ones."""
        for lane in self._turns():
            if self._head(lane) is not None:
                return lane
        return None

    def _turns(self) -> Iterator[Priority]:
        yield _ROUND[self._turn]
        yield from Priority

    def _head(self, lane: Priority) -> Item | None:
        heap = self._heaps[lane]
        while heap and heap[0][1].lane is not lane:
            heapq.heappop(heap)
        return heap[0][1] if heap else None
