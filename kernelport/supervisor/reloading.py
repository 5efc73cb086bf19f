"""Has a running stack go by its deployments file again.

It is asked by a file in the state folder, and writes into another what came of it.
"""

import json
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from kernelport.broker.connections import connect
from kernelport.broker.queues import queue_name
from kernelport.client import Client
from kernelport.config.deployments import DeploymentTable, load_deployments
from kernelport.config.schema import ConfigError
from kernelport.config.settings import Settings
from kernelport.errors import KernelPortError, NotFoundError, StackError
from kernelport.supervisor.own_file import own_file
from kernelport.supervisor.runnable import problems_by_deployment, revisions_by_deployment
from kernelport.supervisor.running_file import Running, find_running
from kernelport.supervisor.stack import Stack
from kernelport.supervisor.state_folder import read_own, write_private

LOOK_INTERVAL_S = 0.1
CALL_TIMEOUT_S = 5.0
# A front door queues what it has accepted within less.
QUIET_S = 1.0
# Not every stack is run by `kernelport up`: another process never takes up the request.
PATIENCE_S = 30.0
_REQUEST, _OUTCOME = "reload", "reloaded.json"


@dataclass(frozen=True)
class Reloaded:
    """What came of a reload.

    Attributes:
        began_unix_s: when the stack took it up.
        failed: why deployments are not as the file says, by name; under the name "" what is wrong with the file.
    """

    began_unix_s: float
    failed: dict[str, str]


class Reloader:
    """Reloads a stack, in the process that runs it.

    Args:
        table: what the stack was started with.
        is_chosen: whether a deployment of that table gets workers, where it can run. One that is new does.
        counts: how many, of those that get more than one.
    """

    def __init__(
        self,
        stack: Stack,
        state_dir: Path,
        table: DeploymentTable,
        is_chosen: Callable[[str], bool],
        counts: Mapping[str, int],
    ) -> None:
        self._stack = stack
        self._state_dir = state_dir
        self._first = set(table)
        self._table = table
        self._is_chosen = is_chosen
        self._counts = counts

    def is_asked(self) -> bool:
        """Whether somebody wants a reload."""
        return (self._state_dir / _REQUEST).exists()

    def reload(self, stopped: Callable[[], bool]) -> dict[str, str]:
        """Reads the file, has the stack go by it, and writes down what came of it, which it returns."""
        (self._state_dir / _REQUEST).unlink(missing_ok=True)
        began, file = time.time(), own_file(self._state_dir)
        try:
            failed = self._go_by(load_deployments(file), file, stopped)
        except (ConfigError, OSError, StackError) as error:
            failed = {"": str(error)}
        write_private(self._state_dir / _OUTCOME, json.dumps(asdict(Reloaded(began, failed))))
        return failed

    def _go_by(self, table: DeploymentTable, file: Path, stopped: Callable[[], bool]) -> dict[str, str]:
        settings = replace(self._stack.settings, deployments_file=file)
        problems = problems_by_deployment(settings)
        wanted = [name for name in table if name not in self._first or self._is_chosen(name)]
        runnable = [name for name in wanted if problems[name] is None]
        other_files = self._with_other_files(settings, runnable)
        before, self._table = self._table, table
        failed = {name: why_not for name in wanted if (why_not := problems[name]) and before.get(name) != table[name]}
        return failed | self._change(before, table, runnable, other_files, stopped)

    def _with_other_files(self, settings: Settings, deployments: Collection[str]) -> set[str]:
        """The workers whose model's files, or code, are others now than those that they have loaded."""
        loaded = self._stack.revisions()
        of = {name: each for name, each in self._stack.workers.items() if each in deployments and name in loaded}
        now = revisions_by_deployment(settings, of.values())
        return {name for name, deployment in of.items() if now[deployment] not in (None, loaded[name])}

    def _change(
        self,
        before: DeploymentTable,
        after: DeploymentTable,
        runnable: Sequence[str],
        other_files: Collection[str],
        stopped: Callable[[], bool],
    ) -> dict[str, str]:
        """Changes workers so that no request is lost: a new worker serves before the old one finishes what it has and
        goes; and one whose deployment is gone goes once nothing waits for it."""
        stack, old, failed = self._stack, self._stack.workers, dict[str, str]()
        stack.read_again()
        coming: dict[str, list[str]] = {}
        going: dict[str, list[str]] = {}
        for deployment in runnable:
            there = [name for name, each in old.items() if each == deployment]
            is_changed = before.get(deployment) != after[deployment]
            kept = [
                name for name in there if not (is_changed or name in other_files or stack.children[name].has_failed)
            ]
            count = self._counts.get(deployment, 1)
            coming[deployment] = [stack.add_worker(deployment, roll=bool(there)) for _ in range(count - len(kept))]
            going[deployment] = [name for name in there if name not in kept[:count]]
        began = time.monotonic()
        for deployment, new in coming.items():
            if why_not := stack.wait_for(new, began + after[deployment].timeouts.load_s, stopped):
                failed[deployment] = "\n".join(why_not.values())
            stack.retire(new if why_not else going[deployment])
        for deployment in dict.fromkeys(old.values()):
            if deployment not in after:
                self._wait_until_nothing_waits(deployment, before[deployment].timeouts.request_s, stopped)
                stack.retire([name for name, each in old.items() if each == deployment])
        return failed

    def _wait_until_nothing_waits(self, deployment: str, limit_s: float, stopped: Callable[[], bool]) -> None:
        """Waits until the front door takes no more requests for a deployment, and its queue has been empty for a while;
        at most as long as a request may take. Items of jobs stay: they go on should the deployment come back."""
        deadline = time.monotonic() + limit_s
        empty_since = math.inf
        settings = self._stack.settings
        with Client(self._stack.target, timeout_s=CALL_TIMEOUT_S) as client, connect(settings.redis_url) as redis:
            while time.monotonic() < min(deadline, empty_since + QUIET_S) and not stopped():
                is_empty = not _is_known(client, deployment) and _is_empty(redis, deployment)
                empty_since = min(empty_since, time.monotonic()) if is_empty else math.inf
                time.sleep(LOOK_INTERVAL_S)


def _is_known(client: Client, deployment: str) -> bool:
    """Whether the front door takes requests for a deployment, as far as it can be asked."""
    try:
        client.deployment(deployment)
    except NotFoundError:
        return False
    except KernelPortError:
        return True
    return True


def _is_empty(redis: Redis, deployment: str) -> bool:
    """Whether no batch of requests waits, as far as Redis can be asked."""
    try:
        return not redis.llen(queue_name(deployment))
    except RedisError:
        return False


def ask_to_reload(state_dir: Path, running: Running) -> dict[str, str]:
    """Has the stack on a state folder go by its deployments file, and waits until it does.

    Returns:
        why deployments are not as the file says, by name; under the name "" what is wrong with the file.

    Raises:
        StackError: when the stack stops meanwhile, or its process takes no requests.
    """
    request, asked = state_dir / _REQUEST, time.time()
    write_private(request, "")
    while (done := _read(state_dir)) is None or done.began_unix_s < asked:
        if find_running(state_dir) != running:
            raise StackError(f"the stack on {state_dir} has stopped")
        if time.time() > asked + PATIENCE_S and request.exists():
            request.unlink(missing_ok=True)
            raise StackError(
                f"process {running.pid}, which runs the stack on {state_dir}, has not taken it up within "
                f"{PATIENCE_S:g} s: it is still starting, or is no `kernelport up`"
            )
        time.sleep(LOOK_INTERVAL_S)
    return done.failed


def _read(state_dir: Path) -> Reloaded | None:
    text = read_own(state_dir / _OUTCOME)
    return Reloaded(**json.loads(text)) if text else None
