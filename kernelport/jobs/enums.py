"""The states of jobs and items as words."""

from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from typing import Self, TypeVar

from kernelport.v1 import job_pb2 as pb

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
    """States as messages take them, given as words, or as names or values of the contract's enum."""
    return [_named("JOB_STATE_", state) for state in states]


def item_states(states: Sequence[pb.ItemState | str]) -> list[pb.ItemState | str]:
    """The same for items."""
    return [_named("ITEM_STATE_", state) for state in states]


def word(name: str) -> str:
    """A value of an enum without the enum's name before it."""
    for prefix in ("JOB_STATE_", "ITEM_STATE_", "OUTPUT_FORMAT_", "WEBHOOK_EVENT_"):
        name = name.removeprefix(prefix)
    return name.lower()


@cache
def _item_word(state: pb.ItemState) -> str:
    return word(pb.ItemState.Name(state))


def _named(prefix: str, state: State) -> State | str:
    return state if not isinstance(state, str) or state.startswith(prefix) else f"{prefix}{state.upper()}"
