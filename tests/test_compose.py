"""The compose file says what the code understands."""

from pathlib import Path

import yaml
from click.testing import CliRunner

from kernelport.cli import cli
from kernelport.deployments import load_deployments
from kernelport.settings import Settings, bundled_deployments

COMPOSE = yaml.safe_load((Path(__file__).resolve().parent.parent / "compose" / "docker-compose.cpu.yml").read_text())


def test_each_worker_serves_a_deployment_with_its_image() -> None:
    deployments = load_deployments(bundled_deployments())
    workers = {name: service for name, service in COMPOSE["services"].items() if name.startswith("worker-")}
    assert workers
    for name, service in workers.items():
        deployment = deployments[name.removeprefix("worker-")]
        assert service["command"] == f"kernelport worker {deployment.name}"
        assert service["image"] == deployment.image
    assert CliRunner().invoke(cli, ["worker", "--help"]).exit_code == 0


def test_every_variable_is_a_setting() -> None:
    for service in COMPOSE["services"].values():
        environment = service.get("environment", {})
        assert set(environment) <= set(Settings().to_environment())
        Settings.from_environment(environment)
