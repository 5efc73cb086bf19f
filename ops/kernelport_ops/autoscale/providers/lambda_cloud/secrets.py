"""What machines on Lambda Cloud may know beside what all rented machines do."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from kernelport.config.settings import PREFIX
from kernelport_ops.autoscale.providers.lambda_cloud.client import KEY_VARIABLE
from kernelport_ops.autoscale.providers.secrets import Secrets, secrets_from_environment

SELF_TERMINATE_VARIABLE = f"{PREFIX}SELF_TERMINATE"


@dataclass(frozen=True)
class LambdaSecrets(Secrets):
    """What such a machine may know. Empty for none.

    Attributes:
        lambda_key: lets the machine give itself back.
        first_key: of a whole stack: its first key.
    """

    lambda_key: str = field(default="", repr=False)
    first_key: str = field(default="", repr=False)


def lambda_secrets(environment: Mapping[str, str] = os.environ, *, has_redis: bool = False) -> LambdaSecrets:
    """What machines may know.

    They get the API key, with which they give themselves back, only when KERNELPORT_SELF_TERMINATE is 1: whoever breaks
    into one could use it for the whole account.

    Args:
        has_redis: as of `secrets_from_environment`.

    Raises:
        NotSetError: as `secrets_from_environment`.
    """
    may_end_itself = environment.get(SELF_TERMINATE_VARIABLE) == "1"
    key = environment.get(KEY_VARIABLE, "") if may_end_itself else ""
    return LambdaSecrets(**vars(secrets_from_environment(environment, has_redis=has_redis)), lambda_key=key)
