"""What a running stack writes down in its state folder: by it, commands in other terminals find its front door, its
Redis and its deployments file, and a further worker is told what its other workers are."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from kernelport.config.settings import PREFIX, state_folder
from kernelport.errors import StackError
from kernelport.supervisor.state_folder import is_alive, lock_state_folder, read_own, write_private

_NAME = "running.json"
_REDIS_URL = f"{PREFIX}REDIS_URL"
_ARTIFACTS = f"{PREFIX}ARTIFACTS"
# What differs from process to process.
_ITS_OWN = {f"{PREFIX}WORKER_ID", f"{PREFIX}METRICS_LISTEN"}


@dataclass(frozen=True)
class Running:
    """A running stack.

    Attributes:
        pid: of the process that runs it.
        target: host:port to point a client at.
        environment: the KERNELPORT_* variables of its processes. With the address of Redis they hold its password.
        own_redis: whether it has started that Redis, and will stop it.
    """

    pid: int
    target: str
    environment: dict[str, str]
    own_redis: bool = False

    @property
    def redis_url(self) -> str:
        """The Redis that holds its queues."""
        return self.environment[_REDIS_URL]

    def write(self, state_dir: Path) -> None:
        """Writes it down, for this user's eyes alone."""
        write_private(state_dir / _NAME, json.dumps(asdict(self)))


def forget_running(state_dir: Path) -> None:
    """The stack stops."""
    (state_dir / _NAME).unlink(missing_ok=True)


def find_running(state_dir: Path | None = None) -> Running | None:
    """The stack that runs on a state folder; None when there is none, or it is another user's.

    Args:
        state_dir: by default what `state_folder` says.
    """
    running = last_running(state_dir or state_folder())
    return running if running is not None and is_alive(running.pid) else None


def last_running(state_dir: Path) -> Running | None:
    """The same, also when it no longer runs and nobody has stopped it, so that it has left its file."""
    try:
        return Running(**json.loads(read_own(state_dir / _NAME) or ""))
    except (ValueError, TypeError):  # a file of another version tells as little as none
        return None


def take_state_folder(state_dir: Path) -> IO[str]:
    """Makes the folder of a stack; no other stack has it for as long as the file is open.

    Raises:
        StackError: when another one has it.
    """
    lock = lock_state_folder(state_dir)
    if lock is None:
        running = find_running(state_dir)
        where = f", at {running.target}, as process {running.pid}" if running else ""
        raise StackError(f"another stack runs on {state_dir}{where}: stop it, or give this one its own --state-dir")
    return lock


def joined_environment(state_dir: Path | None = None, redis_url: str | None = None) -> dict[str, str]:
    """This process's environment, with what the processes of the stack on a state folder are told where it does not say
    otherwise; unless `redis_url` is that of another Redis. Outputs are in the state folder where nobody says where."""
    running = find_running(state_dir)
    told: dict[str, str] = {}
    if running is not None and redis_url in (None, running.redis_url):
        told = {name: value for name, value in running.environment.items() if name not in _ITS_OWN}
    named = {_REDIS_URL: redis_url} if redis_url else {}
    found = told | dict(os.environ) | named
    if state_dir is not None and not found.get(_ARTIFACTS):
        found[_ARTIFACTS] = str(state_dir.absolute() / "artifacts")
    return found
