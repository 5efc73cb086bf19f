"""How many workers a deployment may have, and what all of them may cost: the `scaling` and `autoscale` of the file."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from kernelport.config.schema import Count, Expected, Seconds, Strict

_Whole = Annotated[int, Field(ge=0), Expected("an integer of at least 0")]
_Dollars = Annotated[float, Field(gt=0, allow_inf_nan=False), Expected("dollars, above 0")]
_Fleet = Annotated[
    str, Field(pattern=r"^[a-z][a-z0-9]{0,15}$"), Expected("up to 16 small letters and digits, a letter first")
]
_Text = Annotated[str, Field(min_length=1), Expected("a text")]
# By provider, the fields of `autoscale` that it cannot do without: where machines cost money, a budget is one.
_NEEDS: Mapping[str, tuple[str, ...]] = {"lambda": ("budget", "lambda_cloud")}


class Scaling(Strict):
    """How many workers a deployment has, and when that changes.

    Attributes:
        min, max: workers, 0 or more and 1 or more; `max` is at least `min`.
        target_wait_s: a request should not wait longer than this for a worker, in seconds.
        job_wait_s: the items of jobs that wait now should be done within this, in seconds.
        idle_s: a worker that nothing needed for this long goes, in seconds.
        cool_down_s: between workers that come and workers that go lie at least this many seconds.
    """

    min: _Whole = 0
    max: Count = 1
    target_wait_s: Seconds = 60.0
    job_wait_s: Seconds = 1800.0
    idle_s: Seconds = 60.0
    cool_down_s: Seconds = 30.0

    @field_validator("max")
    @classmethod
    def _max_is_not_below_min(cls, value: int, info: ValidationInfo) -> int:
        if value < (least := info.data.get("min", 0)):
            raise PydanticCustomError("rule", f"expected at least as many as min, {least}, got {value}")
        return value


class Budget(Strict):
    """What machines may cost, in dollars: those that run at any moment `per_hour`, those of any 24 hours `per_day`."""

    per_hour: _Dollars
    per_day: _Dollars


class LambdaCloud(Strict):
    """Which machines to rent, and how they come up.

    Attributes:
        instance_types: names of instance types to choose from; empty for every type with one GPU.
        regions: names of regions to choose from; empty for all.
        ssh_key: the name of the key, in the account, that may log in.
        image_family: the machine image; the default images of regions differ.
        registry: where the container images are; a deployment's `image` is a name in it.
        arm64_images: whether there are arm64 images, too; without them, arm64 types are never chosen.
        boot_limit_s: a machine whose worker is not ready after this is given back, in seconds.
        self_terminate_s: a machine whose worker has had nothing to do for this long gives itself back, in seconds.
    """

    instance_types: tuple[_Text, ...] = Field(default=(), strict=False)
    regions: tuple[_Text, ...] = Field(default=(), strict=False)
    ssh_key: _Text
    image_family: _Text = "lambda-stack-24-04"
    registry: _Text
    arm64_images: bool = False
    boot_limit_s: Seconds = 900.0
    self_terminate_s: Seconds = 1800.0


class Local(Strict):
    """Worker processes on the autoscaler's own machine.

    Attributes:
        slots: how many at most; by default one a GPU, or without GPUs one a core.
        boot_limit_s: a worker that is not ready after this is stopped, in seconds.
        price_per_hour: what a worker counts for in the budget, in dollars.
    """

    slots: Count | None = None
    boot_limit_s: Seconds = 300.0
    price_per_hour: Annotated[float, Field(ge=0, allow_inf_nan=False), Expected("dollars, at least 0")] = 0.0


class Autoscale(Strict, validate_default=True):
    """What holds for all deployments together.

    Attributes:
        fleet: tells the machines of this KernelPort from those of others in the same account.
        provider: where workers come from.
        budget: what they may cost; `lambda` needs one.
    """

    fleet: _Fleet = "main"
    provider: Literal["local", "lambda"] = "local"
    budget: Budget | None = None
    local: Local = Local()
    lambda_cloud: LambdaCloud | None = None

    @field_validator("*")
    @classmethod
    def _has_what_its_provider_needs(cls, value: object, info: ValidationInfo) -> object:
        provider = info.data.get("provider", "")
        if value is None and info.field_name in _NEEDS.get(provider, ()):
            raise PydanticCustomError("rule", f"required with provider {provider}")
        return value
