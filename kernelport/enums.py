"""The states of jobs and items as words."""

from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from typing import Any, Self, TypeVar

from kernelport.errors import FieldViolation, InvalidArgumentError
from kernelport.v1 import job_pb2 as pb

_PREFIXES = (
    *("JOB_STATE_", "ITEM_STATE_", "OUTPUT_FORMAT_", "WEBHOOK_EVENT_"),
    *("DEPLOYMENT_STATE_", "ROW_INDEPENDENCE_"),
)
State = TypeVar("State", bound=int | str)


class JobState(StrEnum):
    """The states of a job, as words; see `JobState` of the contract."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    DELETING = "deleting"

    @classmethod
    def of(cls, job: pb.Job) -> Self:
        """The state of a job."""
        return cls(word(pb.JobState.Name(job.state)))


class ItemState(StrEnum):
    """The states of an item, as words; see `ItemState` of the contract."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @classmethod
    def of(cls, item: pb.Item) -> Self:
        """The state of an item."""
        return cls(_item_word(item.state))


def job_states(states: Sequence[pb.JobState | str]) -> list[pb.JobState | str]:
    """States as messages take them, given as words, or as names or values of the contract's enum.

    Raises:
        InvalidArgumentError: when one is none.
    """
    return _known("JOB_STATE_", pb.JobState, states)


def item_states(states: Sequence[pb.ItemState | str]) -> list[pb.ItemState | str]:
    """The same for items."""
    return _known("ITEM_STATE_", pb.ItemState, states)


def word(name: str) -> str:
    """A value of an enum without the enum's name before it."""
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name.lower()


@cache
def _item_word(state: pb.ItemState) -> str:
    return word(pb.ItemState.Name(state))


def _known(prefix: str, enum: Any, states: Sequence[State]) -> list[State | str]:
    given = [states] if isinstance(states, str) else states  # no letters
    named = [s if not isinstance(s, str) or s.startswith(prefix) else f"{prefix}{s.upper()}" for s in given]
    for state, name in zip(given, named, strict=True):
        if isinstance(states, str) or name not in (*enum.keys(), *enum.values()):
            words = ", ".join(word(each) for each in enum.keys()[1:])
            raise InvalidArgumentError.of([FieldViolation("states", f"expected a list of {words}; got {state!r}")])
    return named
