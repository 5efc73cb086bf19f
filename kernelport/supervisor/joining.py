"""Runs what belongs to a stack of another terminal: it ends when the stack does, and comes back with it.

The stack has a new Redis each time it starts, so that what it left behind would wait for the old one for ever.
"""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType

from kernelport.errors import PlaceError
from kernelport.supervisor.processes import dying_with_parent
from kernelport.supervisor.running_file import find_running, joined_environment
from kernelport.supervisor.state_folder import is_alive

LOOK_INTERVAL_S = 0.5
# What a command has in hand cannot be finished without the Redis that is gone: it has so long to close its files.
ORPHAN_STOP_S = 2.0


def run_beside(
    command: Sequence[str],
    state_dir: Path,
    redis_url: str | None,
    stop_s: float,
    say: Callable[[str], None],
    environment: Mapping[str, str] | None = None,
) -> int:
    """Runs a command for the stack on a state folder, or on the Redis that was named, until it ends by itself or this
    process gets a SIGTERM or a Ctrl-C, which it passes on once. A SIGHUP it passes on, too; from a terminal, which is
    closed then, it ends both.

    Args:
        stop_s: seconds that the command has to end when it should; then it is killed. Fewer once the stack's
            Redis is gone.
        say: is told when the stack has gone, and when it is there again.
        environment: further variables for the command.

    Returns:
        The command's exit code; 0 when it was stopped.

    Raises:
        PlaceError: when no Redis was named and no stack runs on the folder.
    """
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    process: subprocess.Popen[bytes] | None = None

    def on_hangup(number: int, frame: FrameType | None) -> None:
        if process is not None:
            process.send_signal(number)

    if not sys.stdin.isatty():
        signal.signal(signal.SIGHUP, on_hangup)
    follows = redis_url is None
    if follows and find_running(state_dir) is None:
        raise PlaceError(f"no stack runs on {state_dir}: `kernelport up` starts one, or name a Redis with --redis-url")
    while not stop.is_set():
        running = find_running(state_dir)
        if follows and running is None:
            stop.wait(LOOK_INTERVAL_S)
            continue
        told = joined_environment(state_dir, redis_url) | dict(environment or {})
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])  # and so in the new process, until it heeds it
        # Ctrl-C is this process's to pass on.
        process = subprocess.Popen([*dying_with_parent(), *command], env=told, start_new_session=True)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])
        while process.poll() is None and not stop.is_set() and (not follows or find_running(state_dir) == running):
            stop.wait(LOOK_INTERVAL_S)
        if process.poll() is not None and not stop.is_set():
            return process.returncode if process.returncode >= 0 else 128 - process.returncode
        if not stop.is_set():
            say(f"the stack on {state_dir} has stopped; this goes on when `kernelport up` starts it again")
        process.terminate()
        own_redis_of = running.pid if follows and running is not None and running.own_redis else None
        _wait_or_kill(process, stop_s, own_redis_of)
    return 0


def _wait_or_kill(process: "subprocess.Popen[bytes]", stop_s: float, own_redis_of: int | None) -> None:
    """Waits for a process that was told to end, and kills it when it has not in time.

    Args:
        own_redis_of: the process of the stack whose Redis it is about, and which that Redis dies with.
    """
    deadline, is_orphan = time.monotonic() + stop_s, False
    while process.poll() is None:
        if not is_orphan and own_redis_of is not None and not is_alive(own_redis_of):
            deadline, is_orphan = min(deadline, time.monotonic() + ORPHAN_STOP_S), True
        try:
            process.wait(max(0.0, min(LOOK_INTERVAL_S, deadline - time.monotonic())))
        except subprocess.TimeoutExpired:
            if time.monotonic() >= deadline:
                process.kill()
                process.wait()
