"""How the commands about jobs name states, times and durations, and read them."""

import contextlib
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

import click
from rich.text import Text

from kernelport.config.values import parse_duration
from kernelport.enums import ItemState
from kernelport.v1 import job_pb2 as pb

Command = TypeVar("Command", bound=Callable[..., Any])

_UNDONE = (ItemState.FAILED, ItemState.RUNNING, ItemState.WAITING, ItemState.CANCELLED, ItemState.NOT_RUN)
COLOURS = {
    "succeeded": "green",
    "failed": "red",
    "expired": "red",
    "cancelling": "yellow",
    "cancelled": "yellow",
    "deleting": "yellow",
    "not_run": "yellow",
}


def others(job: pb.Job) -> dict[str, int]:
    """How many items of a job have not succeeded, by what is the matter with them, each apart."""
    return {as_said(state): count for state in _UNDONE if (count := getattr(job.progress, state))}


def as_said(state: str) -> str:
    """A state as people say it."""
    return state.replace("_", " ")


def coloured(state: str) -> Text:
    """A state in its colour."""
    return Text(as_said(state), style=COLOURS.get(state, ""))


def moment(unix_us: int) -> str:
    """A time as the user's clock has it; `-` for none."""
    return datetime.fromtimestamp(unix_us / 1e6).astimezone().strftime("%Y-%m-%d %H:%M:%S") if unix_us else "-"


def clock(seconds: float | None) -> str:
    """A duration as 1:02:03; `-` for one that is not known."""
    return "-" if seconds is None else str(timedelta(seconds=round(seconds)))


def in_states(states: type[StrEnum]) -> Callable[[Command], Command]:
    """The option that narrows a command to jobs or items in some states."""
    choices = click.Choice([state.value for state in states])
    return click.option("--state", "states", multiple=True, type=choices, help="Only in these states.")


class Duration(click.ParamType[float]):
    """Seconds, given as 90s, 30m, 12h or 7d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds of a text."""
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Deadline(click.ParamType[datetime | timedelta]):
    """A time, given as ISO 8601 or as a duration from now."""

    name = "deadline"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime | timedelta:
        """The time of a text."""
        with contextlib.suppress(ValueError):
            return timedelta(seconds=parse_duration(value))
        try:
            return datetime.fromisoformat(value).astimezone()
        except (ValueError, OverflowError):
            self.fail(f"expected a time such as 2030-01-31T18:00 or a duration such as 12h, got {value!r}", param, ctx)
