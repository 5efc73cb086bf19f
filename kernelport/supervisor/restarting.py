"""Replaces the front doors of a running stack: no connection is refused meanwhile, and no call lost."""

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

from redis.exceptions import RedisError

from kernelport.broker.connections import connect
from kernelport.broker.registry import read_front_doors
from kernelport.errors import StackError
from kernelport.supervisor.ports import wait_until_shared
from kernelport.supervisor.processes import Child
from kernelport.supervisor.requests import Request
from kernelport.supervisor.running_file import Running
from kernelport.supervisor.stack import Stack

_VERB = "restart"
# How long a front door has to let another one in, and that one to come up: it is let in for a minute.
OPENING_S, STARTING_S = 5.0, 50.0
LOOK_INTERVAL_S = 0.05
REDIS_TIMEOUT_S = 1.0


class Restarter:
    """Does so in the process that runs the stack."""

    def __init__(self, stack: Stack, state_dir: Path) -> None:
        self._stack = stack
        self._request = Request(state_dir, _VERB)

    def is_asked(self) -> bool:
        """Whether somebody wants it."""
        return self._request.is_made()

    def restart(self, stopped: Callable[[], bool]) -> dict[str, str]:
        """Replaces the front doors, one after the other; writes down which could not be, and why, and returns that: it
        goes on, and so do those behind it."""
        self._request.take_up()
        failed: dict[str, str] = {}
        for name in self._stack.front_doors:
            try:
                self._replace(name, stopped)
            except StackError as error:
                failed[name] = str(error)
                break
        self._request.answer(failed)
        return failed

    def _replace(self, name: str, stopped: Callable[[], bool]) -> None:
        pid = self._stack.children[name].pid
        if pid is None:
            raise StackError("it is just being started again")
        os.kill(pid, signal.SIGUSR1)
        wait_until_shared(self._stack.addresses_of(name), OPENING_S)
        deadline = time.monotonic() + STARTING_S

        def comes_up(new: Child) -> bool:
            while not self._takes_calls(new):
                if new.restarts or new.has_failed or stopped() or time.monotonic() > deadline:
                    return False
                time.sleep(LOOK_INTERVAL_S)
            return True

        self._stack.replace_front_door(name, comes_up)

    def _takes_calls(self, child: Child) -> bool:
        host = socket.gethostname()
        try:
            with connect(self._stack.settings.redis_url, REDIS_TIMEOUT_S) as redis:
                return any((door.host, door.pid) == (host, child.pid) for door in read_front_doors(redis))
        except RedisError:
            return False


def ask_to_restart(state_dir: Path, running: Running) -> dict[str, str]:
    """Has the front doors of the stack on a state folder replaced, and waits until they are.

    Returns:
        why one was not, by its name; those behind it were not, either.

    Raises:
        StackError: when the stack stops meanwhile, or its process takes no requests.
    """
    return Request(state_dir, _VERB).make(running).failed
