"""Instances that are real: what their user data says is run as processes of this machine."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from kernelport_ops.autoscale.providers.lambda_cloud.cloud_init import FOLDER
from tests.ops.fake_lambda.cloud import FakeInstance


def files_of(user_data: str) -> dict[str, str]:
    """The files that cloud-init would write, by name."""
    assert user_data.startswith("#cloud-config\n")
    document = yaml.safe_load(user_data)
    return {Path(entry["path"]).name: entry["content"] for entry in document["write_files"]}


def environment_of(service: dict[str, Any], files: dict[str, str]) -> dict[str, str]:
    """The variables that a container of a service would see."""
    values: dict[str, str] = {}
    for path in service.get("env_file", []):
        assert path.startswith(FOLDER)
        for line in files[Path(path).name].splitlines():
            name, _, value = line.partition("=")
            values[name] = shlex.split(value)[0] if value else ""
    return {**values, **service.get("environment", {})}


class Processes:
    """Runs the workers of instances.

    Args:
        variables: further ones for every process.
    """

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self._folder = folder
        self._variables = variables
        self.running: dict[str, list[subprocess.Popen[bytes]]] = {}

    def start(self, instance: FakeInstance) -> None:
        files = files_of(instance.request["user_data"])
        services = yaml.safe_load(files["compose.yaml"])["services"]
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / f"{instance.name}.log").open("ab") as log:
            self.running[instance.id] = [
                subprocess.Popen(
                    [sys.executable, "-m", "kernelport.cli", *service["command"][1:]],
                    env={**os.environ, **self._variables, **environment_of(service, files)},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                for name, service in services.items()
                if name.startswith("worker-")
            ]

    def stop(self, instance: FakeInstance) -> None:
        for process in self.running.pop(instance.id, []):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
