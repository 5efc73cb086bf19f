"""Each process by itself: by its command, its help, and its unit file for systemd."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from kernelport import Client
from kernelport.cli import cli
from kernelport.config import described
from kernelport.config.settings import PREFIX, Settings, bundled_deployments
from kernelport.errors import REFUSED, KernelPortError
from kernelport.supervisor.ports import free_port
from kernelport.supervisor.processes import Child, dying_with_parent
from kernelport.supervisor.redis_server import find_redis_server, redis_command
from kernelport.supervisor.stack import Stack
from tests.cli.tree import below
from tests.operations import units
from tests.waiting import wait_for

MODEL = "identity-onnx"
X = np.ones((1, 1, 2, 2), np.float32)
STOP_S = 60.0
each_unit = pytest.mark.parametrize("unit", units.UNITS, ids=lambda unit: str(unit.name))
HELP = {
    "front door": ["-m", "kernelport.cli", "front-door"],
    "worker": ["-m", "kernelport.cli", "worker"],
    "Flower": ["-m", "kernelport.cli", "flower"],
    "autoscaler": ["-m", "kernelport.cli", "autoscale"],
}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    here = Path(sys.executable).parent / "kernelport"
    for unit in units.UNITS:
        (tmp_path / unit.name).write_text(unit.read_text().replace(units.COMMAND, str(here)))
    files = [f"./{unit.name}" for unit in units.UNITS]
    found = subprocess.run(
        ["systemd-analyze", "verify", *files], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    said = [line for line in (found.stdout + found.stderr).splitlines() if "kernelport" in line]
    assert (found.returncode, said) == (0, [])


@each_unit
def test_a_unit_runs_a_command_that_exists_with_time_to_stop(unit: Path) -> None:
    options = units.options(unit)
    (line,) = options["ExecStart"]
    program, name, *words = shlex.split(line.replace("%i", MODEL))
    assert program == units.COMMAND
    if name != "autoscale":  # which hands its arguments on
        below(cli)[name].make_context(name, words)
    (stop_s,) = options["TimeoutStopSec"]
    assert name == "flower" or float(stop_s) > Settings().stop_s + 5
    if name == "worker":
        assert options["RestartPreventExitStatus"] == [str(REFUSED)]
    known = {described.variable(name) for name in described.defaults()} | {f"{PREFIX}STATE_DIR", "XDG_CACHE_HOME"}
    assert units.environment(unit, Path(), Path()).keys() <= known


@pytest.mark.parametrize("process", HELP)
def test_help_names_every_setting_that_the_process_reads(process: str) -> None:
    told = subprocess.run(
        [sys.executable, *HELP[process], "--help"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    missing = [name for name in described.PROCESSES[process] if described.variable(name) not in told]
    assert missing == []


def test_the_module_has_the_same_help() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "kernelport_api", "--help"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert "takes calls" in told
    for name in described.FRONT_DOOR:
        assert described.variable(name) in told
    refused = subprocess.run(
        [sys.executable, "-m", "kernelport_api", "--listen"], capture_output=True, text=True, check=False, timeout=60
    )
    assert refused.returncode == 2


def test_every_setting_belongs_to_a_process_and_is_explained() -> None:
    names = set(described.defaults())
    assert {name for each in described.PROCESSES.values() for name in each} == names
    assert described.meanings().keys() == names


@contextmanager
def running(command: list[str], environment: dict[str, str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process of an operator's; in the end it is told to stop, and has to do so well."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*dying_with_parent(), *command],
            env={**inherited, **environment},
            cwd=log.parent,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_S)


def from_unit(name: str, instance: str = "") -> list[str]:
    """The command of a unit, as it is here."""
    (line,) = units.options(units.FOLDER / name)["ExecStart"]
    program, *words = shlex.split(line.replace("%i", instance))
    assert program == units.COMMAND
    return [sys.executable, "-m", "kernelport.cli", *words]


def test_processes_of_units_serve_reload_and_stop_well(tmp_path: Path) -> None:
    redis_port, port = free_port(), free_port()
    table = tmp_path / "deployments.yaml"
    table.write_text(yaml.safe_dump({"include": str(bundled_deployments()), "deployments": {}}))
    door, worker = (units.FOLDER / name for name in ("kernelport-front-door.service", "kernelport-worker@.service"))
    told = {
        "KERNELPORT_REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
        "KERNELPORT_DEPLOYMENTS_FILE": str(table),
        "KERNELPORT_LISTEN": f"127.0.0.1:{port}",
        "PYTHONUNBUFFERED": "1",
    }
    own = units.environment(door, tmp_path, tmp_path) | told
    data = tmp_path / "redis"
    data.mkdir()
    with (
        running(redis_command(find_redis_server(), redis_port, data), {}, tmp_path / "redis.log") as redis,
        running(from_unit(door.name), own, tmp_path / "door.log") as front_door,
        running(from_unit(worker.name, MODEL), own, tmp_path / "worker.log") as serving,
        Client(f"127.0.0.1:{port}", timeout_s=60) as client,
    ):
        wait_for(lambda: is_served(client), STOP_S)
        assert np.array_equal(client.infer(MODEL, {"x": X})["y"], X)
        table.write_text(yaml.safe_dump({"include": str(bundled_deployments()), "deployments": {}, "nonsense": 1}))
        (reload,) = units.options(door)["ExecReload"]
        subprocess.run(shlex.split(reload.replace("$MAINPID", str(front_door.pid))), check=True)
        wait_for(lambda: "the deployments stay as they were" in (tmp_path / "door.log").read_text())
        assert np.array_equal(client.infer(MODEL, {"x": X})["y"], X)
        for process in (serving, front_door):
            process.send_signal(signal.SIGTERM)
            assert process.wait(STOP_S) == 0
    assert redis.returncode == 0


def is_served(client: Client) -> bool:
    """Whether a front door answers, and a worker serves the model."""
    try:
        return client.deployment(MODEL).live_workers == 1
    except KernelPortError:
        return False


def test_up_waits_for_what_its_processes_have_begun_for_as_long_as_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: dict[str, float] = {}
    monkeypatch.setattr(Child, "join", lambda child, timeout_s: waited.update({child.name: timeout_s}))
    stack = Stack(replace(Settings(), stop_s=600.0), [MODEL], tmp_path)
    for name in ("front-door", f"worker-{MODEL}", f"worker-{MODEL}-2"):
        stack.children[name] = Child(name, ["true"], {}, tmp_path / name)
    stack.retire([f"worker-{MODEL}"])
    stack.stop()
    assert waited.keys() == {"front-door", f"worker-{MODEL}", f"worker-{MODEL}-2"}
    assert all(600 < timeout_s < 615 for timeout_s in waited.values()), "less than containers have"
