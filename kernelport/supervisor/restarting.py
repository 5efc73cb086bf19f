"""Replaces the front door of a running stack: no connection is refused meanwhile, and no call lost."""

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
        """Replaces the front door; writes down why it could not, if so, and returns that: then the old one goes on."""
        self._request.take_up()
        failed: dict[str, str] = {}
        try:
            self._replace(stopped)
        except StackError as error:
            failed["front-door"] = str(error)
        self._request.answer(failed)
        return failed

    def _replace(self, stopped: Callable[[], bool]) -> None:
        pid, settings = self._stack.children["front-door"].pid, self._stack.settings
        if len(self._stack.front_doors) > 1:
            raise StackError("one of several that share their addresses cannot be replaced: start the stack again")
        if pid is None:
            raise StackError("it is just being started again")
        os.kill(pid, signal.SIGUSR1)
        addresses = {settings.listen, self._stack.own_target, settings.http_listen, settings.metrics_listen}
        wait_until_shared(addresses, OPENING_S)
        new = self._stack.second_front_door()
        deadline = time.monotonic() + STARTING_S
        while not self._takes_calls(new):
            if new.restarts or new.has_failed or stopped() or time.monotonic() > deadline:
                new.terminate()
                new.join(settings.stop_s)
                raise StackError(f"a new one did not come up; its log {new.log_file} ends:\n{new.log_tail()}")
            time.sleep(LOOK_INTERVAL_S)
        self._stack.change_front_door(new)

    def _takes_calls(self, child: Child) -> bool:
        host = socket.gethostname()
        try:
            with connect(self._stack.settings.redis_url, REDIS_TIMEOUT_S) as redis:
                return any((door.host, door.pid) == (host, child.pid) for door in read_front_doors(redis))
        except RedisError:
            return False


def ask_to_restart(state_dir: Path, running: Running) -> dict[str, str]:
    """Has the front door of the stack on a state folder replaced, and waits until it is.

    Returns:
        why it was not, if so.

    Raises:
        StackError: when the stack stops meanwhile, or its process takes no requests.
    """
    return Request(state_dir, _VERB).make(running)
