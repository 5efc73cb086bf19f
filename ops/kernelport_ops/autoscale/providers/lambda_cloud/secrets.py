"""The secrets that machines are given, from the environment: on a command line others could read them."""

import os
from collections.abc import Mapping

from kernelport.config.settings import PREFIX
from kernelport_ops.autoscale.providers.lambda_cloud.client import KEY_VARIABLE
from kernelport_ops.autoscale.providers.lambda_cloud.cloud_init import Secrets

SELF_TERMINATE_VARIABLE = f"{PREFIX}SELF_TERMINATE"
ARTIFACTS_VARIABLE = f"{PREFIX}ARTIFACTS"
# What S3 clients go by.
_STORAGE_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
)


def secrets_from_environment(environment: Mapping[str, str] = os.environ) -> Secrets:
    """What machines may know.

    They get the API key, with which they give themselves back, only when KERNELPORT_SELF_TERMINATE is 1: whoever breaks
    into one could use it for the whole account.
    """
    may_end_itself = environment.get(SELF_TERMINATE_VARIABLE) == "1"
    return Secrets(
        redis_url=_verified(environment.get(f"{PREFIX}WORKER_REDIS_URL", "")),
        hub_token=environment.get("HUGGINGFACE_HUB_TOKEN") or environment.get("HF_TOKEN", ""),
        registry_user=environment.get(f"{PREFIX}REGISTRY_USER", ""),
        registry_token=environment.get(f"{PREFIX}REGISTRY_TOKEN", ""),
        lambda_key=environment.get(KEY_VARIABLE, "") if may_end_itself else "",
        storage=_storage(environment),
    )


def _storage(environment: Mapping[str, str]) -> dict[str, str]:
    """Where the outputs of jobs go, when that is a place that machines share: a folder here is none."""
    artifacts = environment.get(ARTIFACTS_VARIABLE, "")
    if "://" not in artifacts:
        return {}
    credentials = {name: environment[name] for name in _STORAGE_VARIABLES if environment.get(name)}
    return {ARTIFACTS_VARIABLE: artifacts, **credentials}


def _verified(redis_url: str) -> str:
    """The same address, with the server's certificate checked: Celery does that only when it is told to."""
    if not redis_url.startswith("rediss://") or "ssl_cert_reqs=" in redis_url:
        return redis_url
    return f"{redis_url}{'&' if '?' in redis_url else '?'}ssl_cert_reqs=required"
