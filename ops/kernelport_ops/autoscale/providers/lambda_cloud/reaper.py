"""Finds machines that nobody looks after: independent of the autoscaler, so that its faults cost no money for long."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from kernelport_ops.autoscale.ledger import Entry
from kernelport_ops.autoscale.providers.provider import Machine, Status


@dataclass(frozen=True)
class Orphan:
    """A machine to end, and why."""

    machine: Machine
    reason: str


def orphans(
    machines: Sequence[Machine],
    heard: Collection[str],
    known: dict[str, Entry],
    now: float,
    grace_s: float,
    max_age_s: float,
) -> list[Orphan]:
    """The machines of a fleet that should not be there.

    Args:
        heard: ids of the workers with a heartbeat.
        known: what the autoscaler has noted.
        now: Unix time in seconds.
        grace_s: how long a machine may be without a worker that is heard of, from its launch or from the moment it was
            asked to finish.
        max_age_s: how old a machine may become.
    """
    found = []
    for machine in machines:
        if machine.status is Status.ENDING:
            continue
        age_s = now - machine.launched_at
        if age_s > max_age_s:
            found.append(Orphan(machine, f"it is {age_s / 3600:.1f} h old"))
        elif not any(worker in heard for worker in machine.worker_ids) and age_s > grace_s:
            entry = known.get(machine.name)
            finishing = entry is not None and entry.drain_at is not None and now - entry.drain_at < grace_s
            if not finishing:
                found.append(Orphan(machine, f"no worker of it is heard of, {age_s / 60:.0f} min after its launch"))
    return found
