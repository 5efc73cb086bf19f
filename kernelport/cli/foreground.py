"""Runs a stack in the foreground until Ctrl-C or SIGTERM, with a short live status."""

import signal
import threading
import time
from collections.abc import Callable, Mapping
from types import FrameType

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from kernelport.counting import counted
from kernelport.errors import StackError
from kernelport.supervisor.monitor import Status
from kernelport.supervisor.reloading import Reloader
from kernelport.supervisor.restarting import Restarter
from kernelport.supervisor.stack import Stack
from kernelport.telemetry import logs

STATUS_INTERVAL_S = 1.0
LOOK_INTERVAL_S = 0.1
START_TIMEOUT_S = 600.0
_COLOURS = {"serving": "green", "starting": "yellow", "restarting": "red", "failing": "red", "failed": "bold red"}


def run_until_stopped(stack: Stack, reloader: Reloader, restarter: Restarter) -> None:
    """Starts the stack, shows its state as it changes, reloads it or replaces its front door when told to, and stops it
    when told to.

    Raises:
        StackError: when it does not start, or none of its deployments serves.
    """
    logs.set_up(stack.settings, copy=stack.log_file)
    console = Console()
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()

    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with stack:
            with console.status("starting ..."):
                failed = stack.wait_started(START_TIMEOUT_S, stopped=stop.is_set)
            if failed and len(failed) == len(stack.deployments):
                raise StackError("\n".join(failed.values()))
            for reason in failed.values():
                console.print(reason, style="red", markup=False, soft_wrap=True)
            if not stop.is_set():
                over_http = f", and for HTTP on [bold]{stack.url}[/bold]" if stack.url else ""
                console.print(f"KernelPort listens on [bold]{stack.target}[/bold]{over_http}. Ctrl-C stops it.")
                if key_file := stack.settings.first_key_file:
                    console.print(f"Callers show a key; the first one is in {key_file}.", markup=False, soft_wrap=True)
            while not stop.is_set():
                _show_status(stack, lambda: stop.is_set() or reloader.is_asked() or restarter.is_asked(), console)
                if not stop.is_set() and reloader.is_asked():
                    console.print("going by the deployments file again ...")
                    _tell(reloader.reload(stop.is_set), console)
                if not stop.is_set() and restarter.is_asked():
                    console.print("replacing the front doors ...")
                    _tell(restarter.restart(stop.is_set), console)
            console.print("stopping ...")
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    console.print("stopped; no process is left behind.")


def _tell(failed: Mapping[str, str], console: Console) -> None:
    for name, reason in failed.items():
        console.print(f"{name}: {reason}".removeprefix(": "), style="red", markup=False, soft_wrap=True)


def _show_status(stack: Stack, is_over: Callable[[], bool], console: Console) -> None:
    """On a terminal a table that changes in place; elsewhere a line whenever a state changes."""
    if not console.is_terminal:
        shown: list[Status] = []
        while not is_over():
            current = stack.status()
            for line in current:
                if line not in shown:
                    console.print(status_line(line), markup=False, soft_wrap=True)
            shown = current
            _pause(is_over)
        return
    with Live(_table(stack.status()), console=console, auto_refresh=False) as live:
        while not _pause(is_over):
            live.update(_table(stack.status()), refresh=True)


def status_line(status: Status) -> str:
    """A status as a line."""
    line = f"{status.name}: {status.state} (pid {status.pid}, {counted(status.restarts, 'restart')})"
    if not status.reason:
        return line
    # One that is failing has not ended, and gives the reason itself.
    return f"{line}: {status.reason}" if status.state == "failing" else f"{line}; last, it {status.reason}"


def _pause(is_over: Callable[[], bool]) -> bool:
    """Waits until the next status is due, or all is over; whether it is."""
    due = time.monotonic() + STATUS_INTERVAL_S
    while not is_over() and time.monotonic() < due:
        time.sleep(LOOK_INTERVAL_S)
    return is_over()


def _table(statuses: list[Status]) -> Table:
    table = Table("process", "state", "pid", "restarts", "why, or how it ended last")
    for line in statuses:
        colour = _COLOURS[line.state]
        state = f"[{colour}]{line.state}[/{colour}]"
        table.add_row(line.name, state, str(line.pid or "-"), str(line.restarts), escape(line.reason))
    return table
