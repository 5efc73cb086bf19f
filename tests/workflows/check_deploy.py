"""The deploy workflow: valid, and its steps work on a cloud whose machine is a real stack."""

import os
import re
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from kernelport.config.settings import bundled_deployments
from kernelport.supervisor.ports import free_port
from kernelport.supervisor.stack import Stack
from tests.conftest import stack_settings
from tests.ops.fake_lambda.clocks import ScaledClock
from tests.ops.fake_lambda.cloud import KEY, FakeCloud, FakeInstance
from tests.ops.fake_lambda.faults import NONE, Faults
from tests.ops.fake_lambda.processes import files_of
from tests.ops.fake_lambda.server import serve

WORKFLOW = Path(__file__).resolve().parents[2] / ".github" / "workflows" / "deploy-lambda.yml"
STEPS = yaml.safe_load(WORKFLOW.read_text())["jobs"]["deploy"]["steps"]
EXPRESSION = re.compile(r"\$\{\{\s*(.+?)\s*\}\}")


class StackRunner:
    """An instance is what its user data describes: Redis, a front door and a worker."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._port = port
        self.stack: Stack | None = None

    def start(self, instance: FakeInstance) -> None:
        services = yaml.safe_load(files_of(instance.request["user_data"])["compose.yaml"])["services"]
        assert {"redis", "front-door", "worker-0"} <= set(services)
        settings = replace(stack_settings(bundled_deployments()), listen=f"127.0.0.1:{self._port}")
        self.stack = Stack(settings, [services["worker-0"]["command"][2]], self._folder)
        self.stack.start()

    def stop(self, instance: FakeInstance) -> None:
        if self.stack is not None:
            self.stack.stop()


class Job:
    """Runs the shell steps of the job as GitHub would.

    Args:
        values: of the expressions that are not outputs of steps.
    """

    def __init__(self, folder: Path, port: int, values: dict[str, str]) -> None:
        self._folder, self._port, self._values = folder, port, values
        tools = folder / "bin"
        tools.mkdir(parents=True)
        (tools / "curl").write_text("#!/bin/sh\necho 203.0.113.7\n")
        (tools / "kernelport").write_text(f'#!/bin/sh\nexec {sys.executable} -m kernelport.cli "$@"\n')
        for tool in tools.iterdir():
            tool.chmod(0o755)
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("KERNELPORT_")},
            "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
            "DEPLOYMENT": "identity-onnx",
            "INSTANCE_TYPE": "",
            "REGION": "us-east-1",
            "SSH_KEY_NAME": "key",
            "LAMBDA_CLOUD_URL": values["url"],
        }

    def run(self, name: str) -> "subprocess.CompletedProcess[str]":
        step: dict[str, Any] = next(step for step in STEPS if step.get("name") == name)
        outputs = self._folder / "outputs"
        outputs.write_text("")
        variables = {
            key: EXPRESSION.sub(lambda found: self._values[found[1]], value).replace(":50051", f":{self._port}")
            for key, value in step.get("env", {}).items()
        }
        finished = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self._folder,
            env={**self.environment, **variables, "GITHUB_OUTPUT": str(outputs)},
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        for line in outputs.read_text().splitlines():
            key, _, value = line.partition("=")
            self._values[f"steps.{step['id']}.outputs.{key}"] = value
        return finished


@pytest.fixture
def values() -> dict[str, str]:
    return {
        "github.repository_owner": "Some-Owner",
        "github.actor": "somebody",
        "secrets.GITHUB_TOKEN": "github-hush",
        "secrets.LAMBDA_CLOUD_API_KEY": KEY,
        "secrets.HUGGINGFACE_HUB_TOKEN": "hub-hush",
    }


@pytest.mark.parametrize("faults", [Faults(boot_s=30.0, boot_spread=0.0, late_s=1.0, unanswered=1.0)])
def test_the_steps_bring_a_stack_up_and_try_it(tmp_path: Path, values: dict[str, str], faults: Faults) -> None:
    port, clock = free_port(), ScaledClock(30.0)
    runner = StackRunner(tmp_path / "machine", port)
    cloud = FakeCloud(clock.time, runner, faults, enforce_rates=False)
    stop = threading.Event()

    def pass_time() -> None:
        while not stop.wait(0.1):
            cloud.advance()

    with serve(cloud) as url:
        job = Job(tmp_path / "job", port, {**values, "url": url})
        ticking = threading.Thread(target=pass_time)
        ticking.start()
        try:
            said = ""
            for name in ("Name the images", "Launch", "Wait for gRPC health", "Try it", "Summary"):
                finished = job.run(name)
                said += finished.stdout + finished.stderr
                assert finished.returncode == 0, f"{name}: {finished.stdout}{finished.stderr}"
            assert "hush" not in said
            assert KEY not in said
            (instance,) = cloud.instances.values()
            assert instance.request["region_name"] == "us-east-1"
            (ruleset,) = cloud.rulesets.values()
            assert {rule["source_network"] for rule in ruleset["rules"]} == {"203.0.113.7/32"}
            summary = (tmp_path / "job" / "summary.md").read_text()
            assert instance.name in summary
            assert "`identity-onnx` answered" in summary

            assert job.run("Terminate what did not come up").returncode == 0
            assert instance.terminated_at is not None
            assert not cloud.rulesets
        finally:
            stop.set()
            ticking.join()


def test_a_launch_that_is_refused_fails_and_leaves_nothing(tmp_path: Path, values: dict[str, str]) -> None:
    cloud = FakeCloud(ScaledClock(30.0).time, StackRunner(tmp_path, 1), replace(NONE, refused=1.0), enforce_rates=False)
    with serve(cloud) as url:
        job = Job(tmp_path / "job", 1, {**values, "url": url})
        assert job.run("Name the images").returncode == 0
        job.environment["INSTANCE_TYPE"] = "gpu_1x_a10"
        finished = job.run("Launch")
        assert finished.returncode == 1
        assert "no gpu_1x_a10 is to be had in us-east-1 now" in finished.stderr
        assert job.run("Terminate what did not come up").returncode == 0
        assert not cloud.instances
        assert not cloud.rulesets
