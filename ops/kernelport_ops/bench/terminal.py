"""What the benchmarks' commands share: options, progress, and an orderly end."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from kernelport.errors import StackError
from kernelport_ops.bench.processes import BenchError

# Where nobody looks, tables need not be squeezed.
NO_TERMINAL_WIDTH = 160
Callback = Callable[[click.Context, click.Parameter, str], Any]


def new_console() -> Console:
    """Standard output."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(width=NO_TERMINAL_WIDTH, highlight=False)


def progress_bar(console: Console) -> Progress:
    """What is measured now, and how far along it is."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )


def prepare_process() -> None:
    """One thread for every ONNX session of every system, and SIGTERM ends a run as Ctrl-C does."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@contextmanager
def until_stopped(console: Console) -> Iterator[None]:
    """Around what measures: Ctrl-C and what goes wrong end it, are told, and leave what was measured so far."""
    try:
        yield
    except KeyboardInterrupt:
        console.print("interrupted")
    except (BenchError, StackError) as error:
        console.print(str(error), style="red", markup=False)


def separated(parse: Callable[[str], Any]) -> Callback:
    """A callback of an option: values between commas; `parse` raises ValueError for one that is not right."""

    def callback(_context: click.Context, _option: click.Parameter, text: str) -> Any:
        try:
            return [parse(part) for part in text.split(",")]
        except ValueError as error:
            raise click.BadParameter(str(error)) from error

    return callback


def positive(text: str) -> int:
    """An integer of at least 1. Raises ValueError."""
    if not text.isdecimal() or not int(text):
        raise ValueError(f"expected an integer of at least 1, got {text!r}")
    return int(text)


def one_of(names: list[str]) -> Callable[[str], str]:
    """A parser of names."""

    def parse(text: str) -> str:
        if text not in names:
            raise ValueError(f"unknown: {text}; there are {', '.join(names)}")
        return text

    return parse


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
