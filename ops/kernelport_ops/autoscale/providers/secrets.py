"""What rented machines may know, from the autoscaler's environment: on a command line others could read it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from kernelport.config.settings import PREFIX
from kernelport_ops.autoscale.providers.provider import NotSetError

REDIS_VARIABLE = f"{PREFIX}WORKER_REDIS_URL"
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


@dataclass(frozen=True)
class Secrets:
    """What a machine may know. Empty for none.

    Attributes:
        redis_url: of the Redis, as the machine reaches it: `rediss://` with a password. A whole stack has its own.
        hub_token: for models on Hugging Face.
        registry_user, registry_token: for images that are not public.
        storage: variables that say where the outputs of jobs go, and let the machine write there.
    """

    redis_url: str = field(default="", repr=False)
    hub_token: str = field(default="", repr=False)
    registry_user: str = ""
    registry_token: str = field(default="", repr=False)
    storage: Mapping[str, str] = field(default_factory=dict, repr=False)

    def worker_environment(self, price: float) -> dict[str, str]:
        """The environment of a worker on the machine, but for its KERNELPORT_WORKER_ID.

        Args:
            price: of the worker, in dollars an hour.
        """
        values = {f"{PREFIX}REDIS_URL": self.redis_url, f"{PREFIX}PRICE_PER_HOUR": f"{price:.15g}", **self.storage}
        if self.hub_token:
            values["HUGGINGFACE_HUB_TOKEN"] = values["HF_TOKEN"] = self.hub_token
        return values


def secrets_from_environment(environment: Mapping[str, str] = os.environ, *, has_redis: bool = False) -> Secrets:
    """What machines may know, whichever cloud they are of.

    Args:
        has_redis: whether the machine is a whole stack, which needs no other Redis.

    Raises:
        NotSetError: it needs one, and KERNELPORT_WORKER_REDIS_URL does not tell where.
    """
    redis_url = environment.get(REDIS_VARIABLE, "")
    if not redis_url and not has_redis:
        raise NotSetError(
            f"{REDIS_VARIABLE} is not set: the address at which rented machines reach Redis, rediss://..."
        )
    return Secrets(
        redis_url=_verified(redis_url),
        hub_token=environment.get("HUGGINGFACE_HUB_TOKEN") or environment.get("HF_TOKEN", ""),
        registry_user=environment.get(f"{PREFIX}REGISTRY_USER", ""),
        registry_token=environment.get(f"{PREFIX}REGISTRY_TOKEN", ""),
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
