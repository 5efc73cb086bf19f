"""Machines on Lambda Cloud, as the autoscaler sees them."""

import time
from collections.abc import Callable, Mapping, Sequence

from redis import Redis

from kernelport.broker.registry import ask_to_drain, is_drained
from kernelport.config.deployments import Deployment
from kernelport.config.scaling import LambdaCloud
from kernelport_ops.autoscale.naming import belongs_to, epoch_of
from kernelport_ops.autoscale.providers.lambda_cloud.choice import offers
from kernelport_ops.autoscale.providers.lambda_cloud.client import Client
from kernelport_ops.autoscale.providers.lambda_cloud.cloud_init import Boot, user_data
from kernelport_ops.autoscale.providers.lambda_cloud.secrets import LambdaSecrets
from kernelport_ops.autoscale.providers.lambda_cloud.types import Instance, InstanceStatus, Launch
from kernelport_ops.autoscale.providers.provider import Machine, NoCapacityError, Offer, Order, Status

FLEET_TAG, DEPLOYMENT_TAG, EPOCH_TAG, FENCE_TAG = (
    f"kernelport-{name}" for name in ("fleet", "deployment", "launched", "fence")
)
# A type that was refused in a region is not asked for there again for this long, whatever is listed.
REFUSED_S = 60.0
# Types and their capacity are asked for this often at most.
TYPES_S = 15.0
_STATUSES = {
    InstanceStatus.BOOTING: Status.STARTING,
    InstanceStatus.ACTIVE: Status.RUNNING,
    InstanceStatus.UNKNOWN: Status.RUNNING,
    InstanceStatus.UNHEALTHY: Status.FAILED,
    InstanceStatus.PREEMPTED: Status.FAILED,
    InstanceStatus.TERMINATING: Status.ENDING,
}


class LambdaProvider:
    """Rents and gives back machines of one fleet.

    Args:
        redis: for the requests to finish and go, which workers look for.
        secrets: what each machine may know.
        monotonic: seconds.
    """

    def __init__(
        self,
        client: Client,
        cloud: LambdaCloud,
        fleet: str,
        deployments: Mapping[str, Deployment],
        redis: Redis,
        secrets: LambdaSecrets,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._cloud = cloud
        self._fleet = fleet
        self._deployments = deployments
        self._redis = redis
        self._secrets = secrets
        self._monotonic = monotonic
        self._refused: dict[tuple[str, str], float] = {}
        self._offers: list[Offer] = []
        self._offers_until = float("-inf")

    @property
    def boot_limit_s(self) -> float:
        """As the deployments file says."""
        return self._cloud.boot_limit_s

    def offers(self) -> list[Offer]:
        """What lists capacity, without what was refused a moment ago."""
        now = self._monotonic()
        if now >= self._offers_until:
            self._offers = offers(self._client.instance_types(), self._cloud)
            self._offers_until = now + TYPES_S
        self._refused = {place: until for place, until in self._refused.items() if until > now}
        return [offer for offer in self._offers if (offer.kind, offer.region) not in self._refused]

    def machines(self) -> list[Machine]:
        """The fleet's instances that are paid for."""
        return [
            machine_of(instance)
            for instance in self._client.instances()
            if is_of_fleet(instance, self._fleet) and instance.status is not InstanceStatus.TERMINATED
        ]

    def launch(self, order: Order, may_act: Callable[[], None]) -> None:
        """Rents one instance; whether one that got no answer was rented shows in `machines`."""
        boot = Boot(
            order.name,
            self._deployments[order.deployment],
            order.offer.workers,
            self._cloud.registry,
            self._secrets,
            self._cloud.self_terminate_s,
            self._fleet,
            price=order.offer.price,
        )
        launch = Launch(
            order.name,
            order.offer.kind,
            order.offer.region,
            self._cloud.ssh_key,
            self._cloud.image_family,
            user_data(boot),
            tags_of(order, self._fleet),
        )
        try:
            self._client.launch(launch, may_act)
        except NoCapacityError:
            self._refused[(order.offer.kind, order.offer.region)] = self._monotonic() + REFUSED_S
            raise

    def drain(self, machine: Machine) -> None:
        """Leaves each of its workers a note in Redis."""
        for worker in machine.worker_ids:
            ask_to_drain(self._redis, worker)

    def is_drained(self, machine: Machine) -> bool:
        """Whether each of its workers has answered that note."""
        return all(is_drained(self._redis, worker) for worker in machine.worker_ids)

    def terminate(self, machines: Sequence[Machine]) -> None:
        """Gives instances back."""
        self._client.terminate([machine.id for machine in machines if machine.id])

    def close(self) -> None:
        """Machines go on without an autoscaler; the next one finds them."""


def tags_of(order: Order, fleet: str) -> dict[str, str]:
    """The tags of an instance: what another autoscaler, or the reaper, needs to know of it."""
    return {
        FLEET_TAG: fleet,
        DEPLOYMENT_TAG: order.deployment,
        EPOCH_TAG: str(order.epoch),
        FENCE_TAG: str(order.fence),
    }


def is_of_fleet(instance: Instance, fleet: str) -> bool:
    """Whether an instance is a fleet's, by its tag or, should it have lost that, by its name."""
    return instance.tags.get(FLEET_TAG) == fleet or belongs_to(fleet, instance.name)


def machine_of(instance: Instance) -> Machine:
    """An instance of a fleet as a machine. One that does not tell when it was launched counts as launched long ago."""
    epoch = instance.tags.get(EPOCH_TAG) or epoch_of(instance.name) or 0
    return Machine(
        instance.name,
        instance.tags.get(DEPLOYMENT_TAG, ""),
        max(1, instance.gpus),
        instance.price,
        float(epoch),
        _STATUSES.get(instance.status, Status.RUNNING),
        instance.id,
        instance.ip,
    )
