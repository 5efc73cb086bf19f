"""What an autoscaler tells of itself for pages."""

import json

from redis import Redis

from kernelport.broker import keys
from kernelport.config.scaling import Budget
from kernelport.supervisor.stack import Stack
from kernelport_ops.autoscale.budget import Purse
from kernelport_ops.autoscale.controller import Plan
from kernelport_ops.autoscale.launching import Launches
from kernelport_ops.autoscale.ledger import Entry
from kernelport_ops.autoscale.policy import Decision, Demand, Observation
from kernelport_ops.autoscale.report import publish

FLEET = "reportfleet"


def test_the_machines_the_money_and_what_comes_next_are_in_redis(stack: Stack) -> None:
    entry = Entry("kp-m-1", "speech", 2, 1.2, launched_at=1000.0)
    going = Entry("kp-m-2", "speech", 1, 0.8, launched_at=900.0, ready_at=950.0, drain_at=2000.0)
    seen = Observation(Demand(waiting=40), ready=1, starting=(5.0, 5.0), boot_s=60.0)
    plan = Plan("speech", seen, Decision(4, "40 requests wait"), Launches(held_back="budget"), (), ("none: too dear",))
    purse = Purse(Budget(per_hour=4, per_day=20), rate=2.0, spent=3.5, stop_s=30)
    with Redis.from_url(stack.settings.redis_url) as redis:
        try:
            publish(redis, FLEET, 2100.0, purse, [entry, going], [plan])
            value = redis.get(keys.autoscale_report(FLEET))
            assert isinstance(value, bytes)
            assert 0 < redis.ttl(keys.autoscale_report(FLEET)) <= keys.MACHINES_TTL_S
        finally:
            redis.delete(keys.autoscale_report(FLEET))
    told = json.loads(value)
    assert (told["dollars_per_hour"], told["dollars_last_day"], told["budget_per_day"]) == (2.0, 3.5, 20)
    assert [(each["name"], each["state"]) for each in told["machines"]] == [
        ("kp-m-1", "starting"),
        ("kp-m-2", "draining"),
    ]
    assert told["plans"] == [
        {
            "deployment": "speech",
            "ready": 1,
            "starting": 2,
            "wanted": 4,
            "reason": "40 requests wait",
            "actions": ["none: too dear"],
            "held_back": "budget",
        }
    ]
