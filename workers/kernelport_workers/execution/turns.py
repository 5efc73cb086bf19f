"""Whose turn it is: which of the requests in a worker's hands gets its next piece first."""

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import IntEnum
from operator import itemgetter
from typing import TYPE_CHECKING

from kernelport.internal.v1.queue_pb2 import Batch, BatchItem
from kernelport_workers.backends.stepped import Steps, Utterance, WholeAnswer
from kernelport_workers.execution.execution import Work
from kernelport_workers.execution.lease import BatchLease

if TYPE_CHECKING:
    from opentelemetry.trace import Span

# A listener that has no more than the length of so many steps is about to run dry.
DRY_STEPS = 2
# One that has so many seconds more than it has heard can wait, or where steps take long, the length of so many.
AHEAD_S, AHEAD_STEPS = 4.0, 6
# A call that has waited so long for its next piece, or so many steps, goes before listeners that do not run dry.
PATIENT_S, PATIENT_STEPS = 1.0, 6


class Turn(IntEnum):
    """Why a request should get its next piece; the most urgent first."""

    RUNS_DRY = 0
    FIRST_PIECE = 1
    LISTENS = 2
    CALL = 3
    AHEAD = 4


@dataclass(eq=False)
class InHand:
    """A request that a worker answers in pieces.

    Attributes:
        cleanup: what is to be let go of with it.
        steps: what steps of its deployment take.
        started: when the worker took it, in seconds of the monotonic clock; so are the other times.
        is_suspect: workers have died over it: it runs alone.
        first: the index of a stream's first piece that is sent; those before it are made for what follows from them.
        answer: that of a call, which is kept until its last piece.
        backend_s: seconds that its pieces have taken; those of a stream, since the last one was sent.
        used_s: of these, what it is billed for: its part of the steps that it shared.
        sent_s: seconds of sound that its listener was sent, from `listens_since` on.
        stepped_at: when its last piece was made.
        is_paused: its listener is far behind.
        span: of its caller's trace, if there is one.
    """

    batch: Batch
    work: Work
    utterance: Utterance
    lease: BatchLease
    cleanup: ExitStack
    steps: Steps
    started: float
    is_suspect: bool = False
    first: int = 0
    answer: WholeAnswer = field(default_factory=WholeAnswer)
    backend_s: float = 0.0
    used_s: float = 0.0
    sent_s: float = 0.0
    listens_since: float | None = None
    stepped_at: float | None = None
    is_paused: bool = False
    span: "Span | None" = None

    @property
    def kept_bytes(self) -> int:
        """How much of the answer is kept until its end."""
        return self.utterance.kept_bytes + self.answer.nbytes

    @property
    def can_go_on(self) -> bool:
        """Whether its next piece can be made, and would be taken."""
        return not self.is_paused and self.utterance.is_ready

    @property
    def item(self) -> BatchItem:
        """The request as it was queued."""
        return self.batch.items[0]

    def turn(self, now: float) -> tuple[Turn, float]:
        """How urgent its next piece is, and among equals when that was due: the least first."""
        step_s = self.steps.step_s
        if self.listens_since is not None:
            ahead_s = self.sent_s - (now - self.listens_since)
            if ahead_s < DRY_STEPS * step_s:
                return Turn.RUNS_DRY, ahead_s
            return (Turn.LISTENS if ahead_s < max(AHEAD_S, AHEAD_STEPS * step_s) else Turn.AHEAD), ahead_s
        if self.item.stream:
            return Turn.FIRST_PIECE, self.stepped_at or self.started
        if self.stepped_at is None or now - self.stepped_at > max(PATIENT_S, PATIENT_STEPS * step_s):
            return Turn.FIRST_PIECE, self.started
        return Turn.CALL, self.started


def chosen(in_hand: Iterable[InHand], now: float, most: dict[str, int]) -> list[InHand]:
    """The requests whose pieces make up the next step; none when none can go on. Who has enough to hear
    makes no step longer that others wait for.

    Args:
        most: how many pieces may share a step, by deployment.
    """
    waiting = sorted(((each.turn(now), each) for each in in_hand if each.can_go_on), key=itemgetter(0))
    if not waiting:
        return []
    (urgency, _), first = waiting[0]
    if first.is_suspect:
        return [first]
    name, last = first.batch.deployment, max(urgency, Turn.CALL)
    company = [
        each for (turn, _), each in waiting if each.batch.deployment == name and not each.is_suspect and turn <= last
    ]
    return company[: most[name]]
