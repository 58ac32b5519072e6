"""Whether the lanes of a queue get their shares of its claims."""

from collections import deque
from itertools import takewhile

from zypher.prediction import Priority

SHARES = {Priority.HIGH: 8, Priority.NORMAL: 4, Priority.LOW: 1}
ROUND = sum(SHARES.values())


class Turns:
    """The last claims of one model.

    In which order the lanes come within a round is the broker's choice. Not so that a lane
    which has work all the time gets its share of every round, wherever one begins to count.
    """

    def __init__(self) -> None:
        self._last: deque[tuple[Priority, set[Priority]]] = deque(maxlen=ROUND)

    def took(self, lane: Priority, working: set[Priority]) -> None:
        """Something was claimed from `lane`, while these had work."""
        self._last.append((lane, working))
        for other, share in SHARES.items():
            passed_over = sum(taken is not other for taken in self._while_it_had_work(other))
            assert passed_over <= ROUND - share, f"{passed_over} claims passed {other.name} over"

    def _while_it_had_work(self, lane: Priority) -> list[Priority]:
        """The lanes that claims were taken from since this one has had work without a break."""
        recent = takewhile(lambda turn: lane in turn[1], reversed(self._last))
        return [taken for taken, _ in recent]
