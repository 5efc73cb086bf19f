"""The secrets that machines are given, from the environment: on a command line others could read them."""

import os
from collections.abc import Mapping

from kernelport.settings import PREFIX
from kernelport_ops.lambda_cloud.client import KEY_VARIABLE
from kernelport_ops.lambda_cloud.cloud_init import Secrets

SELF_TERMINATE_VARIABLE = f"{PREFIX}SELF_TERMINATE"


def secrets_from_environment(environment: Mapping[str, str] = os.environ) -> Secrets:
    """What machines may know.

    They get the API key, with which they give themselves back, only when KERNELPORT_SELF_TERMINATE is 1: whoever breaks
    into one could use it for the whole account.
    """
    may_end_itself = environment.get(SELF_TERMINATE_VARIABLE) == "1"
    return Secrets(
        redis_url=environment.get(f"{PREFIX}WORKER_REDIS_URL", ""),
        hub_token=environment.get("HUGGINGFACE_HUB_TOKEN") or environment.get("HF_TOKEN", ""),
        registry_user=environment.get(f"{PREFIX}REGISTRY_USER", ""),
        registry_token=environment.get(f"{PREFIX}REGISTRY_TOKEN", ""),
        lambda_key=environment.get(KEY_VARIABLE, "") if may_end_itself else "",
    )
