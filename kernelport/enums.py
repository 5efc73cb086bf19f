"""The states of jobs and items as words."""

import contextlib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import cache
from typing import Any, Self

from kernelport.errors import FieldViolation, InvalidArgumentError
from kernelport.v1 import job_pb2 as pb

_PREFIXES = (
    *("JOB_STATE_", "ITEM_STATE_", "OUTPUT_FORMAT_", "WEBHOOK_EVENT_"),
    *("DEPLOYMENT_STATE_", "ROW_INDEPENDENCE_"),
)


class _State(StrEnum):
    """A word for a value of the contract's enum of the same name: made of the number that messages have, of the name
    there, or of the word itself, and equal to the number. Sets and keys of dicts are words alone: they find no number.
    """

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        sought = word(value) if isinstance(value, str) else value
        return next((state for state in cls if state == sought), None)

    def __eq__(self, other: object) -> bool:
        # Else `job.state == JobState.FAILED` would be false of every job.
        return _NUMBERS[type(self)][self.value] == other if type(other) is int else str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other  # that of str knows no numbers

    __hash__ = str.__hash__


class JobState(_State):
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


class ItemState(_State):
    """The states of an item, as words; see `ItemState` of the contract."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    NOT_RUN = "not_run"

    @classmethod
    def of(cls, item: pb.Item) -> Self:
        """The state of an item."""
        return cls(_item_word(item.state))


_NUMBERS: Mapping[type[_State], Mapping[str, int]] = {
    JobState: {state.value: pb.JobState.Value(f"JOB_STATE_{state.name}") for state in JobState},
    ItemState: {state.value: pb.ItemState.Value(f"ITEM_STATE_{state.name}") for state in ItemState},
}


def job_states(states: Iterable[pb.JobState | str] | None) -> list[pb.JobState]:
    """States as messages take them, given as JobState, or what that is made of.

    Raises:
        InvalidArgumentError: when one is none.
    """
    return _numbers(JobState, states)


def item_states(states: Iterable[pb.ItemState | str] | None) -> list[pb.ItemState]:
    """The same for items."""
    return _numbers(ItemState, states)


def word(name: str) -> str:
    """A value of an enum without the enum's name before it."""
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name.lower()


@cache
def _item_word(state: pb.ItemState) -> str:
    return word(pb.ItemState.Name(state))


def _numbers(kind: type[_State], states: Iterable[Any] | None) -> list[Any]:
    if states is None:
        return []
    if not isinstance(states, str):  # whose letters are none
        with contextlib.suppress(ValueError, TypeError):
            return [_NUMBERS[kind][kind(state)] for state in states]
    raise InvalidArgumentError.of([FieldViolation("states", f"expected a list of {', '.join(kind)}; got {states!r}")])
