"""Looks after the machines that there are: who is heard of, what is of no use any more, what there is money for."""

import logging
from collections.abc import Callable, Collection, Sequence

from redis import Redis

from kernelport.broker.registry import read_workers
from kernelport.telemetry import audit
from kernelport_ops.autoscale.budget import Purse
from kernelport_ops.autoscale.demand import DemandReader
from kernelport_ops.autoscale.launching import Launching
from kernelport_ops.autoscale.ledger import Entry, Ledger
from kernelport_ops.autoscale.providers.provider import Provider, Status

log = logging.getLogger(__name__)

# A worker that was ready and has not been heard of for this long is taken for dead.
LOST_S = 120.0
# An end that the provider has not begun is asked for again after this.
END_AGAIN_S = 30.0


def heard_of(redis: Redis) -> set[str]:
    """The ids of the workers that something is heard of."""
    return {record.worker.id for record in read_workers(redis)}


class Maintenance:
    """What is done about machines beside launching them.

    Args:
        scaled: names of the deployments that are scaled.
        drain_s: how long a machine has to finish its work before it is ended all the same, in seconds.
        now: Unix time in seconds.
    """

    def __init__(
        self,
        redis: Redis,
        scaled: Collection[str],
        provider: Provider,
        demand: DemandReader,
        ledger: Ledger,
        launching: Launching,
        drain_s: float,
        now: Callable[[], float],
    ) -> None:
        self._redis = redis
        self._scaled = scaled
        self._provider = provider
        self._demand = demand
        self._ledger = ledger
        self._launching = launching
        self._drain_s = drain_s
        self._now = now

    def run_once(self, purse: Callable[[], Purse]) -> None:
        """One round over all machines; `purse` tells what can be spent at this moment."""
        self._hear()
        self._clear_away()
        self._keep_to_budget(purse())

    def remove(self, entry: Entry, reason: str) -> None:
        """Ends a machine that is not needed; one whose workers are ready finishes its work first."""
        if not entry.seen:
            return  # it may not even exist; if it shows up, it is looked at again
        if entry.ready_at is None:
            self._end([(entry, f"not needed any more: {reason}")])
        else:
            self._drain(entry, reason)

    def _hear(self) -> None:
        """Notes of which machines' workers something is heard, and how long those that are new took."""
        now = self._now()
        for entry in self._ledger.hear(heard_of(self._redis), now):
            self._demand.note_boot(entry.deployment, now - entry.launched_at)
            self._launching.succeeded(entry.deployment)

    def _clear_away(self) -> None:
        """Ends machines that are of no use: finished, failed, lost, or never ready."""
        now = self._now()
        ending: list[tuple[Entry, str]] = []
        for entry in self._ledger.live:
            if not entry.seen:
                continue  # nothing to end yet; if it shows up, this is looked at again
            if entry.deployment not in self._scaled and entry.ready_at is not None and not entry.going:
                self._drain(entry, f"{entry.deployment or 'what it serves'} is not scaled any more")
                continue
            reason = self._reason_to_end(entry, now)
            if reason is None:
                continue
            if not entry.going and entry.ready_at is None:
                self._launching.failed(entry.deployment)
            ending.append((entry, reason))
        self._end(ending)

    def _reason_to_end(self, entry: Entry, now: float) -> str | None:
        if entry.terminate_at is not None:
            again = entry.status is not Status.ENDING and now - entry.terminate_at > END_AGAIN_S
            return "it was told to end and has not begun to" if again else None
        if entry.drain_at is not None:
            if self._provider.is_drained(entry.machine):
                return "it has finished its work"
            self._provider.drain(entry.machine)  # should whoever began it have died before it was asked
            late = now - entry.drain_at > self._drain_s
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
            self._ledger.change(entry.name, terminate_at=self._now())
            audit.record("machine.terminate", entry.name, actor="autoscaler", reason=reason)
        self._provider.terminate([entry.machine for entry, _ in ending])

    def _drain(self, entry: Entry, reason: str) -> None:
        log.info("draining %s: %s", entry.name, reason)
        self._ledger.change(entry.name, drain_at=self._now())
        audit.record("machine.drain", entry.name, actor="autoscaler", reason=reason)
        self._provider.drain(entry.machine)

    def _keep_to_budget(self, purse: Purse) -> None:
        """Lets machines go while there is still money for them to finish; ends them when there is not."""
        if purse.must_end():
            self._end([(entry, "the day's budget is spent") for entry in self._ledger.live if not entry.terminate_at])
        elif purse.must_drain():
            for entry in self._ledger.live:
                if not entry.going and entry.seen:
                    self._drain(entry, "the day's budget will be spent")
