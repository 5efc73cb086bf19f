"""Which endpoints may be sent to now: one that does not answer delays no other."""

import threading
import time
from collections import Counter

# Of the threads that send, these many wait for one endpoint.
MOST_AT_ONCE = 4
# When an endpoint is busy, another job's event for it is looked at again after this.
BUSY_S = 1.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 600.0


class Endpoints:
    """What one process knows of endpoints, by host and port. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy: Counter[str] = Counter()
        # How often each did not answer, one time after the other, and until when it is left alone, in seconds of the
        # monotonic clock.
        self._silent: dict[str, tuple[int, float]] = {}

    def enter(self, endpoint: str) -> float:
        """Begins to send to an endpoint: 0.0, and then `leave` must follow; or how many seconds to wait before.

        Of one that has not answered only one event is sent at a time, until it does.
        """
        with self._lock:
            silences, until = self._silent.get(endpoint, (0, 0.0))
            if (wait_s := until - time.monotonic()) > 0:
                return wait_s
            if self._busy[endpoint] >= (1 if silences else MOST_AT_ONCE):
                return BUSY_S
            self._busy[endpoint] += 1
            return 0.0

    def leave(self, endpoint: str, is_silent: bool) -> None:
        """Has sent to it; `is_silent` when it did not answer in time."""
        with self._lock:
            self._busy[endpoint] -= 1
            if not self._busy[endpoint]:
                del self._busy[endpoint]
            silences, until = self._silent.pop(endpoint, (0, 0.0))
            now = time.monotonic()
            if not is_silent:
                return
            if now >= until:  # those that were sent side by side count once
                until = now + min(FIRST_PAUSE_S * 2**silences, LONGEST_PAUSE_S)
                silences = min(silences + 1, 10)
            self._silent[endpoint] = (silences, until)
            self._forget(now)

    def _forget(self, now: float) -> None:
        """Lets go of endpoints that nobody has asked for in a long time."""
        old = [name for name, (_, until) in self._silent.items() if until + LONGEST_PAUSE_S < now]
        for name in old:
            del self._silent[name]
