"""Rates from counters that only grow."""

from collections import deque

WINDOW_S = 30.0


class Rate:
    """How fast a counter has grown over the last `WINDOW_S` seconds."""

    def __init__(self) -> None:
        self._notes: deque[tuple[float, float]] = deque()

    def note(self, now: float, count: float) -> None:
        """What the counter says at a time in seconds."""
        self._notes.append((now, count))
        while len(self._notes) > 2 and self._notes[1][0] <= now - WINDOW_S:
            self._notes.popleft()

    def per_second(self) -> float:
        """0 until there are two notes."""
        if len(self._notes) < 2:
            return 0.0
        (first, start), (last, end) = self._notes[0], self._notes[-1]
        return max(0.0, end - start) / max(1e-9, last - first)
