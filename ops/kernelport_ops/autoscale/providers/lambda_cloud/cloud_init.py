"""What a machine is told at its launch: cloud-init user data that brings its workers up.

Secrets are in files that only root reads, and reach the containers by `env_file`: no command line carries one. Nothing
of the user data is ever logged.
"""

from dataclasses import dataclass
from typing import Any

import yaml

from kernelport.config.deployments import Deployment
from kernelport_ops.autoscale.providers.lambda_cloud.secrets import LambdaSecrets
from kernelport_ops.autoscale.providers.provider import worker_ids

FOLDER = "/opt/kernelport"
LARGEST_BYTES = 1_000_000
FRONT_DOOR_PORT = 50051
# Of the first worker on a machine; the next ones have the ports after it.
METRICS_PORT = 9464
FRONT_DOOR_IMAGE = "kernelport-front-door:cpu"
_MODELS = "models:/home/kernelport/.cache"
# Where images keep the outputs of jobs.
ARTIFACTS = "/var/lib/kernelport/artifacts"
REDIS_IMAGE = "redis:8.2.3-alpine"


@dataclass(frozen=True)
class Boot:
    """How a machine comes up.

    Attributes:
        name: of the machine.
        gpus: a worker runs on each.
        registry: where the images are, such as `ghcr.io/owner`.
        stack: whether Redis and a front door run on it, too.
        idle_s: after so long without work, and without an autoscaler, it gives itself back; in seconds.
        fleet: its fleet.
        gpu: False for a machine without one, which is not checked for one.
        price: of the machine, in dollars an hour.
    """

    name: str
    deployment: Deployment
    gpus: int
    registry: str
    secrets: LambdaSecrets
    idle_s: float
    fleet: str = "main"
    stack: bool = False
    gpu: bool = True
    price: float = 0.0


def user_data(boot: Boot) -> str:
    """The cloud-init configuration, of at most 1 MB.

    Raises:
        ValueError: when it would be longer, or a value does not fit a line.
    """
    files = [
        _file("worker.env", _environment(boot), "0600"),
        _file("compose.yaml", yaml.safe_dump(compose(boot), sort_keys=False), "0600"),
        _file("start.sh", _start_script(boot), "0700"),
    ]
    if boot.secrets.registry_token:
        files.append(_file("registry-token", boot.secrets.registry_token, "0600"))
    if boot.stack:
        files.append(_file("front-door.env", _lines({"KERNELPORT_FIRST_KEY": boot.secrets.first_key}), "0600"))
    if boot.secrets.lambda_key:
        files.append(_file("watchdog.env", _lines({"LAMBDA_CLOUD_API_KEY": boot.secrets.lambda_key}), "0600"))
    document = {
        "write_files": files,
        "runcmd": [["bash", "-c", f"{FOLDER}/start.sh > /var/log/kernelport.log 2>&1"]],
    }
    text = "#cloud-config\n" + yaml.safe_dump(document, sort_keys=False, width=1000)
    if len(text.encode()) > LARGEST_BYTES:
        raise ValueError(f"the user data has {len(text.encode())} bytes, of at most {LARGEST_BYTES}")
    return text


def compose(boot: Boot) -> dict[str, Any]:
    """The compose file of a machine."""
    image = f"{boot.registry}/{boot.deployment.image}"
    services: dict[str, Any] = {}
    for index, worker_id in enumerate(worker_ids(boot.name, boot.gpus)):
        services[f"worker-{index}"] = {
            "image": image,
            "command": ["kernelport", "worker", boot.deployment.name, "--roll"],
            "env_file": [f"{FOLDER}/worker.env"],
            "environment": {
                "KERNELPORT_WORKER_ID": worker_id,
                "KERNELPORT_METRICS_LISTEN": f"0.0.0.0:{METRICS_PORT}",
            },
            # On the machine itself only: it has a public address.
            "ports": [f"127.0.0.1:{METRICS_PORT + index}:{METRICS_PORT}"],
            # A worker that was asked to finish and go ends with 0, and stays away.
            "restart": "on-failure",
            "stop_grace_period": "60s",
            "volumes": [_MODELS, *_shared_outputs(boot)],
            **_after_fetching(boot),
            **(_gpu(str(index)) if boot.gpu else {}),
        }
    if _fetches(boot):
        services["model-fetch"] = {
            "image": image,
            "command": ["kernelport", "model-fetch", "--deployment", boot.deployment.name],
            "env_file": [f"{FOLDER}/worker.env"],
            "restart": "on-failure",
            "volumes": [_MODELS],
        }
    if boot.stack:
        services["redis"] = {
            "image": REDIS_IMAGE,
            "command": ["redis-server", "--appendonly", "yes", "--maxmemory-policy", "noeviction"],
            "restart": "unless-stopped",
            "volumes": ["redis-data:/data"],
        }
        services["front-door"] = {
            "image": f"{boot.registry}/{FRONT_DOOR_IMAGE}",
            "command": ["python", "-m", "kernelport_api"],
            "env_file": [f"{FOLDER}/worker.env", f"{FOLDER}/front-door.env"],
            "environment": {"KERNELPORT_LISTEN": f"0.0.0.0:{FRONT_DOOR_PORT}"},
            "restart": "unless-stopped",
            "ports": [f"{FRONT_DOOR_PORT}:{FRONT_DOOR_PORT}"],
            "volumes": _shared_outputs(boot),
        }
    if boot.secrets.lambda_key:
        services["watchdog"] = {
            "image": image,
            "command": [
                "python",
                "-m",
                "kernelport_ops.autoscale.providers.lambda_cloud.watchdog",
                boot.name,
                *_watchdog_options(boot),
            ],
            "env_file": [f"{FOLDER}/worker.env", f"{FOLDER}/watchdog.env"],
            "restart": "unless-stopped",
        }
    services["cuda-check"] = {
        "image": image,
        "command": ["python", "-m", "kernelport_ops.autoscale.providers.lambda_cloud.cuda_check"],
        "profiles": ["check"],
        **(_gpu(None) if boot.gpu else {}),
    }
    volumes: dict[str, Any] = {"models": {}, **({"redis-data": {}, "artifacts": {}} if boot.stack else {})}
    return {"name": "kernelport", "services": services, "volumes": volumes}


def _fetches(boot: Boot) -> bool:
    """Whether the model's files come from Hugging Face."""
    manifest = boot.deployment.manifest
    return manifest is not None and manifest.source.kind == "huggingface"


def _shared_outputs(boot: Boot) -> list[str]:
    """A whole stack keeps the outputs of jobs on its machine; workers alone write to where the settings say."""
    return [f"artifacts:{ARTIFACTS}"] if boot.stack else []


def _after_fetching(boot: Boot) -> dict[str, Any]:
    done = {"model-fetch": {"condition": "service_completed_successfully"}}
    return {"depends_on": done} if _fetches(boot) else {}


def _watchdog_options(boot: Boot) -> list[str]:
    return [
        *("--deployment", boot.deployment.name),
        *("--workers", str(boot.gpus)),
        *("--fleet", boot.fleet),
        *("--idle-s", f"{boot.idle_s:g}"),
    ]


def _gpu(index: str | None) -> dict[str, Any]:
    """One GPU, or all of them."""
    which: dict[str, Any] = {"count": "all"} if index is None else {"device_ids": [index]}
    device = {"driver": "nvidia", **which, "capabilities": ["gpu"]}
    return {"deploy": {"resources": {"reservations": {"devices": [device]}}}}


def _environment(boot: Boot) -> str:
    values = boot.secrets.worker_environment(boot.price / max(1, boot.gpus))
    if boot.stack:
        values = {"KERNELPORT_ARTIFACTS": ARTIFACTS, **values, "KERNELPORT_REDIS_URL": "redis://redis:6379/0"}
    return _lines(values)


def _start_script(boot: Boot) -> str:
    login = (
        f"docker login {boot.registry.partition('/')[0]} -u {boot.secrets.registry_user or 'kernelport'}"
        f" --password-stdin < registry-token\n"
        if boot.secrets.registry_token
        else ""
    )
    give_back = (
        "docker compose run --rm --no-deps -T watchdog"
        f" python -m kernelport_ops.autoscale.providers.lambda_cloud.watchdog {boot.name} --now || true\n"
        if boot.secrets.lambda_key
        else ""
    )
    check = (
        """# CUDA may need a while after the start: error 802. A machine that never computes takes no work.
repeat 12 timeout 120 docker compose run --rm --no-deps -T cuda-check || give_up "the GPUs do not compute"
"""
        if boot.gpu
        else ""
    )
    return f"""#!/usr/bin/env bash
set -euo pipefail
cd {FOLDER}
export HOME=/root
repeat() {{ local times=$1; shift; for _ in $(seq "$times"); do "$@" && return 0; sleep 10; done; return 1; }}
give_up() {{
  echo "kernelport: $1" >&2
  {give_back or ":"}
  exit 1
}}
docker compose version > /dev/null 2>&1 || repeat 6 eval "apt-get update -q && apt-get install -yq docker-compose-v2"
{login}repeat 6 docker compose pull -q || give_up "the images cannot be pulled"
{check}docker compose up -d
rm -f registry-token
"""


def _file(name: str, content: str, permissions: str) -> dict[str, str]:
    return {"path": f"{FOLDER}/{name}", "permissions": permissions, "owner": "root:root", "content": content}


def _lines(values: dict[str, str]) -> str:
    for name, value in values.items():
        if not value.isprintable() or "'" in value:
            raise ValueError(f"{name} holds a quote or a character that cannot be printed")
    # In single quotes compose takes a value as it is: a $ in a password is a $.
    return "".join(f"{name}='{value}'\n" for name, value in values.items())
