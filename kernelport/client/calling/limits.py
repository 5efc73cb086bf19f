"""Time limits and retries of calls: what both clients mean by `timeout_s` and `max_retries`."""

import math
import random
import time
from typing import Self

import numpy as np

from kernelport.errors import (
    DeadlineExceededError,
    FieldViolation,
    InvalidArgumentError,
    KernelPortError,
    ResourceExhaustedError,
    UnavailableError,
    of_request,
)

MAX_RETRIES = 2
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0
# The longest delay asked for by a front door that is waited for.
LONGEST_ASKED_S = 60.0
# gRPC counts nanoseconds in 64 bits. What is longer is no limit.
_LONGEST_S = 1e9
_NUMBERS = (float, int, np.floating, np.integer)


class Deadline:
    """When an operation must be over.

    Args:
        timeout_s: seconds from now; None or infinity for no limit.

    Raises:
        DeadlineExceededError: when it is 0 or less.
        InvalidArgumentError: when it is no number.
    """

    __slots__ = ("_ends", "_timeout_s")

    def __init__(self, timeout_s: float | None) -> None:
        self._timeout_s = timeout_s = checked(timeout_s)
        self._ends = math.inf if timeout_s is None else time.monotonic() + timeout_s

    def left_s(self) -> float | None:
        """Seconds until then; None for no limit.

        Raises:
            DeadlineExceededError: when it has passed.
        """
        if self._timeout_s is None:
            return None
        left_s = self._ends - time.monotonic()
        if left_s <= 0:
            raise self.exceeded()
        return left_s

    def portion(self, timeout_s: float | None) -> Self:
        """The deadline of a part of the operation: a limit of its own, but no later than that of the whole."""
        part = type(self)(timeout_s)
        return part if part._ends < self._ends else self

    def pause_s(self, pause_s: float) -> float:
        """A pause that ends with the deadline.

        Raises:
            DeadlineExceededError: when it has passed.
        """
        left_s = self.left_s()
        return pause_s if left_s is None else min(pause_s, left_s)

    def exceeded(self) -> DeadlineExceededError:
        """The error that says so, with the limit as the caller set it."""
        return DeadlineExceededError(f"expected to be done within {self._timeout_s:g} s (timeout_s)")

    def named(self, error: KernelPortError) -> KernelPortError:
        """An error of a call, or the one that names the caller's limit where it was this that ended the call."""
        if not isinstance(error, DeadlineExceededError) or time.monotonic() < self._ends:
            return error
        exceeded = self.exceeded()
        exceeded.request_id = error.request_id
        return exceeded


def checked(timeout_s: float | None) -> float | None:
    """A time limit in seconds; None for none.

    Raises:
        DeadlineExceededError: when it is 0 or less.
        InvalidArgumentError: when it is no number.
    """
    if timeout_s is None:
        return None
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, _NUMBERS) or timeout_s != timeout_s:
        violation = FieldViolation("timeout_s", f"expected seconds as a number, got {timeout_s!r}")
        raise InvalidArgumentError.of([violation])
    if timeout_s <= 0:
        raise DeadlineExceededError(f"timeout_s: expected more than 0 seconds, got {timeout_s:g}")
    return None if timeout_s > _LONGEST_S else float(timeout_s)


def checked_retries(max_retries: int) -> int:
    """How often a call is tried again at most.

    Raises:
        InvalidArgumentError: when it is no whole number, or below 0.
    """
    if isinstance(max_retries, bool) or not isinstance(max_retries, (int, np.integer)) or max_retries < 0:
        violation = FieldViolation("max_retries", f"expected a whole number of at least 0, got {max_retries!r}")
        raise InvalidArgumentError.of([violation])
    return int(max_retries)


def checked_patience(patience_s: float) -> float:
    """Seconds for which to go on while no front door can be reached; infinity for ever.

    Raises:
        InvalidArgumentError: when it is no number, or below 0.
    """
    if isinstance(patience_s, bool) or not isinstance(patience_s, _NUMBERS) or not patience_s >= 0:
        violation = FieldViolation("patience_s", f"expected at least 0 seconds as a number, got {patience_s!r}")
        raise InvalidArgumentError.of([violation])
    return float(min(patience_s, _LONGEST_S))


def retry_pause_s(error: KernelPortError, failures: int, max_retries: int, deadline: Deadline) -> float:
    """Seconds to wait before a call is tried again: what the front door asks for, or a pause that doubles.

    Args:
        error: what the last try ended with.
        failures: how many tries have failed.

    Raises:
        KernelPortError: the error itself, when there is to be no other try: there were enough, trying again cannot
            help, or the time left is too short.
    """
    asked_s = error.retry_after_s
    helps = isinstance(error, UnavailableError) or (isinstance(error, ResourceExhaustedError) and asked_s is not None)
    if not helps or failures > max_retries:
        raise error
    # With jitter, or the callers that one outage has hit come back all at once.
    pause_s: float = min(FIRST_PAUSE_S * 2.0 ** (failures - 1), LONGEST_PAUSE_S) * random.uniform(0.75, 1.25)  # noqa: S311
    if asked_s is not None:
        pause_s = max(pause_s, asked_s * random.uniform(1, 1.25))  # noqa: S311
    with of_request(error.request_id):
        left_s = deadline.left_s()
    if pause_s > LONGEST_ASKED_S or (left_s is not None and pause_s >= left_s):
        raise error
    return pause_s
