"""Launches machines, and stops trying for a while when they do not come up."""

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from kernelport_ops.autoscale.budget import Purse
from kernelport_ops.autoscale.ledger import Ledger
from kernelport_ops.autoscale.lock import FencedError, Lock
from kernelport_ops.autoscale.naming import machine_name
from kernelport_ops.autoscale.providers.provider import (
    NoCapacityError,
    Offer,
    Order,
    Provider,
    ProviderError,
    RefusedError,
)

log = logging.getLogger(__name__)

# One look launches no more than this, so that none takes long.
LAUNCHES_A_LOOK = 3
# After machines that did not come up: the pause before the next launch, doubled with each, and the longest.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 30.0, 900.0


@dataclass
class _Trouble:
    """Launches for a deployment that came to nothing, one after the other."""

    count: int = 0
    pause_until: float = 0.0


class Launching:
    """Launches for one fleet.

    Args:
        purse: what can be spent at this moment.
        now: Unix time in seconds.
    """

    def __init__(
        self,
        fleet: str,
        provider: Provider,
        ledger: Ledger,
        lock: Lock,
        purse: Callable[[], Purse],
        now: Callable[[], float],
    ) -> None:
        self._fleet = fleet
        self._provider = provider
        self._ledger = ledger
        self._lock = lock
        self._purse = purse
        self._now = now
        self._trouble: dict[str, _Trouble] = {}

    def launch(self, name: str, workers: int) -> list[str]:
        """Launches machines for up to `workers` workers; says what was done."""
        trouble = self._trouble.get(name, _Trouble())
        if self._now() < trouble.pause_until:
            return [f"none yet: {trouble.count} machines in a row did not come up"]
        actions: list[str] = []
        offers = self._provider.offers()
        for _ in range(LAUNCHES_A_LOOK):
            if workers <= 0:
                break
            offer = next((o for o in offers if o.workers <= workers), offers[0] if offers else None)
            if offer is None:
                actions.append("none: no machine is to be had now")
                break
            refusal = self._purse().refusal(offer.price)
            if refusal is not None:
                log.warning("no machine for %s: %s", name, refusal)
                actions.append(f"none: {refusal}")
                break
            try:
                self._launch_one(name, offer)
            except NoCapacityError as error:
                log.info("no capacity for %s in %s: %s", offer.kind, offer.region or "here", error)
                actions.append(f"no capacity: {offer.kind} {offer.region}".rstrip())
                offers = [each for each in offers if each != offer]
                continue
            actions.append(describe(offer))
            workers -= offer.workers
        return actions

    def _launch_one(self, name: str, offer: Offer) -> None:
        epoch = int(self._now())
        order = Order(
            machine_name(self._fleet, name, epoch, secrets.token_hex(3)), name, offer, epoch, self._lock.token
        )
        if not self._lock.hold():
            raise FencedError("another autoscaler has the lock")
        self._ledger.order(order)
        log.info("launching %s: %s", order.name, describe(offer))
        try:
            self._provider.launch(order, self._lock.check)
        except (NoCapacityError, FencedError):
            self._ledger.forget(order.name)
            raise
        except RefusedError as error:
            self._ledger.forget(order.name)
            self.failed(name)
            log.error("the launch of %s was refused: %s", order.name, error)
        except ProviderError as error:
            log.warning("the launch of %s is in doubt: %s", order.name, error)

    def failed(self, name: str) -> None:
        """A machine for a deployment did not come up."""
        trouble = self._trouble.setdefault(name, _Trouble())
        trouble.count += 1
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (trouble.count - 1))
        trouble.pause_until = self._now() + pause_s
        log.warning("%d machines for %s in a row did not come up; none for %g s", trouble.count, name, pause_s)

    def succeeded(self, name: str) -> None:
        """A machine for a deployment came up."""
        self._trouble.pop(name, None)


def describe(offer: Offer) -> str:
    """A launch, in words for people."""
    where = f" in {offer.region}" if offer.region else ""
    return f"launch {offer.kind}{where} at ${offer.price:.2f}/h for {offer.workers} worker(s)"
