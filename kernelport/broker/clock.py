"""The time that all processes share: that of Redis.

The clocks of machines may be an hour apart, and may be set while a process runs. So each process measures how far the
clock of Redis is from its own steady one, which nobody sets: when it starts, and now and then after that. What time it
is costs nothing to ask then. Only what people are shown goes by the machine's clock.
"""

import logging
import time

from redis import Redis

log: logging.Logger = logging.getLogger(__name__)

# From so many seconds on that it is off, a machine's clock is told of, and again when that has changed as much.
TOLD_FROM_S = 1.0


class Clock:
    """The clock of Redis; this machine's until it has been measured.

    Attributes:
        told_ahead_s: how far this machine's clock is ahead of it, in seconds, as the log was told last; negative when
            it is behind, 0 as long as they agree.
    """

    def __init__(self) -> None:
        self._ahead_of_steady_s = time.time() - time.monotonic()
        self.told_ahead_s: float = 0.0

    def now(self) -> float:
        """Seconds of Unix time."""
        return time.monotonic() + self._ahead_of_steady_s

    def now_us(self) -> int:
        """Microseconds of Unix time."""
        return round(self.now() * 1e6)

    def machine_ahead_s(self) -> float:
        """How far this machine's clock is ahead of it, in seconds; negative when it is behind."""
        return time.time() - self.now()

    def measure(self, redis: Redis) -> None:
        """Asks Redis what time it is; tells the log when this machine's clock is off.

        Raises:
            RedisError: when Redis cannot be asked.
        """
        before = time.monotonic()
        seconds, microseconds = redis.time()
        after = time.monotonic()
        told = seconds + microseconds / 1e6
        # It was so at some moment in between: an answer that took long tells little, and so it changes little.
        self._ahead_of_steady_s = min(max(self._ahead_of_steady_s, told - after), told - before)
        ahead_s = self.machine_ahead_s()
        if abs(ahead_s - self.told_ahead_s) >= TOLD_FROM_S:
            self.told_ahead_s = ahead_s
            log.warning(
                "this machine's clock %s that of Redis, by which all go; times in logs are its own", off(ahead_s)
            )


def off(ahead_s: float) -> str:
    """What to say of a machine's clock, with "that of Redis" behind it."""
    if abs(ahead_s) < TOLD_FROM_S:
        return "agrees with"
    return f"is {abs(ahead_s):,.0f} s {'ahead of' if ahead_s > 0 else 'behind'}"


clock: Clock = Clock()
