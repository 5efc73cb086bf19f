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
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from redis.exceptions import RedisError

from kernelport.broker.connections import connect, problem, shown
from kernelport.broker.shared_folder import SharedFolder
from kernelport.config.settings import BESIDE, Settings
from kernelport.errors import StackError
from kernelport.supervisor.flower import FLOWER_COMMAND
from kernelport.supervisor.front_doors import FrontDoors
from kernelport.supervisor.launcher import Launcher
from kernelport.supervisor.monitor import READY_POLL_S, Monitor, Status
from kernelport.supervisor.own_file import begin_own_file
from kernelport.supervisor.ports import check_free, free_port, port_after, with_port
from kernelport.supervisor.processes import Child, module_command
from kernelport.supervisor.redis_server import embedded_redis_command
from kernelport.supervisor.running_file import Running, forget_running, take_state_folder
from kernelport.supervisor.state_folder import private_folder
from kernelport.supervisor.worker_command import worker_command
from kernelport.supervisor.workers import Workers

log: logging.Logger = logging.getLogger(__name__)

# Beyond `stop_s`, which front doors and workers have for what they have begun.
STOP_MARGIN_S = 5.0
FRONT_DOOR_COMMAND = module_command("kernelport_api")
REDIS_START_S = 60.0
REDIS_STOP_S = 10.0
# A status line waits no longer for Redis.
REDIS_TIMEOUT_S = 1.0
# Files that only this user can read.
PRIVATE_UMASK = 0o077
# Two processes cannot share a log file: that of a front door which takes another one's place is called so, and the next
# one's is not.
REPLACEMENT = "-b"


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

    Attributes:
        settings: what was given, filled in.
        children: the processes, by their names.
        workers: which of them are workers, and what Redis knows of those.
        monitor: what can be seen of them.
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
            audit_file=settings.audit_file or str(state_dir.absolute() / "logs" / "audit.log"),
        )
        self._front_doors = FrontDoors(self.target, front_doors, bool(settings.tls_cert))
        self._endpoints: dict[str, int] = {}  # of workers, how many ports behind `metrics_listen` theirs is
        self.children: dict[str, Child] = {}
        self._lock: IO[str] | None = None
        self._redis = connect(self.settings.redis_url, REDIS_TIMEOUT_S)
        self._launcher = Launcher(state_dir)
        self.workers: Workers = Workers(self._redis, deployments)
        self.monitor: Monitor = Monitor(self._redis, self.children, self._front_doors, self.workers, flower)

    @property
    def log_file(self) -> Path:
        """Where this process keeps what it logs, beside the logs of the others."""
        return self._state_dir.absolute() / "logs" / "up.log"

    @property
    def target(self) -> str:
        """host:port to point a client at; it speaks TLS there where it has a certificate."""
        host, _, port = self.settings.listen.rpartition(":")
        return f"127.0.0.1:{port}" if host in ("0.0.0.0", "[::]") else self.settings.listen  # noqa: S104

    @property
    def url(self) -> str:
        """Where HTTP clients find it; empty when it does not listen for them."""
        host, _, port = self.settings.http_listen.rpartition(":")
        reached = "127.0.0.1" if host in ("0.0.0.0", "[::]") else host  # noqa: S104
        scheme = "https" if self.settings.tls_cert else "http"
        return f"{scheme}://{reached}:{port}" if port else ""

    @property
    def own_target(self) -> str:
        """host:port where what runs on this machine finds a front door, without TLS."""
        return self._front_doors.own_target

    @property
    def door_addresses(self) -> list[str]:
        """Where each front door answers alone."""
        return list(self._front_doors.addresses.values())

    @property
    def deployments(self) -> list[str]:
        """The deployments that have workers."""
        return list(dict.fromkeys(self.workers.deployments.values()))

    def start(self) -> None:
        """Starts Redis, then the rest. On a Redis that others may use, too, the front door is left to `wait_started`:
        until our workers are known not to be refused, it would answer with the models of others.

        Raises:
            StackError: when another stack uses the state directory, or Redis does not start.
            RedisNotFoundError: when there is no redis-server.
        """
        self._lock = take_state_folder(self._state_dir)
        private_folder(self._state_dir / "logs")
        try:
            addresses = {"--listen": self.settings.listen}
            if self.settings.http_listen:
                addresses["--http-listen"] = self.settings.http_listen
            if flower := self._flower:
                addresses["--flower-listen"] = f"{flower['FLOWER_ADDRESS'] or '127.0.0.1'}:{flower['FLOWER_PORT']}"
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
                self._start_flower(self._flower)
            for name in self.workers.deployments:
                self._start_worker(name, self.settings)
            told = self._launcher.told(self.settings)
            Running(os.getpid(), self.own_target, told, self._embedded_redis).write(self._state_dir)
        except BaseException:
            self.stop()
            raise

    def wait_ready(self, timeout_s: float) -> None:
        """Waits until the front door and every chosen deployment serve.

        Raises:
            StackError: when one does not: its process has failed, or the time is over.
        """
        failed = self.wait_started(timeout_s)
        if failed:
            raise StackError("\n".join(failed.values()))

    def wait_started(self, timeout_s: float, stopped: Callable[[], bool] = lambda: False) -> dict[str, str]:
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
                self.monitor.check_services()
                time.sleep(READY_POLL_S)
            self.monitor.check_services()
            if stopped():
                return {}
            self._start_front_doors()
        names = [*self._front_doors.addresses, *self.workers.deployments]
        failed = self.monitor.wait_for(names, deadline, stopped, self.monitor.check_services)
        for name in self._front_doors.addresses:
            if name in failed:
                raise StackError(failed[name])
        return {self.workers.deployments[name]: reason for name, reason in failed.items()}

    def add_worker(self, deployment: str, roll: bool, successor_of: str | None = None) -> str:
        """Starts one more worker; returns its name.

        Args:
            roll: it may serve beside workers of another revision.
            successor_of: the worker that goes once this one serves: it shows metrics at the same address.
        """
        name = self.workers.add(deployment)
        if successor_of is not None:
            self._endpoints[name] = self._endpoints[successor_of]
        self._start_worker(name, replace(self.settings, roll=self.settings.roll or roll))
        return name

    def retire(self, names: Sequence[str]) -> None:
        """Lets workers finish what they have; returns when they are gone."""
        for name in names:
            self.children[name].terminate()
        for name in names:
            self.children[name].join(self.settings.stop_s + STOP_MARGIN_S)
            self.workers.end(name)
            self.monitor.forget(name)
            self.workers.remove(name)
            del self.children[name]
            self._endpoints.pop(name, None)

    @property
    def front_doors(self) -> list[str]:
        """The names of the front doors' processes."""
        return list(self._front_doors.addresses)

    def addresses_of(self, front_door: str) -> list[str]:
        """Where a front door listens."""
        told = self._front_doors.told(front_door, self.settings)
        return [each for each in (told.listen, told.http_listen, told.own_listen, told.metrics_listen) if each]

    def replace_front_door(self, name: str, comes_up: Callable[[Child], bool]) -> None:
        """Has another one take the place of a front door, which has to let it in, and finishes what it has; returns
        when that is gone.

        Args:
            comes_up: waits until the new one takes calls; says whether it does.

        Raises:
            StackError: when it does not; the old one goes on.
        """
        old, told = self.children[name], self._front_doors.told(name, self.settings)
        log_name = f"{name}{REPLACEMENT}" if old.log_file.stem == name else name
        at_first = [BESIDE, str(len(self.front_doors))]
        new = self._launcher.child(name, FRONT_DOOR_COMMAND, told, log_name=log_name, at_first=at_first)
        new.start()
        if not comes_up(new):
            new.terminate()
            new.join(self.settings.stop_s)
            raise StackError(f"a new one did not come up; its log {new.log_file} ends:\n{new.log_tail()}")
        self.children[name] = new
        self.monitor.forget(name)
        old.terminate()
        old.join(self.settings.stop_s + STOP_MARGIN_S)

    def read_again(self, name: str) -> None:
        """Has a front door, or a worker, read its deployments file again."""
        pid = self.children[name].pid
        if pid is not None:  # one that is started just now reads what there is
            os.kill(pid, signal.SIGHUP)

    def status(self) -> list[Status]:
        """The state of every process now, and of a Redis that is not ours.

        Raises:
            StackError: when a worker was refused: it could not come back, because others came with another revision.
        """
        found = self.monitor.statuses()
        return found if self._embedded_redis else [self.monitor.status_of_redis(None), *found]

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

    def _endpoint(self, name: str) -> str:
        """Where a worker shows its metrics: at its own port or else the first that no other has; empty for nowhere."""
        taken = set(self._endpoints.values())
        first_free = next(each for each in itertools.count(1) if each not in taken)
        return port_after(self.settings.metrics_listen, self._endpoints.setdefault(name, first_free))

    def _start_worker(self, name: str, settings: Settings) -> None:
        deployment = self.workers.deployments[name]
        told = replace(settings, worker_id=self.workers.ids[name], metrics_listen=self._endpoint(name))
        command, ended = worker_command([deployment]), partial(self.workers.end, name)
        self._start(self._launcher.child(name, command, told, on_exit=ended, deployment=deployment))

    def _start_front_doors(self) -> None:
        for name in self.front_doors:
            self._start(self._launcher.child(name, FRONT_DOOR_COMMAND, self._front_doors.told(name, self.settings)))

    def _start_flower(self, environment: Mapping[str, str]) -> None:
        command, settings = FLOWER_COMMAND, self.settings
        self._start(self._launcher.child("flower", command, settings, environment=environment, umask=PRIVATE_UMASK))

    def _start_redis(self) -> None:
        command = embedded_redis_command(self._state_dir, self.settings.redis_url)
        child = self._launcher.child("redis", command, self.settings, umask=PRIVATE_UMASK)
        self._start(child)
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

    def _start(self, child: Child) -> None:
        self.children[child.name] = child
        child.start()

    def _are_admitted(self) -> bool:
        return self.workers.are_admitted({name for name, child in self.children.items() if child.has_failed})
