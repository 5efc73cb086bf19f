"""`kernelport autoscale` where it cannot do what it is for: what it says, and what it does not do instead."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from kernelport.config.scaling import Autoscale
from kernelport.supervisor.ports import free_port
from kernelport_ops.autoscale import __main__ as autoscaler
from tests.stack.models import pipeline


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A deployments file with a model that is scaled."""
    path = tmp_path / "deployments.yaml"
    path.write_text(yaml.safe_dump({"deployments": {"scaled": pipeline("Sleeper", scaling={"min": 1})}}))
    return path


def dry_run(file: Path, tmp_path: Path, variables: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "kernelport.cli", "autoscale", "--dry-run"]
    command += ["--deployments-file", str(file), "--state-dir", str(tmp_path / "state")]
    environment = {**os.environ, **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_provider_that_nothing_makes_is_not_taken_for_the_local_one(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unmade = Autoscale.model_construct(provider="unmade")  # type: ignore[arg-type]
    monkeypatch.setattr(autoscaler, "load_autoscale", lambda path: unmade)
    told = CliRunner().invoke(
        autoscaler.command, ["--dry-run", "--deployments-file", str(file), "--state-dir", str(tmp_path / "state")]
    )
    assert told.exit_code == 1
    assert "autoscale.provider: unmade has no case in `_provider`" in told.output


@pytest.mark.parametrize("unset", ["KERNELPORT_WORKER_REDIS_URL", "LAMBDA_CLOUD_API_KEY"])
def test_a_provider_says_which_variable_it_cannot_do_without(unset: str, file: Path, tmp_path: Path) -> None:
    cloud = {"provider": "lambda", "budget": {"per_hour": 4.0, "per_day": 40.0}}
    cloud["lambda_cloud"] = {"ssh_key": "key", "registry": "ghcr.io/owner"}
    file.write_text(f"{file.read_text()}\n{yaml.safe_dump({'autoscale': cloud})}")
    known = {"KERNELPORT_WORKER_REDIS_URL": "rediss://:hush@redis.example/0", "LAMBDA_CLOUD_API_KEY": "hush"}
    told = dry_run(file, tmp_path, known | {unset: ""})
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.startswith(f"error: {unset} is not set: ")
    assert told.stderr.count("\n") == 1


def test_a_dry_run_without_a_stack_says_what_to_do(file: Path, tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    told = dry_run(file, tmp_path, {"KERNELPORT_REDIS_URL": f"redis://{address}/0"})
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.startswith(f"error: cannot use the Redis at {address} (database 0): ")
    assert told.stderr.endswith("; `kernelport up` starts a stack with its own, or name another one with --redis-url\n")
