"""Lambda Cloud takes one request a second, and one launch in 12 seconds. One pacer a process keeps to that."""

import threading
import time
from typing import Protocol

REQUEST_INTERVAL_S = 1.0
LAUNCH_INTERVAL_S = 12.0


class Clock(Protocol):
    """Time, and waiting for it to pass."""

    def monotonic(self) -> float: ...

    def time(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


class Pacer:
    """Makes whoever asks wait until a request may leave.

    Args:
        slack: how much longer than Lambda's own intervals it waits, as a share: clocks and networks jitter.
    """

    def __init__(self, clock: Clock = time, slack: float = 0.05) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._request_s = REQUEST_INTERVAL_S * (1 + slack)
        self._launch_s = LAUNCH_INTERVAL_S * (1 + slack)
        self._next_request = self._next_launch = float("-inf")

    def wait(self, launch: bool = False) -> None:
        """Waits for the next turn."""
        with self._lock:
            now = self._clock.monotonic()
            turn = max(now, self._next_request, self._next_launch if launch else now)
            if turn > now:
                self._clock.sleep(turn - now)
            self._next_request = turn + self._request_s
            if launch:
                self._next_launch = turn + self._launch_s

    def hold_back(self, seconds: float) -> None:
        """Nothing leaves for a while: Lambda said that there was too much."""
        with self._lock:
            self._next_request = max(self._next_request, self._clock.monotonic() + seconds)


_shared = Pacer()


def shared_pacer() -> Pacer:
    """The process's own."""
    return _shared
