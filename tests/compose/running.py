"""Runs the services of a compose model as processes on loopback: their own commands, their own environment."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernelport.supervisor.ports import free_port
from kernelport.supervisor.redis_server import find_redis_server
from tests.compose.dockerfile import environment, target_of
from tests.compose.resolve import REPOSITORY
from tests.waiting import wait_for

HERE = Path(sys.executable).parent
# One process of many that share a machine, and its model, may take their time.
PATIENCE_S = 200.0
CHECK_INTERVAL_S = 1.0


@dataclass
class Host:
    """Stands for the machine that runs the containers: where their addresses and folders are here.

    Args:
        scratch: for what containers keep in volumes.
        binaries: the folder with the commands of an image.
    """

    scratch: Path
    binaries: Callable[[str], Path] = lambda image: HERE

    def __post_init__(self) -> None:
        self.redis_port, self.front_door_port, self.http_port, self.flower_port = (free_port() for _ in range(4))
        self.own_port = free_port()

    @contextlib.contextmanager
    def running(self, services: Mapping[str, Any]) -> Iterator[dict[str, "subprocess.Popen[bytes]"]]:
        """Starts the services and waits until each is healthy by its own check; then stops all, the last one first."""
        processes: dict[str, subprocess.Popen[bytes]] = {}
        try:
            for name, service in services.items():
                processes[name] = self._start(name, service)
                if name == "redis":
                    wait_for(lambda: self.is_healthy("redis", services["redis"]), PATIENCE_S, "redis is healthy")
            for name, service in services.items():
                wait_for(lambda n=name, s=service: self.is_healthy(n, s), PATIENCE_S, f"{name} is healthy")  # type: ignore[misc]
            assert all(process.poll() is None for process in processes.values())
            yield processes
        finally:
            for process in reversed(processes.values()):
                process.send_signal(signal.SIGTERM)
                process.wait(60)

    def is_healthy(self, name: str, service: Mapping[str, Any]) -> bool:
        """What the health check of the service, or of its image, says."""
        if name == "redis":
            check = [sys.executable, "-c", f"import redis; redis.Redis(port={self.redis_port}).ping()"]
        elif "healthcheck" in service:
            check = [self._here(word) for word in service["healthcheck"]["test"][1:]]
        else:
            check = ["kernelport", "health"]
            _, is_worker, deployment = service["command"].partition("kernelport worker ")
            if is_worker:  # in a container it is the only one
                check += ["--worker", "--deployment", deployment.removesuffix(" --roll")]
        finished = subprocess.run(check, env=self._environment(service), capture_output=True, timeout=60, check=False)
        if finished.returncode != 0:
            time.sleep(CHECK_INTERVAL_S)  # a check is a process of its own, and takes time from those that start
        return finished.returncode == 0

    def log(self, name: str) -> str:
        """What the service has written."""
        return (self.scratch / f"{name}.log").read_text()

    def _start(self, name: str, service: Mapping[str, Any]) -> "subprocess.Popen[bytes]":
        command = [self._here(word) for word in shlex.split(service["command"])]
        if name == "redis":
            data = self.scratch / "redis-data"
            data.mkdir()
            where = ["--port", str(self.redis_port), "--bind", "127.0.0.1", "--dir", str(data)]
            command = [str(find_redis_server()), *command[1:], *where]
        with (self.scratch / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                command, env=self._environment(service), cwd=self.scratch, stdout=log, stderr=subprocess.STDOUT
            )

    def _environment(self, service: Mapping[str, Any]) -> dict[str, str]:
        """What a container of the service sees, and what the image sets; nothing of this process's own variables."""
        path = f"{self.binaries(service['image'])}:{os.environ['PATH']}"
        image = environment(target_of(service["image"])) if service["image"].startswith("kernelport-") else {}
        image |= {"PATH": path, "HOME": str(self.scratch)}
        # No GPU here: kernels are interpreted.
        image["HELION_INTERPRET"] = "1"
        told = {**image, **service["environment"]}
        return {name: self._here(value, name) for name, value in told.items()}

    def _here(self, text: str, name: str = "") -> str:
        """An address or a path in a container, as it is on this machine."""
        if name == "KERNELPORT_METRICS_LISTEN":
            return f"127.0.0.1:{free_port()}"
        for there, here in (
            ("redis:6379", f"127.0.0.1:{self.redis_port}"),
            ("0.0.0.0:50051", f"127.0.0.1:{self.front_door_port}"),
            ("0.0.0.0:8000", f"127.0.0.1:{self.http_port}"),
            ("127.0.0.1:50061", f"127.0.0.1:{self.own_port}"),
            ("0.0.0.0:5555", f"127.0.0.1:{self.flower_port}"),
            ("127.0.0.1:5555", f"127.0.0.1:{self.flower_port}"),
            ("/var/lib/kernelport", str(self.scratch / "state")),
        ):
            text = text.replace(there, here)
        return text.replace("/deployments/", f"{REPOSITORY / 'deployments'}/", 1) if text.startswith("/dep") else text
