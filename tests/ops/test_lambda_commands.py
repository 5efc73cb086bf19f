"""`kernelport lambda` for people, against the fake cloud."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from kernelport.supervisor.stack import Stack
from kernelport_ops.autoscale.providers.lambda_cloud import pacer
from kernelport_ops.autoscale.providers.lambda_cloud.__main__ import group
from tests.ops.fake_lambda.clocks import VirtualClock
from tests.ops.fake_lambda.cloud import KEY, FakeCloud, FakeInstance
from tests.ops.fake_lambda.server import serve
from tests.stack.models import pipeline


class Nothing:
    def start(self, instance: FakeInstance) -> None: ...

    def stop(self, instance: FakeInstance) -> None: ...


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stack: Stack) -> Iterator[FakeCloud]:
    """A cloud, and an environment that points the command at it."""
    file = tmp_path / "deployments.yaml"
    settings = {"provider": "lambda", "budget": {"per_hour": 4.0, "per_day": 40.0}}
    settings["lambda_cloud"] = {"ssh_key": "key", "registry": "ghcr.io/owner"}
    file.write_text(yaml.safe_dump({"deployments": {"speech": pipeline("Sleeper")}, "autoscale": settings}))
    clock = VirtualClock()
    monkeypatch.setattr(pacer, "_shared", pacer.Pacer(clock))
    running = FakeCloud(clock.time, Nothing())
    with serve(running) as url:
        monkeypatch.setenv("LAMBDA_CLOUD_URL", url)
        monkeypatch.setenv("LAMBDA_CLOUD_API_KEY", KEY)
        monkeypatch.setenv("KERNELPORT_DEPLOYMENTS_FILE", str(file))
        monkeypatch.setenv("KERNELPORT_REDIS_URL", stack.settings.redis_url)
        monkeypatch.setenv("KERNELPORT_WORKER_REDIS_URL", "rediss://:hush@redis.example/0")
        yield running


def call(*arguments: str) -> Result:
    return CliRunner().invoke(group, arguments, terminal_width=200)


def test_a_machine_is_launched_listed_reaped_and_terminated(cloud: FakeCloud) -> None:
    launched = call("launch", "speech", "--wait-s", "0", "--json")
    assert launched.exit_code == 0, launched.output
    machine = json.loads(launched.stdout)
    assert (machine["type"], machine["price"]) == ("gpu_1x_a10", 1.29)

    listed = call("list", "--json")
    assert [each["name"] for each in json.loads(listed.stdout)] == [machine["name"]]
    assert "hush" not in launched.output + listed.output
    assert "jupyter" not in launched.output + listed.output

    assert "0 orphans among 1 machine" in call("reap").output
    assert f"would terminate {machine['name']}" in call("reap", "--grace-s", "0", "--dry-run").output
    assert cloud.rate() > 0
    assert call("terminate", machine["name"]).exit_code == 0
    assert [each.status for each in cloud.instances.values()] == ["terminating"]
    assert "no instance named nobody" in call("terminate", "nobody").output


def test_types_say_why_one_is_not_rented(cloud: FakeCloud) -> None:
    shown = call("types")
    assert shown.exit_code == 0
    for name in ("gpu_1x_a10", "gpu_1x_gh200"):
        assert name in shown.output


def test_a_deployment_that_is_not_there_is_named(cloud: FakeCloud) -> None:
    assert 'no deployment is named "nobody"; there are: speech (in ' in call("launch", "nobody").output


def test_without_a_key_it_says_where_to_get_one(cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAMBDA_CLOUD_API_KEY")
    assert "LAMBDA_CLOUD_API_KEY is not set" in str(call("list").exception)
