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
    """Passes `scale` times as fast as the real one."""

    def __init__(self, scale: float) -> None:
        self._scale = scale
        self._start = time.time()
        self._monotonic_start = time.monotonic()

    def time(self) -> float:
        return self._start + (time.monotonic() - self._monotonic_start) * self._scale

    def monotonic(self) -> float:
        return self.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds) / self._scale)
