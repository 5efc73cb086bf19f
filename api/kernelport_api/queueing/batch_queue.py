"""How long requests that can share a batch wait for each other before it leaves: the batching delay."""

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

# A batch costs Celery and Redis as much as several requests do. So each is followed by a delay that grows with the
# number of callers and lets the next become worth its cost: none for a lone caller, the longest for many. Requests that
# cannot share a batch do not wait for each other.
DELAY_PER_CALLER_S = 0.000_5
MAX_DELAY_S = 0.016
# The delay is over early when so many of the expected callers are back: it is not worth waiting for the last of them.
ENOUGH_OF_EXPECTED = 0.8
# By how much of the difference, a batch, fewer callers are expected once fewer call.
EXPECTED_SHRINKS = 0.05

Request = TypeVar("Request")


@dataclass(eq=False)
class BatchQueue(Generic[Request]):
    """Requests that can share a batch.

    Attributes:
        key: equal for no other queue.
        waiting: those that are in no batch yet, oldest first.
        unanswered: how many are without an answer, those in batches included.
        expected_concurrency: how many are without an answer when the most are, of late.
        sent_at: when the last batch left, in seconds of the monotonic clock.
        worth_sending_from: how many requests were worth a batch at once when last asked.
    """

    key: Hashable
    waiting: deque[Request] = field(default_factory=deque)
    unanswered: int = 0
    expected_concurrency: float = 0.0
    sent_at: float = 0.0
    worth_sending_from: float = 0.0

    def add(self, request: Request) -> None:
        """Takes a request in."""
        self.waiting.append(request)
        self.unanswered += 1
        self.expected_concurrency = max(self.expected_concurrency, self.unanswered)

    def note_sent(self, now: float) -> None:
        """Notes that a batch leaves."""
        self.sent_at = now
        self.expected_concurrency -= (self.expected_concurrency - self.unanswered) * EXPECTED_SHRINKS

    def due_at(self, workers: int) -> float:
        """When the delay after the last batch is over, in seconds of the monotonic clock."""
        # Right after their answers, few of many callers are back.
        callers = min(self.expected_concurrency, 2 * self.unanswered - 1)
        return self.sent_at + min(MAX_DELAY_S, DELAY_PER_CALLER_S * (callers - 1)) / workers

    def is_worth_sending(self, most: int, workers: int) -> bool:
        """Whether the next batch is worth its cost whatever the time: full, or most of the expected callers.

        Args:
            most: how many requests a batch can have.
        """
        self.worth_sending_from = min(most, ENOUGH_OF_EXPECTED * self.expected_concurrency / workers)
        return len(self.waiting) >= self.worth_sending_from
