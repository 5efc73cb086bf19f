"""The processes under test: starting them, the CPU time they take, and making sure that they are gone."""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from kernelport.supervisor.processes import Child

POLL_S = 0.05
STOP_S = 15.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Fields of /proc/<pid>/stat behind the command's name, counted from 0.
_PARENT, _FIRST_TIME, _TIMES = 1, 11, 4


class BenchError(Exception):
    """The benchmark cannot go on; the message says why."""


def start(name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> Child:
    """Starts a process that logs to `folder`/`name`.log and dies with this one."""
    folder.mkdir(parents=True, exist_ok=True)
    log_file = folder / f"{name}.log"
    log_file.unlink(missing_ok=True)
    child = Child(name, command, {**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})}, log_file)
    child.start()
    return child


def wait_for_port(port: int, child: Child, timeout_s: float = 60.0) -> None:
    """Waits until somebody listens on a port of 127.0.0.1.

    Raises:
        BenchError: when the process ends instead, or the time is over; with the end of its log.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        check_alive(child)
        if time.monotonic() > deadline:
            raise BenchError(f"{child.name} does not listen after {timeout_s:g} s; its log ends:\n{child.log_tail()}")
        time.sleep(POLL_S)


def check_alive(child: Child) -> None:
    """Raises BenchError, with the end of its log, when the process has ended."""
    if child.restarts:
        raise BenchError(f"{child.name} ended by itself; its log {child.log_file} ends:\n{child.log_tail()}")


def stop(children: Sequence[Child]) -> None:
    """Stops processes, the last started first, and kills whatever of their descendants is left."""
    trees = [_tree([child.pid]) for child in children if child.pid is not None]
    for child in reversed(children):
        child.terminate()
    for child in reversed(children):
        child.join(STOP_S)
    for pid in set().union(*trees):
        if pid in _parents() and os.getpgid(pid) != os.getpgrp():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU seconds that processes and their descendants, ended ones included, have taken so far."""
    return sum(_own_cpu_seconds(pid) for pid in _tree(pids))


def _own_cpu_seconds(pid: int) -> float:
    """User and system time, of the process and of the children that it has waited for."""
    fields = _stat(pid)
    return sum(int(ticks) for ticks in fields[_FIRST_TIME : _FIRST_TIME + _TIMES]) / _TICKS_PER_S if fields else 0.0


def _tree(pids: Iterable[int]) -> set[int]:
    """The processes and all their descendants."""
    parents = _parents()
    found: set[int] = set()
    level = set(pids)
    while level:
        found |= level
        level = {child for child, parent in parents.items() if parent in level} - found
    return found


def _parents() -> dict[int, int]:
    """Each process's parent."""
    stats = {int(entry): _stat(int(entry)) for entry in os.listdir("/proc") if entry.isdigit()}
    return {pid: int(fields[_PARENT]) for pid, fields in stats.items() if fields}


def _stat(pid: int) -> list[str]:
    """The fields behind the command's name; empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
