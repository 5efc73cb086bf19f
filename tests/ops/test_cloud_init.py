"""What a rented machine is told: it comes up by itself, takes no work before its GPU works, and keeps its secrets."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from kernelport.config.deployments import load_deployments
from kernelport.config.settings import Settings, bundled_deployments
from kernelport_ops.autoscale.providers.lambda_cloud.cloud_init import FOLDER, Boot, compose, user_data
from kernelport_ops.autoscale.providers.lambda_cloud.cuda_check import problem
from kernelport_ops.autoscale.providers.lambda_cloud.secrets import LambdaSecrets, lambda_secrets
from tests.ops.fake_lambda.processes import environment_of, files_of

REDIS = "rediss://:p$ss@redis.example:6380/0"
SECRETS = LambdaSecrets(REDIS, "hub-hush", "somebody", "registry-hush", lambda_key="lambda-hush")
DEPLOYMENTS = load_deployments(bundled_deployments())


def boot(**changes: object) -> Boot:
    fields = {"name": "kp-main-luxtts-1-a", "deployment": DEPLOYMENTS["luxtts"], "gpus": 2, "secrets": SECRETS}
    return Boot(**{**fields, "registry": "ghcr.io/owner", "idle_s": 1800.0, **changes})  # type: ignore[arg-type]


def test_each_gpu_gets_a_worker_of_the_deployments_image_that_reads_what_the_settings_know() -> None:
    services = compose(boot())["services"]
    files = files_of(user_data(boot()))
    assert yaml.safe_load(files["compose.yaml"])["services"] == services
    for index in range(2):
        worker = services[f"worker-{index}"]
        assert worker["image"] == f"ghcr.io/owner/{DEPLOYMENTS['luxtts'].image}"
        assert worker["command"] == ["kernelport", "worker", "luxtts", "--roll"]
        (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
        assert device["device_ids"] == [str(index)]
        environment = environment_of(worker, files)
        settings = Settings.from_environment(environment)
        assert settings.redis_url == SECRETS.redis_url
        assert settings.worker_id == f"kp-main-luxtts-1-a.{index}"
        assert environment["HUGGINGFACE_HUB_TOKEN"] == "hub-hush"
        assert worker["depends_on"] == {"model-fetch": {"condition": "service_completed_successfully"}}


def test_a_whole_stack_has_its_own_redis_and_a_front_door() -> None:
    whole = boot(stack=True, secrets=replace(SECRETS, first_key="key-hush"))
    services = compose(whole)["services"]
    assert {"redis", "front-door", "worker-0", "model-fetch"} <= set(services)
    assert services["front-door"]["ports"] == ["50051:50051"]
    environment = environment_of(services["front-door"], files_of(user_data(whole)))
    assert Settings.from_environment(environment).redis_url == "redis://redis:6379/0"
    assert environment["KERNELPORT_FIRST_KEY"] == "key-hush"
    assert "KERNELPORT_FIRST_KEY" not in environment_of(services["worker-0"], files_of(user_data(whole)))
    for service in ("front-door", "worker-0"):
        (volume,) = (each for each in services[service]["volumes"] if each.startswith("artifacts:"))
        assert volume.partition(":")[2] == environment["KERNELPORT_ARTIFACTS"], "both see what jobs give"


def test_secrets_are_in_files_of_root_and_on_no_command_line() -> None:
    document = yaml.safe_load(user_data(boot()))
    for entry in document["write_files"]:
        assert entry["owner"] == "root:root"
        assert entry["permissions"] in ("0600", "0700")
        if entry["permissions"] == "0700" or entry["path"].endswith("compose.yaml"):
            assert "hush" not in entry["content"]
            assert "p$ss" not in entry["content"]
    assert "hush" not in yaml.safe_dump(document["runcmd"])
    watchdog = compose(boot())["services"]["watchdog"]
    assert f"{FOLDER}/watchdog.env" in watchdog["env_file"], "only the watchdog knows the cloud's key"
    assert f"{FOLDER}/watchdog.env" not in compose(boot())["services"]["worker-0"]["env_file"]
    assert "hush" not in repr(SECRETS)


def test_a_value_that_would_break_the_file_is_refused() -> None:
    with pytest.raises(ValueError, match="KERNELPORT_REDIS_URL"):
        user_data(boot(secrets=LambdaSecrets(redis_url="redis://a\nEVIL=1")))


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("rediss://:p@host:6380/0", "rediss://:p@host:6380/0?ssl_cert_reqs=required"),
        ("rediss://host/0?ssl_cert_reqs=none", "rediss://host/0?ssl_cert_reqs=none"),
        ("redis://10.0.0.1:6379/0", "redis://10.0.0.1:6379/0"),
    ],
)
def test_machines_check_the_certificate_of_redis_unless_told_not_to(given: str, used: str) -> None:
    environment = {"KERNELPORT_WORKER_REDIS_URL": given, "LAMBDA_CLOUD_API_KEY": "hush"}
    assert lambda_secrets(environment) == LambdaSecrets(redis_url=used), "and they do not get the cloud's key"


def test_machines_write_the_outputs_of_jobs_to_the_storage_that_all_share() -> None:
    shared = {"KERNELPORT_ARTIFACTS": "s3://bucket/jobs", "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "hush"}
    told = {**shared, "KERNELPORT_WORKER_REDIS_URL": REDIS}
    machine = boot(secrets=lambda_secrets({**told, "HOME": "/root"}))
    environment = environment_of(compose(machine)["services"]["worker-0"], files_of(user_data(machine)))
    assert environment.items() >= shared.items()
    assert lambda_secrets({**told, "KERNELPORT_ARTIFACTS": "/srv/jobs"}).storage == {}


def start(tmp_path: Path, docker: str) -> tuple[int, list[str]]:
    """Runs the machine's start script with a docker that notes its calls; its exit code and the calls."""
    for name, content in files_of(user_data(boot())).items():
        (tmp_path / name).write_text(content.replace(FOLDER, str(tmp_path)))
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, script in {
        "docker": f'echo "$*" >> {tmp_path}/calls\ncase "$*" in {docker} esac',
        "sleep": "exit 0",
        "timeout": 'shift; exec "$@"',
    }.items():
        (tools / name).write_text(f"#!/bin/bash\n{script}\n")
        (tools / name).chmod(0o755)
    finished = subprocess.run(
        ["bash", tmp_path / "start.sh"],
        env={"PATH": f"{tools}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    return finished.returncode, (tmp_path / "calls").read_text().splitlines()


def test_the_machine_pulls_checks_its_gpus_and_starts_in_this_order(tmp_path: Path) -> None:
    code, calls = start(tmp_path, f"login*) cat > {tmp_path}/got;;")
    assert code == 0
    assert calls == [
        "compose version",
        "login ghcr.io -u somebody --password-stdin",
        "compose pull -q",
        "compose run --rm --no-deps -T cuda-check",
        "compose up -d",
    ]
    assert (tmp_path / "got").read_text() == "registry-hush"
    assert not (tmp_path / "registry-token").exists()


def test_a_machine_whose_gpus_never_work_takes_no_work_and_gives_itself_back(tmp_path: Path) -> None:
    code, calls = start(tmp_path, "*cuda-check) exit 1;;")
    assert code == 1
    assert calls.count("compose run --rm --no-deps -T cuda-check") == 12
    assert "compose up -d" not in calls
    assert calls[-1].endswith("kernelport_ops.autoscale.providers.lambda_cloud.watchdog kp-main-luxtts-1-a --now")


def test_the_check_says_what_is_missing_here() -> None:
    assert problem() is None or "CUDA driver" in (problem() or "")
