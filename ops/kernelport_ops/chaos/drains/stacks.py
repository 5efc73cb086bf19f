"""Two stacks of `kernelport up` on one Redis, with one storage: a caller who knows both addresses sees one service."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from redis.exceptions import RedisError

from kernelport.broker.connections import connect
from kernelport.broker.registry import read_front_doors, read_workers
from kernelport.config.settings import Settings
from kernelport.supervisor.ports import free_port
from kernelport.supervisor.processes import Child, module_command
from kernelport.supervisor.redis_server import find_redis_server, redis_command
from kernelport_ops.chaos.system import (
    CLAIM_BYTES,
    DEPLOYMENT,
    MODEL_FOLDER,
    POLL_S,
    RECITING,
    ChaosError,
    is_serving,
    wait_until,
    write_deployments,
)

FRONT_DOORS = 2
START_S, CALLERS_STOP_S, REDIS_TIMEOUT_S = 120.0, 120.0, 1.0
# What the log of `kernelport up` says of a process that did not end as it was told to.
_BADLY_ENDED = re.compile(r".*(?:ended with code [1-9]|was ended by signal|did not stop within).*")


class Up:
    """A `kernelport up`.

    Args:
        folder: for its state and its log.
        environment: of its processes.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.target = f"127.0.0.1:{free_port()}"
        self._state = folder / "state"
        self._environment = environment
        self._log_file = folder / "up.log"
        self._child = self._new_child()
        self._starts = 0

    def start(self) -> None:
        """Starts it, or starts it again."""
        self._starts += 1
        self._child = self._new_child()
        self._child.start()

    @property
    def is_up(self) -> bool:
        """Whether it serves, and says so: one that is still starting takes the end of a process for a failure."""
        return self._log().count(f"listens on {self.target}") == self._starts

    def stop(self, timeout_s: float) -> None:
        """Has it stop; kills it when it does not within that time."""
        self._child.terminate()
        self._child.join(timeout_s)

    def replace_front_doors(self) -> str:
        """`kernelport restart`; what is wrong, if anything."""
        command = module_command("kernelport.cli", "restart", "--state-dir", str(self._state))
        ended = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        return ended.stderr if ended.returncode else ""

    def badly_ended(self) -> list[str]:
        """What its log says of processes that did not end as they were told to."""
        return [line for line in self._log().splitlines() if _BADLY_ENDED.match(line)]

    def log_tail(self) -> str:
        """The end of its log."""
        return self._child.log_tail()

    def _log(self) -> str:
        return self._log_file.read_text() if self._log_file.exists() else ""

    def _new_child(self) -> Child:
        options = ["--listen", self.target, "--http-listen", "", "--state-dir", str(self._state)]
        command = module_command("kernelport.cli", "up", *options, "--front-doors", str(FRONT_DOORS))
        return Child("up", command, self._environment, self._log_file)


class Stacks:
    """Redis, two stacks, and processes full of callers. A context manager: on exit every process is gone.

    Args:
        folder: for state, logs and the callers' records; made if need be.
        stop_s: what front doors and workers have to stop.
    """

    def __init__(self, folder: Path, stop_s: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        port = free_port()
        self._redis_url = f"redis://127.0.0.1:{port}/0"
        self._redis = connect(self._redis_url, REDIS_TIMEOUT_S)
        (folder / "redis").mkdir()
        command = redis_command(find_redis_server(), port, folder / "redis")
        self._redis_server = Child("redis", command, os.environ, folder / "redis.log")
        settings = replace(
            Settings(),
            redis_url=self._redis_url,
            deployments_file=write_deployments(folder),
            artifacts=str(folder / "artifacts"),
            claim_bytes=CLAIM_BYTES,
            stop_s=stop_s,
        )
        environment = {
            **os.environ,
            **settings.to_environment(),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(MODEL_FOLDER), os.environ.get("PYTHONPATH", "")))),
            "KERNELPORT_CHAOS_JOURNAL": str(folder / "journal"),
            "KERNELPORT_DEPLOYMENTS": f"{DEPLOYMENT},{RECITING}",
        }
        (folder / "artifacts").mkdir()
        self.ups: dict[str, Up] = {}
        for name in ("left", "right"):
            (folder / name).mkdir()
            self.ups[name] = Up(folder / name, environment)
        self._callers: list[Child] = []
        self.records: list[Path] = []

    def start(self) -> None:
        """Starts everything but callers; returns when it serves.

        Raises:
            ChaosError: when it does not in time.
        """
        self._redis_server.start()
        if not wait_until(self._redis_answers, START_S):
            raise ChaosError(f"Redis does not answer; its log ends:\n{self._redis_server.log_tail()}")
        for up in self.ups.values():
            up.start()
        self.wait_until_served()

    def wait_until_served(self) -> None:
        """Returns when every process is there and serves.

        Raises:
            ChaosError: when one is not in time.
        """
        if not wait_until(self._is_complete, START_S):
            tails = "\n".join(f"{name}:\n{up.log_tail()}" for name, up in self.ups.items())
            raise ChaosError(f"not all processes serve after {START_S:g} s; the logs end:\n{tails}")

    def front_doors(self) -> list[int]:
        """The ids of the processes that take calls."""
        return sorted(record.pid for record in read_front_doors(self._redis))

    def workers(self) -> list[int]:
        """The ids of the workers' processes."""
        return sorted(record.worker.pid for record in read_workers(self._redis))

    def start_callers(self, index: int, **options: int) -> None:
        """Starts a process of callers, half of which meet the left stack first and half the right one; `options` are
        those of its command."""
        ports = [up.target for up in self.ups.values()]
        target = "ipv4:" + ",".join(reversed(ports) if index % 2 else ports)
        records = self._folder / f"callers-{index}.jsonl"
        self.records.append(records)
        command = [sys.executable, "-m", "kernelport_ops.chaos.drains.callers", "--target", target]
        command += ["--out", str(records), "--index", str(index), "--large", str(CLAIM_BYTES + 1000)]
        for option, value in options.items():
            command += [f"--{option}", str(value)]
        child = Child(f"callers-{index}", command, os.environ, self._folder / f"callers-{index}.log")
        child.start()
        self._callers.append(child)

    def stop_callers(self) -> None:
        """Lets callers end their calls; each process has a bound on its time, and is killed past it."""
        for child in self._callers:
            child.terminate()
        ends_at = time.monotonic() + CALLERS_STOP_S
        for child in self._callers:
            child.join(max(0.0, ends_at - time.monotonic()))

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        self.stop_callers()
        for up in self.ups.values():
            up.stop(START_S)
        self._redis_server.terminate()
        self._redis_server.join(START_S)
        self._redis.close()

    def _redis_answers(self) -> bool:
        try:
            return bool(self._redis.ping())
        except RedisError:
            return False

    def _is_complete(self) -> bool:
        doors, workers = self.front_doors(), self.workers()
        return (
            len(doors) == FRONT_DOORS * len(self.ups)
            and len(workers) == 2 * len(self.ups)
            and all(map(is_running, (*doors, *workers)))
            and all(up.is_up and is_serving(up.target) for up in self.ups.values())
        )


def end(pid: int, timeout_s: float) -> bool:
    """Has a process stop; False when it is not gone within the time."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    ends_at = time.monotonic() + timeout_s
    while is_running(pid):
        if time.monotonic() > ends_at:
            return False
        time.sleep(POLL_S)
    return True


def is_running(pid: int) -> bool:
    """Whether a process exists and has not ended."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
