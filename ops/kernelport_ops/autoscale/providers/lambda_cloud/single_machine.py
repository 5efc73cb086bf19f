"""One machine for one person: what `kernelport lambda launch` and `terminate` do."""

import logging
import secrets as random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kernelport.config.deployments import Deployment
from kernelport.config.scaling import LambdaCloud
from kernelport_ops.autoscale.naming import machine_name
from kernelport_ops.autoscale.providers.lambda_cloud.choice import offers
from kernelport_ops.autoscale.providers.lambda_cloud.client import Client
from kernelport_ops.autoscale.providers.lambda_cloud.cloud_init import FRONT_DOOR_PORT, Boot, user_data
from kernelport_ops.autoscale.providers.lambda_cloud.errors import RULESET_IN_USE, CloudError
from kernelport_ops.autoscale.providers.lambda_cloud.provider import tags_of
from kernelport_ops.autoscale.providers.lambda_cloud.secrets import LambdaSecrets
from kernelport_ops.autoscale.providers.lambda_cloud.types import Instance, InstanceStatus, Launch
from kernelport_ops.autoscale.providers.provider import NoCapacityError, Offer, Order, ProviderError, RefusedError

log = logging.getLogger(__name__)

# A launch without an answer shows up among the instances within this, or did not take place.
IN_DOUBT_S = 180.0
LOOK_S = 5.0
_SSH_PORT = 22


@dataclass(frozen=True)
class Wish:
    """What somebody wants.

    Attributes:
        kind, region: None for any.
        note: a file that gets the machine's name before the launch, so that whatever happens it can be ended.
        allow_from: addresses, in CIDR notation, that may reach the front door's port; None for no firewall of its own.
    """

    deployment: Deployment
    kind: str | None
    region: str | None
    stack: bool
    allow_from: str | None
    idle_s: float
    note: Path | None = None


def launch_one(client: Client, cloud: LambdaCloud, fleet: str, wish: Wish, secrets: LambdaSecrets) -> Instance:
    """Launches one machine, wherever there is room for it.

    Raises:
        NoCapacityError: when there is none to be had.
        ProviderError: when a launch fails for another reason.
    """
    wanted = cloud.model_copy(update={"instance_types": (wish.kind,)} if wish.kind else {})
    if wish.region:
        wanted = wanted.model_copy(update={"regions": (wish.region,)})
    for offer in offers(client.instance_types(), wanted):
        try:
            return _launch(client, wanted, fleet, wish, secrets, offer)
        except NoCapacityError as error:
            log.info("no capacity for %s in %s: %s", offer.kind, offer.region, error)
    raise NoCapacityError(f"no {wish.kind or 'machine'} is to be had in {wish.region or 'any region'} now")


def _launch(
    client: Client, cloud: LambdaCloud, fleet: str, wish: Wish, secrets: LambdaSecrets, offer: Offer
) -> Instance:
    epoch = int(time.time())
    name = machine_name(fleet, wish.deployment.name, epoch, random.token_hex(3))
    boot = Boot(
        name,
        wish.deployment,
        offer.workers,
        cloud.registry,
        secrets,
        wish.idle_s,
        fleet,
        stack=wish.stack,
        price=offer.price,
    )
    order = Order(name, wish.deployment.name, offer, epoch, fence=0)
    ruleset = _open_port(client, name, offer.region, wish.allow_from) if wish.allow_from else None
    launch = Launch(
        name,
        offer.kind,
        offer.region,
        cloud.ssh_key,
        cloud.image_family,
        user_data(boot),
        tags_of(order, fleet),
        (ruleset,) if ruleset else (),
    )
    if wish.note is not None:
        wish.note.write_text(f"{name}\n")
    log.info("launching %s: %s in %s at $%.2f/h", name, offer.kind, offer.region, offer.price)
    try:
        client.launch(launch)
    except (NoCapacityError, RefusedError):
        if ruleset:
            client.delete_ruleset(ruleset)
        raise
    except ProviderError as error:
        log.warning("%s; looking whether it was launched all the same", error)
    return _find(client, name)


def _find(client: Client, name: str) -> Instance:
    ends_at = time.monotonic() + IN_DOUBT_S
    while True:
        found = next((each for each in client.instances() if each.name == name), None)
        if found is not None:
            return found
        if time.monotonic() > ends_at:
            raise ProviderError(f"{name} was not launched: it does not show up among the instances")
        time.sleep(LOOK_S)


def wait_for_ip(client: Client, instance: Instance, wait_s: float) -> Instance:
    """Waits for the machine's address.

    Raises:
        ProviderError: when the machine fails first, or has none in time.
    """
    ends_at = time.monotonic() + wait_s
    while not instance.ip:
        if time.monotonic() > ends_at:
            raise ProviderError(f"{instance.name} has no address after {wait_s:g} s")
        time.sleep(LOOK_S)
        found = next((each for each in client.instances() if each.name == instance.name), None)
        if found is None or found.status not in (InstanceStatus.BOOTING, InstanceStatus.ACTIVE):
            raise ProviderError(f"{instance.name} did not come up: {found.status if found else 'it is gone'}")
        instance = found
    return instance


def give_back(client: Client, instances: Sequence[Instance]) -> None:
    """Terminates machines, and removes the firewall rules that were made for them."""
    client.terminate([each.id for each in instances])
    rulesets = client.rulesets() if instances else {}
    for each in instances:
        if each.name in rulesets:
            _close_port(client, rulesets[each.name])


def _close_port(client: Client, ruleset: str) -> None:
    """Removes a ruleset, which is in use until its machine is gone."""
    ends_at = time.monotonic() + IN_DOUBT_S
    while True:
        try:
            client.delete_ruleset(ruleset)
            return
        except CloudError as error:
            if error.code != RULESET_IN_USE or time.monotonic() > ends_at:
                raise
        time.sleep(LOOK_S)


def _open_port(client: Client, name: str, region: str, source: str) -> str:
    rules = [
        {"protocol": "tcp", "port_range": [port, port], "source_network": source, "description": what}
        for port, what in ((_SSH_PORT, "SSH"), (FRONT_DOOR_PORT, "gRPC front door"))
    ]
    return client.create_ruleset(name, region, rules)
