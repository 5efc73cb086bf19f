"""Starts and stops the embedded stack."""

import hashlib
import itertools
import logging
import os
import secrets
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from redis.exceptions import RedisError

from kernelport.broker import keys, tallies
from kernelport.broker.connections import connect, parameters, problem, shown
from kernelport.broker.leases import end_leases
from kernelport.broker.registry import forget, holds_revision, read_workers
from kernelport.broker.shared_folder import SharedFolder
from kernelport.config.settings import OTHERS_VARIABLES, Settings
from kernelport.errors import StackError
from kernelport.internal.v1.queue_pb2 import ServedDeployment
from kernelport.supervisor.flower import FLOWER_COMMAND
from kernelport.supervisor.front_doors import FrontDoors
from kernelport.supervisor.monitor import Monitor, Status
from kernelport.supervisor.own_file import begin_own_file, own_file
from kernelport.supervisor.ports import check_free, free_port, port_after, with_port
from kernelport.supervisor.processes import Child, module_command
from kernelport.supervisor.redis_server import find_redis_server, redis_command
from kernelport.supervisor.running_file import Running, forget_running
from kernelport.supervisor.state_folder import (
    lock_state_folder,
    private_folder,
    write_private,
)
from kernelport.supervisor.worker_command import worker_command
from kernelport.telemetry.log_files import put_aside_if_full

log: logging.Logger = logging.getLogger(__name__)

READY_POLL_S = 0.05
# Beyond `stop_s`, which front doors and workers have for what they have begun.
STOP_MARGIN_S = 5.0
FRONT_DOOR_COMMAND = module_command("kernelport_api")
# By this argument one takes the place of another.
BESIDE = "--beside"
REDIS_START_S = 60.0
REDIS_STOP_S = 10.0
# A status line waits no longer for Redis.
REDIS_TIMEOUT_S = 1.0
# Files that only this user can read.
PRIVATE_UMASK = 0o077


class Stack:
    """Redis, front doors and one worker process per chosen deployment, on loopback.

    Use it as a context manager: it starts on entry, `wait_ready` waits until everything serves, and on exit every
    child is gone.

    Args:
        settings: what the processes are told; `redis_url` and an empty port in `listen` are filled in.
        deployments: names of the deployments to start a worker for; so many as a name is there times.
        state_dir: where Redis keeps its data and the processes their logs.
        redis_url: an existing Redis to use instead of an embedded one.
        flower: the environment of a Flower to start, too, as `flower_environment` makes it.
        front_doors: how many share the ports that `settings` names.
    """

    def __init__(
        self,
        settings: Settings,
        deployments: Sequence[str],
        state_dir: Path,
        redis_url: str | None = None,
        flower: Mapping[str, str] | None = None,
        front_doors: int = 1,
    ) -> None:
        self._state_dir = state_dir
        self._flower = flower
        self._embedded_redis = redis_url is None
        self._default_artifacts = state_dir.absolute() / "artifacts"
        self.settings: Settings = replace(
            settings,
            listen=with_port(settings.listen),
            http_listen=with_port(settings.http_listen),
            # Loopback is open to every user of the machine.
            redis_url=redis_url or f"redis://:{secrets.token_urlsafe(24)}@127.0.0.1:{free_port()}/0",
            artifacts=settings.artifacts or str(self._default_artifacts),
        )
        self._front_doors = FrontDoors(self.target, front_doors)
        self._workers: dict[str, str] = {}  # their deployments, by the names of the processes
        self._worker_ids: dict[str, str] = {}
        self._endpoints = 0  # that show metrics, beside the first front door's
        for name in deployments:
            self._name_worker(name)
        self.children: dict[str, Child] = {}
        self._lock: IO[str] | None = None
        self._redis = connect(self.settings.redis_url, REDIS_TIMEOUT_S)
        self._monitor = Monitor(self._redis, self._workers, self._worker_ids, flower)

    @property
    def target(self) -> str:
        """host:port to point a client at."""
        host, _, port = self.settings.listen.rpartition(":")
        return f"127.0.0.1:{port}" if host in ("0.0.0.0", "[::]") else self.settings.listen  # noqa: S104

    @property
    def url(self) -> str:
        """Where HTTP clients find it; empty when it does not listen for them."""
        host, _, port = self.settings.http_listen.rpartition(":")
        reached = "127.0.0.1" if host in ("0.0.0.0", "[::]") else host  # noqa: S104
        return f"http://{reached}:{port}" if port else ""

    @property
    def deployments(self) -> list[str]:
        """The deployments that have workers."""
        return list(dict.fromkeys(self._workers.values()))

    def start(self) -> None:
        """Starts Redis, then the rest. On a Redis that others may use, too, the front door is left to `wait_settled`:
        until our workers are known not to be refused, it would answer with the models of others.

        Raises:
            StackError: when another stack uses the state directory, or Redis does not start.
            RedisNotFoundError: when there is no redis-server.
        """
        self._lock = lock_state_folder(self._state_dir)
        private_folder(self._state_dir / "logs")
        try:
            addresses = {"--listen": self.settings.listen}
            if self.settings.http_listen:
                addresses["--http-listen"] = self.settings.http_listen
            if told := self._flower:
                addresses["--flower-listen"] = f"{told['FLOWER_ADDRESS'] or '127.0.0.1'}:{told['FLOWER_PORT']}"
                page = self.settings.flower_url or f"http://{addresses['--flower-listen']}"
                self.settings = replace(self.settings, flower_url=page)
            check_free(addresses)
            self._front_doors.reserve(self.settings)
            begin_own_file(self._state_dir, self.settings.deployments_file)
            if self.settings.artifacts == str(self._default_artifacts):
                private_folder(self._default_artifacts)
            self._share_memory()
            if self._embedded_redis:
                self._start_redis()
            elif why_not := problem(self._redis):
                log.warning("waiting for the Redis at %s: %s", shown(self.settings.redis_url), why_not)
            if self._embedded_redis or not self.deployments:
                self._start_front_doors()
            if self._flower is not None:
                self._start("flower", FLOWER_COMMAND, environment=self._flower, umask=PRIVATE_UMASK)
            for name in self._workers:
                self._start_worker(name, self.settings)
            Running(os.getpid(), self.target, self._told(self.settings), self._embedded_redis).write(self._state_dir)
        except BaseException:
            self.stop()
            raise

    def wait_ready(self, timeout_s: float) -> None:
        """Waits until the front door and every chosen deployment serve.

        Raises:
            StackError: when one does not: its process has failed, or the time is over.
        """
        failed = self.wait_settled(timeout_s)
        if failed:
            raise StackError("\n".join(failed.values()))

    def wait_settled(self, timeout_s: float, stopped: Callable[[], bool] = lambda: False) -> dict[str, str]:
        """Waits until all front doors serve, and each chosen deployment serves or has failed; or until `stopped` says
        that nobody cares any more.

        Returns:
            Why those deployments that do not serve do not, by name.

        Raises:
            StackError: when a front door does not serve, or Redis or Flower has ended; with the end of its log. Also
                when a worker is refused, because others serve another revision of its deployment.
        """
        deadline = time.monotonic() + timeout_s
        if "front-door" not in self.children:
            while not (stopped() or self._are_admitted() or time.monotonic() > deadline):
                self._check_services()
                time.sleep(READY_POLL_S)
            self._check_services()
            if stopped():
                return {}
            self._start_front_doors()
        failed = self.wait_for([*self._front_doors.addresses, *self._workers], deadline, stopped, self._check_services)
        for name in self._front_doors.addresses:
            if name in failed:
                raise StackError(failed[name])
        return {self._workers[name]: reason for name, reason in failed.items()}

    def wait_for(
        self,
        names: Sequence[str],
        deadline: float,
        stopped: Callable[[], bool],
        check: Callable[[], None] = lambda: None,
    ) -> dict[str, str]:
        """Waits until each of the processes serves or has failed, or until `stopped`.

        Args:
            deadline: of the monotonic clock.
            check: is called now and then; what it raises ends the wait.

        Returns:
            why those that do not serve do not, by name.
        """
        began, failed, waiting = time.monotonic(), dict[str, str](), list(names)
        with self._front_doors.health() as health:
            while waiting and not stopped():
                child = self.children[waiting[0]]
                if self._monitor.serves(child.name, health(child.name)):
                    waiting.pop(0)
                elif child.has_failed or time.monotonic() > deadline:
                    late = f"was not ready within {deadline - began:.0f} s"
                    reason = child.reason if child.has_failed else late
                    failed[waiting.pop(0)] = f"{child.name} {reason}; its log is {child.log_file}"
                else:
                    check()
                    time.sleep(READY_POLL_S)
        return failed

    @property
    def workers(self) -> dict[str, str]:
        """The deployments of the worker processes, by their names."""
        return dict(self._workers)

    def served(self) -> dict[str, ServedDeployment]:
        """What each worker process serves that does, by name; none while Redis is out of reach."""
        try:
            records = {record.worker.id: record for record in read_workers(self._redis)}
        except RedisError:
            return {}
        return {
            name: served
            for name, worker_id in self._worker_ids.items()
            if worker_id in records
            for served in records[worker_id].deployments
        }

    def add_worker(self, deployment: str, roll: bool) -> str:
        """Starts one more worker; returns its name.

        Args:
            roll: it may serve beside workers of another revision.
        """
        name = self._name_worker(deployment)
        self._start_worker(name, replace(self.settings, roll=self.settings.roll or roll))
        return name

    def retire(self, names: Sequence[str]) -> None:
        """Lets workers finish what they have; returns when they are gone."""
        for name in names:
            self.children[name].terminate()
        for name in names:
            self.children[name].join(self.settings.stop_s + STOP_MARGIN_S)
            self._forget(name)
            self._monitor.forget(name)
            del self.children[name], self._workers[name], self._worker_ids[name]

    @property
    def front_doors(self) -> list[str]:
        """The names of the front doors' processes."""
        return list(self._front_doors.addresses)

    def second_front_door(self) -> Child:
        """Starts another front door, to take the place of the one that runs, on the same addresses: that one has to let
        it in."""
        log_name = "front-door-2" if self.children["front-door"].log_file.stem == "front-door" else "front-door"
        child = self._child("front-door", FRONT_DOOR_COMMAND, log_name=log_name, at_first=[BESIDE])
        child.start()
        return child

    def change_front_door(self, new: Child) -> None:
        """Lets the front door that ran so far finish what it has; returns when it is gone."""
        old, self.children["front-door"] = self.children["front-door"], new
        self._monitor.forget("front-door")
        old.terminate()
        old.join(self.settings.stop_s + STOP_MARGIN_S)

    def read_again(self, name: str) -> None:
        """Has a front door, or a worker, read its deployments file again."""
        pid = self.children[name].pid
        if pid is not None:  # one that is started just now reads what there is
            os.kill(pid, signal.SIGHUP)

    def status(self) -> list[Status]:
        """The state of every process now.

        Raises:
            StackError: when a worker was refused: it could not come back, because others came with another revision.
        """
        self._check_workers()
        with self._front_doors.health() as health:
            found = [self._monitor.status_of(child, health(child.name)) for child in self.children.values()]
        return found if self._embedded_redis else [self._monitor.status_of_redis(None), *found]

    def stop(self) -> None:
        """Stops the front doors, then the workers, then Redis; returns when all are gone."""
        if self._lock is not None:
            forget_running(self._state_dir)
        workers = [child for name, child in self.children.items() if name.startswith("worker-")]
        doors = [self.children.get(name) for name in (*self._front_doors.addresses, "flower")]
        for group, timeout_s in (
            (doors, self.settings.stop_s + STOP_MARGIN_S),
            (workers, self.settings.stop_s + STOP_MARGIN_S),
            ([self.children.get("redis")], REDIS_STOP_S),
        ):
            running = [child for child in group if child is not None]
            for child in running:
                child.terminate()
            for child in running:
                child.join(timeout_s)
        if self.settings.shared_dir:
            shutil.rmtree(self.settings.shared_dir, ignore_errors=True)
        self._front_doors.close()
        self._redis.close()
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _share_memory(self) -> None:
        """Gives the processes a folder in memory; one that a killed stack left is emptied."""
        digest = hashlib.sha256(str(self._state_dir.resolve()).encode()).hexdigest()
        shared = SharedFolder.create(f"kernelport-{os.getuid()}-{digest[:16]}")
        self.settings = replace(self.settings, shared_dir=str(shared or ""))

    def _name_worker(self, deployment: str) -> str:
        """A name for one more worker process: `worker-NAME`, `worker-NAME-2` and so on."""
        numbers = (f"worker-{deployment}{f'-{number}' if number > 1 else ''}" for number in itertools.count(1))
        name = next(name for name in numbers if name not in self._workers)
        self._workers[name] = deployment
        self._worker_ids[name] = f"{name.removeprefix('worker-')}-{os.getpid()}-{secrets.token_hex(3)}"
        return name

    def _next_endpoint(self) -> str:
        """Where one more process shows its metrics; empty for nowhere."""
        self._endpoints += 1
        return port_after(self.settings.metrics_listen, self._endpoints)

    def _start_worker(self, name: str, settings: Settings) -> None:
        self._start(
            name,
            worker_command([self._workers[name]]),
            replace(settings, worker_id=self._worker_ids[name], metrics_listen=self._next_endpoint()),
            # Front doors learn of a death at once, rather than when the heartbeat is overdue. A worker that was in the
            # registry had loaded its model.
            on_exit=lambda: self._forget(name),
        )

    def _start_front_doors(self) -> None:
        first, *others = self._front_doors.addresses
        self._start(first, FRONT_DOOR_COMMAND, self._front_doors.told(first, self.settings))
        for name in others:
            settings = replace(self.settings, metrics_listen=self._next_endpoint())
            self._start(name, FRONT_DOOR_COMMAND, self._front_doors.told(name, settings))

    def _start_redis(self) -> None:
        data, config = private_folder(self._state_dir / "redis"), self._state_dir / "redis.conf"
        found = parameters(self.settings.redis_url)
        write_private(config, f"requirepass {found['password']}\n")
        command = redis_command(find_redis_server(), found["port"], data, config)
        child = self._start("redis", command, umask=PRIVATE_UMASK)
        deadline = time.monotonic() + REDIS_START_S
        while not self._redis_answers():
            if child.restarts or time.monotonic() > deadline:
                raise StackError(f"Redis did not start; its log {child.log_file} ends:\n{child.log_tail()}")
            time.sleep(READY_POLL_S)

    def _redis_answers(self) -> bool:
        try:
            return bool(self._redis.ping())
        except RedisError:  # refused, or still loading its data
            return False

    def _start(
        self,
        name: str,
        command: Sequence[str],
        settings: Settings | None = None,
        on_exit: Callable[[], bool] = lambda: True,
        environment: Mapping[str, str] | None = None,
        umask: int = -1,
    ) -> Child:
        child = self._child(name, command, settings, on_exit, environment, umask)
        self.children[name] = child
        child.start()
        return child

    def _child(
        self,
        name: str,
        command: Sequence[str],
        settings: Settings | None = None,
        on_exit: Callable[[], bool] = lambda: True,
        environment: Mapping[str, str] | None = None,
        umask: int = -1,
        log_name: str = "",
        at_first: Sequence[str] = (),
    ) -> Child:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(OTHERS_VARIABLES)}
        log_file = (self._state_dir / "logs" / f"{log_name or name}.log").absolute()
        put_aside_if_full(log_file, self.settings.log_bytes)
        told = self._told(replace(settings or self.settings, log_file=str(log_file)))
        return Child(
            name,
            command,
            {**inherited, **told, **(environment or {}), "PYTHONUNBUFFERED": "1"},
            log_file,
            on_exit,
            umask,
            self._workers.get(name, ""),
            at_first,
        )

    def _told(self, settings: Settings) -> dict[str, str]:
        """The variables of a process. All read the deployments file of the state folder, which can be added to."""
        return replace(settings, deployments_file=own_file(self._state_dir)).to_environment()

    def _are_admitted(self) -> bool:
        """Whether no worker of another revision comes in the way of ours any more, nor ours in theirs."""
        try:
            return all(
                holds_revision(self._redis, deployment, self._worker_ids[name]) or self.children[name].has_failed
                for name, deployment in self._workers.items()
            )
        except RedisError:
            return True  # as the front door is to say

    def _check_workers(self) -> None:
        for child in self.children.values():
            if child.was_refused:
                raise StackError(f"{child.name} {child.reason}; its log is {child.log_file}")

    def _check_services(self) -> None:
        self._check_workers()
        for child in self.children.values():
            if child.restarts and not child.name.startswith("worker-"):
                raise StackError(
                    f"{child.name} ended while starting; its log {child.log_file} ends:\n{child.log_tail()}"
                )

    def _forget(self, name: str) -> bool:
        try:
            worker_id = self._worker_ids[name]
            was_in = forget(self._redis, worker_id, [self._workers[name]])
            if was_in:
                tallies.count(self._redis, keys.WORKER_DEATHS, [self._workers[name]])
            end_leases(self._redis, worker_id.__eq__)
            self._redis.delete(keys.drain(worker_id))  # it was for the process that has ended
            return was_in
        except RedisError:
            return True  # nobody knows whether it had begun to serve; the record expires by itself
