"""The control loop: look, decide, act; once every few seconds.

Everything that must outlive this process is in the ledger or at the provider; a controller that starts finds there what
the one before it had begun, and goes on with it.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from redis import Redis

from kernelport.broker.clock import clock
from kernelport.broker.registry import read_workers
from kernelport.config.deployments import Deployment
from kernelport.config.scaling import Autoscale, Scaling
from kernelport.telemetry import metrics
from kernelport_ops.autoscale.budget import Purse
from kernelport_ops.autoscale.demand import DemandReader
from kernelport_ops.autoscale.launching import HeldBack, Launches, Launching
from kernelport_ops.autoscale.ledger import Entry, Ledger
from kernelport_ops.autoscale.lock import Lock
from kernelport_ops.autoscale.maintenance import Maintenance, heard_of
from kernelport_ops.autoscale.policy import Decision, Observation, State, decide
from kernelport_ops.autoscale.providers.provider import Provider

log = logging.getLogger(__name__)

# How long a machine has, beyond its workers' own limit, to finish its work before it is ended all the same.
DRAIN_MARGIN_S = 30.0
_METRICS = (
    metrics.AUTOSCALE_WORKERS,
    metrics.AUTOSCALE_HELD_BACK,
    metrics.AUTOSCALE_RATE,
    metrics.AUTOSCALE_SPENT,
    metrics.AUTOSCALE_BUDGET,
)


@dataclass(frozen=True)
class Plan:
    """What a look decided for one deployment.

    Attributes:
        seen: what was there.
        decision: how many workers there should be, and why.
        launches, removals: what there is to do about it.
        actions: the same, or what has become of it, in words for people.
    """

    deployment: str
    seen: Observation
    decision: Decision
    launches: Launches
    removals: Sequence[Entry]
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
        now: Callable[[], float] = clock.now,
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
        self.ledger = Ledger(redis, autoscale.fleet, lock)
        self._launching = Launching(autoscale.fleet, provider, self.ledger, lock, self.purse, now)
        drain_s = stop_s + DRAIN_MARGIN_S
        self._maintenance = Maintenance(
            redis, self._scaled, provider, demand, self.ledger, self._launching, drain_s, now
        )

    def run_once(self) -> list[Plan] | None:
        """One round; None while another autoscaler has the lock.

        Raises:
            ProviderError: when the machines cannot be listed: then nothing is done.
            RedisError: when Redis is away: then nothing is done, either.
            FencedError: when another autoscaler took over in the middle.
        """
        if not self._lock.hold():
            self.forget_metrics()
            return None
        self.ledger.read()
        listed = self._provider.machines()
        for finding in self.ledger.reconcile(listed, self._now()):
            log.info("%s", finding)
        self._maintenance.run_once(self.purse)
        plans = [self._carry_out(self._plan(name, scaling)) for name, scaling in self._scaled.items()]
        self._show(plans)
        return plans

    def preview(self) -> list[Plan]:
        """What a look would decide and do, but for machines that it would end first: those that have failed, or were
        lost for too long, and those that a budget no longer pays for. Changes nothing and needs no lock."""
        self.ledger.read()
        self.ledger.imagine(self._provider.machines(), heard_of(self._redis), self._now())
        return [self._plan(name, scaling) for name, scaling in self._scaled.items()]

    def forget_metrics(self) -> None:
        """Nothing is known of the fleet, or it is for another autoscaler to say."""
        for gauge in _METRICS:
            gauge.forget()

    def _show(self, plans: Sequence[Plan]) -> None:
        """Sets the metrics."""
        workers: dict[tuple[str, ...], float] = {}
        held_back: dict[tuple[str, ...], float] = {}
        for plan in plans:
            counts = {"ready": plan.seen.ready, "starting": len(plan.seen.starting), "wanted": plan.decision.workers}
            workers |= {(plan.deployment, state): count for state, count in counts.items()}
            held_back |= {(plan.deployment, reason): reason == plan.launches.held_back for reason in get_args(HeldBack)}
        purse = self.purse()
        metrics.AUTOSCALE_WORKERS.show(workers)
        metrics.AUTOSCALE_HELD_BACK.show(held_back)
        metrics.AUTOSCALE_RATE.set(purse.rate)
        metrics.AUTOSCALE_SPENT.set(purse.spent)
        if purse.budget is not None:
            metrics.AUTOSCALE_BUDGET.show({("hour",): purse.budget.per_hour, ("day",): purse.budget.per_day})

    def purse(self) -> Purse:
        """What can be spent now."""
        return Purse.of(self._autoscale.budget, self.ledger, self._stop_s + DRAIN_MARGIN_S, self._now())

    def _decide(self, name: str, scaling: Scaling) -> tuple[Observation, Decision]:
        now = self._now()
        entries = [entry for entry in self.ledger.live if entry.deployment == name]
        going = {worker for entry in entries if entry.going for worker in entry.worker_ids}
        # By worker, how many requests it has in hand at most.
        serving = {
            record.worker.id: served.capacity or 1
            for record in read_workers(self._redis)
            for served in record.deployments
            if served.name == name and record.worker.id not in going
        }
        # What was lost a moment ago may come back, or is ended soon; until then it counts as one that starts.
        starting = tuple(
            now - (entry.launched_at if entry.ready_at is None else entry.lost_at or now)
            for entry in entries
            if not entry.going and (entry.ready_at is None or entry.lost_at is not None)
            for _ in range(entry.workers)
        )
        demand = self._demand.read(name, len(serving), sum(serving.values()), now)
        seen = Observation(demand, len(serving), starting, self._demand.boot_s(name))
        decision, self._states[name] = decide(scaling, seen, self._states.get(name, State()), now)
        return seen, decision

    def _plan(self, name: str, scaling: Scaling) -> Plan:
        seen, decision = self._decide(name, scaling)
        more = decision.workers - seen.workers
        launches = self._launching.plan(name, more) if more > 0 else Launches()
        removals = self._to_remove(name, -more)
        actions = [*launches.actions, *(f"drain {entry.name}" for entry in removals)]
        return Plan(name, seen, decision, launches, removals, tuple(actions))

    def _carry_out(self, plan: Plan) -> Plan:
        """The plan with what has become of it."""
        for entry in plan.removals:
            self._maintenance.remove(entry, plan.decision.reason)
        if not plan.launches.workers:
            return plan
        actions, held_back = self._launching.launch(plan.deployment, plan.launches)
        return replace(plan, actions=tuple(actions), launches=replace(plan.launches, held_back=held_back))

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
