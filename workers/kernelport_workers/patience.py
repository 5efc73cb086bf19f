"""Waits for Redis while it is away."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from redis.exceptions import BusyLoadingError, ConnectionError, OutOfMemoryError, TimeoutError

log = logging.getLogger(__name__)

RETRY_S = 0.2
# What Redis says while it is away, starting, or full: all of it passes.
PASSING = (ConnectionError, TimeoutError, BusyLoadingError, OutOfMemoryError)

T = TypeVar("T")


def until_done(call: Callable[[], T]) -> T:
    """Repeats a call while Redis is away, starting or full: an answer that is due must not be lost."""
    while True:
        try:
            return call()
        except PASSING as error:
            log.warning("waiting for Redis: %s", error)
            time.sleep(RETRY_S)
