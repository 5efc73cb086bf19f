"""Has a running stack go by its deployments file again."""

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from redis import Redis
from redis.exceptions import RedisError

from kernelport.broker.connections import connect
from kernelport.broker.queues import queue_name
from kernelport.client import Address
from kernelport.config.deployments import Deployment, DeploymentTable, load_deployments
from kernelport.config.schema import ConfigError
from kernelport.config.settings import Settings
from kernelport.errors import StackError
from kernelport.supervisor.own_file import own_file
from kernelport.supervisor.requests import Outcome, Request
from kernelport.supervisor.runnable import problems_by_deployment, revisions_by_deployment
from kernelport.supervisor.running_file import Running
from kernelport.supervisor.stack import Stack

LOOK_INTERVAL_S = 0.1
CALL_TIMEOUT_S = 5.0
# A front door queues what it has accepted within less.
QUIET_S = 1.0
# A worker reads a file within less, and tells at once.
READING_S = 10.0
_VERB = "reload"


class Reloader:
    """Reloads a stack, in the process that runs it.

    Args:
        table: what the stack was started with.
        is_chosen: whether a deployment of that table gets workers, once it can run. One that is new does.
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
        self._request = Request(state_dir, _VERB)
        self._first = set(table)
        self._table = table
        self._is_chosen = is_chosen
        self._counts = counts

    def is_asked(self) -> bool:
        """Whether somebody wants a reload."""
        return self._request.is_made()

    def reload(self, stopped: Callable[[], bool]) -> dict[str, str]:
        """Reads the file, has the stack go by it, and writes down what came of it; returns what failed."""
        self._request.take_up()
        file = own_file(self._state_dir)
        left_out: dict[str, str] = {}
        try:
            failed, left_out = self._go_by(load_deployments(file), file, stopped)
        except (ConfigError, OSError, StackError) as error:
            failed = {"": str(error)}
        self._request.answer(failed, left_out)
        return failed

    def _go_by(
        self, table: DeploymentTable, file: Path, stopped: Callable[[], bool]
    ) -> tuple[dict[str, str], dict[str, str]]:
        """What failed, and what was left out before and still is, each with the reason."""
        settings = replace(self._stack.settings, deployments_file=file)
        problems = problems_by_deployment(settings)
        wanted = [name for name in table if name not in self._first or self._is_chosen(name)]
        runnable = [name for name in wanted if problems[name] is None]
        other_files = self._with_other_files(settings, runnable)
        before, self._table = self._table, table
        out = {name: why_not for name in wanted if (why_not := problems[name])}
        left_out = {name: why_not for name, why_not in out.items() if before.get(name) == table[name]}
        failed = {name: why_not for name, why_not in out.items() if name not in left_out}
        return failed | self._change(before, table, runnable, other_files, stopped), left_out

    def _with_other_files(self, settings: Settings, deployments: Collection[str]) -> set[str]:
        """The workers whose model's files, or code, are others now than those that they have loaded."""
        loaded = {name: served.revision for name, served in self._stack.workers.served().items()}
        there = self._stack.workers.deployments
        of = {name: each for name, each in there.items() if each in deployments and name in loaded}
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
        """Changes workers so that no request is lost. One that can go by the file as it is does so; else a new worker
        serves before the old one finishes what it has and goes. One whose deployment is gone goes once nothing waits
        for it."""
        stack, failed = self._stack, dict[str, str]()
        old = dict(stack.workers.deployments)
        for name in stack.front_doors:
            stack.read_again(name)
        coming: dict[str, list[str]] = {}
        going: dict[str, list[str]] = {}
        staying: dict[str, Deployment] = {}
        for deployment in runnable:
            there = [name for name, each in old.items() if each == deployment]
            was = before.get(deployment)
            is_other = was is None or was.needs_other_worker(after[deployment])
            kept = [name for name in there if not (is_other or name in other_files or stack.children[name].has_failed)]
            count = self._counts.get(deployment, 1)
            going[deployment] = [name for name in there if name not in kept[:count]]
            leaving = iter(going[deployment])
            coming[deployment] = [
                stack.add_worker(deployment, bool(there), successor_of=next(leaving, None))
                for _ in range(count - len(kept))
            ]
            if was != after[deployment]:
                staying |= dict.fromkeys(kept[:count], after[deployment])
        for name in staying:
            stack.read_again(name)
        began = time.monotonic()
        for deployment, new in coming.items():
            if why_not := stack.monitor.wait_for(new, began + after[deployment].timeouts.load_s, stopped):
                failed[deployment] = "\n".join(why_not.values())
            stack.retire(new if why_not else going[deployment])
        failed |= self._wait_until_read(staying, stopped)
        for deployment in dict.fromkeys(old.values()):
            if deployment not in after:
                self._wait_until_nothing_waits(deployment, before[deployment].timeouts.request_s, stopped)
                stack.retire([name for name, each in old.items() if each == deployment])
        return failed

    def _wait_until_read(self, workers: Mapping[str, Deployment], stopped: Callable[[], bool]) -> dict[str, str]:
        """Waits until workers go by what the file says now; why those do not that do not, by deployment."""
        deadline = time.monotonic() + READING_S
        while True:
            served = self._stack.workers.served()
            late = {
                name: deployment
                for name, deployment in workers.items()
                if name in served and served[name].settings != deployment.digest
            }
            if not late or stopped() or time.monotonic() > deadline:
                return {
                    each.name: f"{name} has not read the file again within {READING_S:g} s; its log is "
                    f"{self._stack.children[name].log_file}"
                    for name, each in late.items()
                }
            time.sleep(LOOK_INTERVAL_S)

    def _wait_until_nothing_waits(self, deployment: str, limit_s: float, stopped: Callable[[], bool]) -> None:
        """Waits until the front door takes no more requests for a deployment, and its queue has been empty for a while;
        at most as long as a request may take. Items of jobs stay: they go on should the deployment come back."""
        deadline = time.monotonic() + limit_s
        empty_since = math.inf
        settings = self._stack.settings
        with Address(self._stack.own_target).open(grpc) as channel, connect(settings.redis_url) as redis:
            health: Any = health_pb2_grpc.HealthStub(channel)
            while time.monotonic() < min(deadline, empty_since + QUIET_S) and not stopped():
                is_empty = not _is_known(health, deployment) and _is_empty(redis, deployment)
                empty_since = min(empty_since, time.monotonic()) if is_empty else math.inf
                time.sleep(LOOK_INTERVAL_S)


def _is_known(health: Any, deployment: str) -> bool:
    """Whether the front door takes requests for a deployment, as far as it can be asked."""
    try:
        answer = health.Check(health_pb2.HealthCheckRequest(service=deployment), timeout=CALL_TIMEOUT_S)
    except grpc.RpcError as error:
        return bool(error.code() is not grpc.StatusCode.NOT_FOUND)
    return bool(answer.status != health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)


def _is_empty(redis: Redis, deployment: str) -> bool:
    """Whether no batch of requests waits, as far as Redis can be asked."""
    try:
        return not redis.llen(queue_name(deployment))
    except RedisError:
        return False


def ask_to_reload(state_dir: Path, running: Running) -> Outcome:
    """Has the stack on a state folder go by its deployments file, and waits until it does.

    Returns:
        what came of it: why deployments failed or are left out, by name; under the name "" of those that failed, what
        is wrong with the file.

    Raises:
        StackError: when the stack stops meanwhile, or its process takes no requests.
    """
    return Request(state_dir, _VERB).make(running)
