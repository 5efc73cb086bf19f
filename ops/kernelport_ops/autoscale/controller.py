"""The control loop: look, decide, act; once every few seconds.

Everything that must outlive this process is in the ledger or at the provider; a controller that starts finds there what
the one before it had begun, and goes on with it.
"""

import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from redis import Redis

from kernelport import metrics
from kernelport.deployments import Deployment
from kernelport.registry import workers_now
from kernelport.scaling import Autoscale, Scaling
from kernelport_ops.autoscale.budget import Purse
from kernelport_ops.autoscale.demand import DemandReader
from kernelport_ops.autoscale.ledger import Entry, Ledger
from kernelport_ops.autoscale.lock import FencedError, Lock
from kernelport_ops.autoscale.naming import machine_name
from kernelport_ops.autoscale.policy import Decision, Observation, State, decide
from kernelport_ops.autoscale.provider import (
    NoCapacityError,
    Offer,
    Order,
    Provider,
    ProviderError,
    RefusedError,
    Status,
)

log = logging.getLogger(__name__)

# A worker that was ready and has not been heard of for this long is taken for dead.
LOST_S = 120.0
# How long a machine has, beyond its workers' own limit, to finish its work before it is ended all the same.
DRAIN_MARGIN_S = 30.0
# An end that the provider has not begun is asked for again after this.
END_AGAIN_S = 30.0
# One look launches no more than this, so that none takes long.
LAUNCHES_A_LOOK = 3
# After machines that did not come up: the pause before the next launch, doubled with each, and the longest.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 30.0, 900.0


@dataclass
class Trouble:
    """Launches of a deployment that came to nothing, one after the other."""

    count: int = 0
    pause_until: float = 0.0


@dataclass(frozen=True)
class Plan:
    """What a look decided for one deployment.

    Attributes:
        seen: what was there.
        decision: how many workers there should be, and why.
        actions: what is done about it, in words for people.
    """

    deployment: str
    seen: Observation
    decision: Decision
    actions: tuple[str, ...]


class Controller:
    """Scales the deployments that have a `scaling`.

    Args:
        stop_s: how long a worker that is told to stop may take to finish, in seconds.
        now: Unix time in seconds.
    """

    def __init__(
        self,
        redis: Redis,
        deployments: Mapping[str, Deployment],
        autoscale: Autoscale,
        provider: Provider,
        demand: DemandReader,
        lock: Lock,
        stop_s: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._redis = redis
        self._scaled: dict[str, Scaling] = {name: d.scaling for name, d in deployments.items() if d.scaling}
        self._autoscale = autoscale
        self._provider = provider
        self._demand = demand
        self._lock = lock
        self._stop_s = stop_s
        self._now = now
        self._states: dict[str, State] = {}
        self._trouble: dict[str, Trouble] = {}
        self.ledger = Ledger(redis, autoscale.fleet, lock)

    def look(self) -> list[Plan] | None:
        """One round; None while another autoscaler has the lock.

        Raises:
            ProviderError: when the machines cannot be listed: then nothing is done.
            RedisError: when Redis is away: then nothing is done, either.
            FencedError: when another autoscaler took over in the middle.
        """
        if not self._lock.hold():
            return None
        self.ledger.read()
        listed = self._provider.machines()
        for finding in self.ledger.settle(listed, self._now()):
            log.info("%s", finding)
        self._hear()
        self._clear_away()
        self._keep_to_budget()
        plans = [self._scale(name, scaling) for name, scaling in self._scaled.items()]
        self._show(plans)
        return plans

    def preview(self) -> list[Plan]:
        """What a look would decide and do. Changes nothing and needs no lock."""
        self.ledger.read()
        known = self.ledger.entries
        for machine in self._provider.machines():
            if machine.name not in known:
                known[machine.name] = Entry(
                    machine.name, machine.deployment, machine.workers, machine.price, machine.launched_at, seen=True
                )
        plans = []
        for name, scaling in self._scaled.items():
            seen, decision = self._decide(name, scaling)
            more = decision.workers - seen.workers
            actions: list[str] = []
            if more > 0:
                actions += [self._launch_words(offer) for offer in self._affordable(self._offers(), more)]
                actions = actions or ["nothing: no machine can be had within the budget"]
            elif more < 0:
                actions += [f"drain {entry.name}" for entry in self._to_remove(name, -more)]
            plans.append(Plan(name, seen, decision, tuple(actions)))
        return plans

    def _show(self, plans: Sequence[Plan]) -> None:
        """Sets the metrics."""
        for plan in plans:
            counts = {"ready": plan.seen.ready, "starting": len(plan.seen.starting), "wanted": plan.decision.workers}
            for state, count in counts.items():
                metrics.AUTOSCALE_WORKERS.labels(plan.deployment, state).set(count)
        purse = self._purse()
        metrics.AUTOSCALE_RATE.set(purse.rate)
        metrics.AUTOSCALE_SPENT.set(purse.spent)

    # What was heard of the machines that there are.

    def _hear(self) -> None:
        """Notes of which machines' workers something is heard."""
        now = self._now()
        heard = {record.worker.id for record in workers_now(self._redis)}
        for entry in self.ledger.live:
            alive = any(worker in heard for worker in entry.worker_ids)
            if alive and entry.ready_at is None:
                self.ledger.change(entry.name, ready_at=now, lost_at=None)
                self._demand.note_boot(entry.deployment, now - entry.launched_at)
                self._trouble.pop(entry.deployment, None)
            elif alive and entry.lost_at is not None:
                self.ledger.change(entry.name, lost_at=None)
            elif not alive and entry.ready_at is not None and entry.lost_at is None:
                self.ledger.change(entry.name, lost_at=now)

    def _clear_away(self) -> None:
        """Ends machines that are of no use: finished, failed, lost, or never ready."""
        now = self._now()
        ending: list[tuple[Entry, str]] = []
        for entry in self.ledger.live:
            if not entry.seen:
                continue  # nothing to end yet; if it shows up, this is looked at again
            if entry.deployment not in self._scaled and entry.ready_at is not None and not entry.going:
                self._drain(entry, f"{entry.deployment or 'what it serves'} is not scaled any more")
                continue
            reason = self._reason_to_end(entry, now)
            if reason is None:
                continue
            if not entry.going and entry.ready_at is None:
                self._note_trouble(entry.deployment)
            ending.append((entry, reason))
        self._end(ending)

    def _reason_to_end(self, entry: Entry, now: float) -> str | None:
        if entry.terminate_at is not None:
            again = entry.status is not Status.ENDING and now - entry.terminate_at > END_AGAIN_S
            return "it was told to end and has not begun to" if again else None
        if entry.drain_at is not None:
            if self._provider.is_drained(entry.machine):
                return "it has finished its work"
            late = now - entry.drain_at > self._stop_s + DRAIN_MARGIN_S
            return "it did not finish in time; its work goes to others" if late else None
        if entry.status is Status.FAILED and (entry.ready_at is None or entry.lost_at is not None):
            return "it failed"
        if entry.ready_at is None and now - entry.launched_at > self._provider.boot_limit_s:
            return f"no worker of it was ready within {self._provider.boot_limit_s:g} s"
        if entry.lost_at is not None and now - entry.lost_at > LOST_S:
            return f"its workers have not been heard of for {LOST_S:g} s"
        if entry.deployment not in self._scaled:
            return f"{entry.deployment or 'what it serves'} is not scaled"
        return None

    def _end(self, ending: Sequence[tuple[Entry, str]]) -> None:
        if not ending:
            return
        for entry, reason in ending:
            log.info("ending %s: %s", entry.name, reason)
            self.ledger.change(entry.name, terminate_at=self._now())
        self._provider.terminate([entry.machine for entry, _ in ending])

    def _drain(self, entry: Entry, reason: str) -> None:
        log.info("draining %s: %s", entry.name, reason)
        self.ledger.change(entry.name, drain_at=self._now())
        self._provider.drain(entry.machine)

    # Money.

    def _purse(self) -> Purse:
        return Purse.of(self._autoscale.budget, self.ledger, self._stop_s + DRAIN_MARGIN_S, self._now())

    def _keep_to_budget(self) -> None:
        """Lets machines go while there is still money for them to finish; ends them when there is not."""
        purse = self._purse()
        if purse.must_end():
            self._end([(entry, "the day's budget is spent") for entry in self.ledger.live if not entry.terminate_at])
        elif purse.must_drain():
            for entry in self.ledger.live:
                if not entry.going and entry.seen:
                    self._drain(entry, "the day's budget will be spent")

    def _affordable(self, offers: Sequence[Offer], workers: int) -> list[Offer]:
        """The cheapest offers that make up a number of workers, one a kind and place, within the budget."""
        purse = self._purse()
        chosen: list[Offer] = []
        for offer in offers:
            if workers <= 0:
                break
            if purse.refusal(offer.price + sum(each.price for each in chosen)) is None:
                chosen.append(offer)
                workers -= offer.workers
        return chosen

    # Numbers.

    def _decide(self, name: str, scaling: Scaling) -> tuple[Observation, Decision]:
        now = self._now()
        entries = [entry for entry in self.ledger.live if entry.deployment == name]
        going = {worker for entry in entries if entry.going for worker in entry.worker_ids}
        serving = {
            record.worker.id
            for record in workers_now(self._redis)
            if any(served.name == name for served in record.deployments)
        } - going
        # What was lost a moment ago may come back, or is ended soon; until then it counts as one that starts.
        starting = tuple(
            now - (entry.launched_at if entry.ready_at is None else entry.lost_at or now)
            for entry in entries
            if not entry.going and (entry.ready_at is None or entry.lost_at is not None)
            for _ in range(entry.workers)
        )
        demand = self._demand.read(name, len(serving), now)
        seen = Observation(demand, len(serving), starting, self._demand.boot_s(name))
        decision, self._states[name] = decide(scaling, seen, self._states.get(name, State()), now)
        return seen, decision

    def _scale(self, name: str, scaling: Scaling) -> Plan:
        seen, decision = self._decide(name, scaling)
        more = decision.workers - seen.workers
        actions: list[str] = []
        if more > 0:
            actions = self._launch(name, more)
        elif more < 0:
            for entry in self._to_remove(name, -more):
                self._drain_or_end(entry, decision.reason)
                actions.append(f"drain {entry.name}")
        return Plan(name, seen, decision, tuple(actions))

    def _drain_or_end(self, entry: Entry, reason: str) -> None:
        if entry.ready_at is None and entry.seen:
            self._end([(entry, f"not needed any more: {reason}")])
        elif entry.seen:
            self._drain(entry, reason)

    def _to_remove(self, name: str, workers: int) -> list[Entry]:
        """Machines with at most `workers` workers together: those that start first, then the dearest and youngest."""
        candidates = [entry for entry in self.ledger.live if entry.deployment == name and not entry.going]
        candidates.sort(key=lambda e: (e.ready_at is not None, -e.price / e.workers, -e.launched_at))
        removed: list[Entry] = []
        for entry in candidates:
            if entry.workers <= workers:
                removed.append(entry)
                workers -= entry.workers
        return removed

    # Launches.

    def _offers(self) -> list[Offer]:
        return self._provider.offers()

    def _launch(self, name: str, workers: int) -> list[str]:
        """Launches machines for up to `workers` workers; says what was done."""
        trouble = self._trouble.get(name, Trouble())
        if self._now() < trouble.pause_until:
            return [f"none yet: {trouble.count} machines in a row did not come up"]
        actions: list[str] = []
        offers = self._offers()
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
            actions.append(self._launch_words(offer))
            workers -= offer.workers
        return actions

    def _launch_one(self, name: str, offer: Offer) -> None:
        epoch = int(self._now())
        order = Order(
            machine_name(self._autoscale.fleet, name, epoch, secrets.token_hex(3)), name, offer, epoch, self._lock.token
        )
        if not self._lock.hold():
            raise FencedError("another autoscaler has the lock")
        self.ledger.order(order)
        log.info("launching %s: %s", order.name, self._launch_words(offer))
        try:
            self._provider.launch(order, self._lock.check)
        except (NoCapacityError, FencedError):
            self.ledger.forget(order.name)
            raise
        except RefusedError as error:
            self.ledger.forget(order.name)
            self._note_trouble(name)
            log.error("the launch of %s was refused: %s", order.name, error)
        except ProviderError as error:
            log.warning("the launch of %s is in doubt: %s", order.name, error)

    def _note_trouble(self, name: str) -> None:
        trouble = self._trouble.setdefault(name, Trouble())
        trouble.count += 1
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (trouble.count - 1))
        trouble.pause_until = self._now() + pause_s
        log.warning("%d machines for %s in a row did not come up; none for %g s", trouble.count, name, pause_s)

    @staticmethod
    def _launch_words(offer: Offer) -> str:
        where = f" in {offer.region}" if offer.region else ""
        return f"launch {offer.kind}{where} at ${offer.price:.2f}/h for {offer.workers} worker(s)"
