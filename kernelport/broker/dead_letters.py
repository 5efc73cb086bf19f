"""Dead letters that nobody has replayed or purged for so long that they go."""

import logging
import math
from collections.abc import Iterable
from typing import Any

from redis import Redis

from kernelport.broker import keys, stored
from kernelport.v1.dead_letter_pb2 import DeadLetter

log: logging.Logger = logging.getLogger(__name__)


class OldDeadLetters:
    """Removes them. A letter may be as large as a request, so each is read when it is new, and before it goes.

    Args:
        keep_s: seconds for which a dead letter is kept; infinite for ever.
    """

    def __init__(self, redis: Redis, keep_s: float) -> None:
        self._redis = redis
        self._keep_s = keep_s
        # When those were given up that are there, in microseconds of Unix time.
        self._given_up: dict[tuple[str, bytes], int] = {}

    def sweep(self, deployments: Iterable[str]) -> None:
        """Removes those of some deployments whose time is over.

        Raises:
            RedisError: Redis cannot be reached.
        """
        if math.isinf(self._keep_s):
            return
        before = (self._redis.time()[0] - self._keep_s) * 1e6
        all_keys = [keys.dead_letters(name) for name in list(deployments)]
        with self._redis.pipeline(transaction=False) as pipeline:
            for key in all_keys:
                pipeline.hkeys(key)
            there = [(key, each) for key, ids in zip(all_keys, pipeline.execute(), strict=True) for each in ids]
        self._given_up = {letter: self._given_up.get(letter) or self._read(*letter) for letter in there}
        for key, letter_id in there:
            if self._given_up[key, letter_id] <= before and self._read(key, letter_id) <= before:
                self._redis.hdel(key, letter_id)
                log.info("dead letter %s of %s is removed: its time is over", stored.name(letter_id), key)

    def _read(self, key: str, letter_id: bytes) -> int:
        """When a letter was given up."""
        where = f"{key} {stored.name(letter_id)}"
        value: Any = self._redis.hget(key, stored.name(letter_id))
        letter = stored.readable(DeadLetter, value, where)
        return letter.unix_us if letter is not None else 0
