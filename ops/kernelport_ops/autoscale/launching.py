"""Launches machines, and stops trying for a while when they do not come up."""

import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from kernelport.counting import counted
from kernelport.telemetry import audit
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


HeldBack = Literal["budget", "no_capacity", "failing"]


@dataclass
class _Trouble:
    """Launches for a deployment that came to nothing, one after the other."""

    count: int = 0
    pause_until: float = 0.0


@dataclass(frozen=True)
class Launches:
    """What to launch for a deployment.

    Attributes:
        workers: how many are wanted.
        offers: what there is to choose from.
        chosen: the machines to launch, one after the other.
        refusal: why these are not enough; empty when they are.
        held_back: the same in a word; None when they are.
    """

    workers: int = 0
    offers: Sequence[Offer] = ()
    chosen: Sequence[Offer] = ()
    refusal: str = ""
    held_back: HeldBack | None = None

    @property
    def actions(self) -> list[str]:
        """The same in words for people."""
        return [*map(describe, self.chosen), *filter(None, [self.refusal])]


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

    def plan(self, name: str, workers: int) -> Launches:
        """What to launch for up to `workers` workers."""
        trouble = self._trouble.get(name, _Trouble())
        if self._now() < trouble.pause_until:
            refusal = f"none yet: {trouble.count} machines in a row did not come up"
            return Launches(workers, refusal=refusal, held_back="failing")
        return self._choose(workers, self._provider.offers())

    def launch(self, name: str, planned: Launches) -> tuple[list[str], HeldBack | None]:
        """Launches what was planned, or what can be had in its place; says what was done, and why that is less."""
        actions: list[str] = []
        for _ in range(LAUNCHES_A_LOOK):
            if not planned.chosen:
                break
            offer, workers, offers = planned.chosen[0], planned.workers, planned.offers
            try:
                self._launch_one(name, offer)
                actions.append(describe(offer))
                workers -= offer.workers
            except NoCapacityError as error:
                log.info("no capacity for %s in %s: %s", offer.kind, offer.region or "here", error)
                actions.append(f"no capacity: {offer.kind} {offer.region}".rstrip())
                offers = [each for each in offers if each != offer]
            planned = self._choose(workers, offers)
        return [*actions, *filter(None, [planned.refusal])], planned.held_back

    def _choose(self, workers: int, offers: Sequence[Offer]) -> Launches:
        """The cheapest machines that make up a number of workers, as far as there are any and they can be paid."""
        chosen: list[Offer] = []
        purse, missing = self._purse(), workers
        while missing > 0 and len(chosen) < LAUNCHES_A_LOOK:
            offer = next((o for o in offers if o.workers <= missing), offers[0] if offers else None)
            if offer is None:
                return Launches(workers, offers, chosen, "none: no machine is to be had now", "no_capacity")
            if (refusal := purse.refusal(offer.price)) is not None:
                return Launches(workers, offers, chosen, f"none: {refusal}", "budget")
            chosen.append(offer)
            purse = purse.with_machine(offer.price)
            missing -= offer.workers
        return Launches(workers, offers, chosen)

    def _launch_one(self, name: str, offer: Offer) -> None:
        epoch = int(self._now())
        order = Order(
            machine_name(self._fleet, name, epoch, secrets.token_hex(3)), name, offer, epoch, self._lock.token
        )
        if not self._lock.hold():
            raise FencedError("another autoscaler has the lock")
        self._ledger.order(order)
        log.info("launching %s: %s", order.name, describe(offer))
        outcome = audit.DONE
        try:
            self._provider.launch(order, self._lock.check)
        except (NoCapacityError, FencedError):
            self._ledger.forget(order.name)
            raise
        except RefusedError as error:
            self._ledger.forget(order.name)
            self.failed(name)
            log.error("the launch of %s was refused: %s", order.name, error)
            return
        except ProviderError as error:
            log.warning("the launch of %s is in doubt: %s", order.name, error)
            outcome = audit.UNCERTAIN
        audit.record("machine.launch", order.name, actor="autoscaler", outcome=outcome, offer=describe(offer))

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
    return f"launch {offer.kind}{where} at ${offer.price:.2f}/h for {counted(offer.workers, 'worker')}"
