"""Time that passes as a test wants it to."""

import time


class VirtualClock:
    """Stands still unless somebody waits."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self.now = start

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(0.0, seconds)


class ScaledClock:
    """Passes `scale` times as fast as the real one.

    Args:
        start: of another process's clock, to have the same time.
    """

    def __init__(self, scale: float, start: tuple[float, float] | None = None) -> None:
        self.scale = scale
        self.start = start or (time.time(), time.monotonic())

    def time(self) -> float:
        started_at, monotonic = self.start
        return started_at + (time.monotonic() - monotonic) * self.scale

    def monotonic(self) -> float:
        return self.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds) / self.scale)
