"""A clock that stands still until it is told to move."""


class ManualClock:
    """Both readings move by `advance`; `jump` moves the wall clock alone, as an admin does."""

    def __init__(self) -> None:
        self._wall = 1_800_000_000.0
        self._steady = 1_000.0

    def wall(self) -> float:
        return self._wall

    def steady(self) -> float:
        return self._steady

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._wall += seconds
        self._steady += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock to another time."""
        self._wall += seconds
