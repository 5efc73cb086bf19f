"""What an autoscaler tells of itself for pages: the machines, the money, and what each deployment would get next."""

import json
from collections.abc import Sequence

from redis import Redis

from kernelport.broker import keys
from kernelport_ops.autoscale.budget import Purse
from kernelport_ops.autoscale.controller import Plan
from kernelport_ops.autoscale.ledger import Entry


def publish(
    redis: Redis, fleet: str, at: float, purse: Purse, machines: Sequence[Entry], plans: Sequence[Plan]
) -> None:
    """Leaves a report in Redis, in place of the last one.

    Args:
        at: Unix time in seconds.
        machines: those that are paid for.
        plans: what was decided for each deployment, and has become of it.
    """
    budget = purse.budget
    told = {
        "unix_s": at,
        "dollars_per_hour": purse.rate,
        "dollars_last_day": purse.spent,
        "budget_per_hour": budget.per_hour if budget else None,
        "budget_per_day": budget.per_day if budget else None,
        "machines": [_machine(entry) for entry in machines],
        "plans": [_plan(plan) for plan in plans],
    }
    redis.set(keys.autoscale_report(fleet), json.dumps(told), ex=keys.MACHINES_TTL_S)


def _machine(entry: Entry) -> dict[str, object]:
    return {
        "name": entry.name,
        "deployment": entry.deployment,
        "workers": entry.workers,
        "price": entry.price,
        "launched_unix_s": entry.launched_at,
        "state": "draining" if entry.going else "ready" if entry.ready_at is not None else "starting",
    }


def _plan(plan: Plan) -> dict[str, object]:
    return {
        "deployment": plan.deployment,
        "ready": plan.seen.ready,
        "starting": len(plan.seen.starting),
        "wanted": plan.decision.workers,
        "reason": plan.decision.reason,
        "actions": list(plan.actions),
        "held_back": plan.launches.held_back,
    }
