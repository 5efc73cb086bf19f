"""Which instance to rent: the cheapest a GPU, wherever there is capacity."""

from collections.abc import Sequence

from kernelport.config.scaling import LambdaCloud
from kernelport_ops.autoscale.providers.lambda_cloud.types import InstanceType
from kernelport_ops.autoscale.providers.provider import Offer


def offers(kinds: Sequence[InstanceType], wanted: LambdaCloud) -> list[Offer]:
    """What could be rented, cheapest a GPU first; one for each type and region that lists capacity.

    Types with several GPUs have a worker on each, and are chosen only when they are named.
    """
    found = [
        Offer(kind.name, region, kind.gpus, kind.price)
        for kind in kinds
        if refusal(kind, wanted) is None
        for region in kind.regions
        if not wanted.regions or region in wanted.regions
    ]
    places = {region: index for index, region in enumerate(wanted.regions)}
    return sorted(
        found, key=lambda each: (each.price / each.workers, each.kind, places.get(each.region, 0), each.region)
    )


def refusal(kind: InstanceType, wanted: LambdaCloud) -> str | None:
    """Why a type is never rented; None when it may be."""
    if kind.gpus < 1:
        return "has no GPU"
    if kind.arm64 and not wanted.arm64_images:
        return "is an arm64 machine, and there are no arm64 images"
    if wanted.instance_types:
        return None if kind.name in wanted.instance_types else "is not among instance_types"
    return None if kind.gpus == 1 else f"has {kind.gpus} GPUs: name it in instance_types to rent it"
