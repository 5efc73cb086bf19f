"""What keeps two autoscalers apart, machines from being forgotten, and money from being spent twice."""

from collections.abc import Callable, Iterator, Sequence

import pytest
from redis import Redis

from kernelport.broker import keys
from kernelport.broker.registry import beat, forget
from kernelport.config.deployments import Deployment
from kernelport.config.scaling import Autoscale, Budget, Scaling
from kernelport.internal.v1.queue_pb2 import ServedDeployment, WorkerRecord
from kernelport.supervisor.stack import Stack
from kernelport.v1.deployment_pb2 import Worker
from kernelport_ops.autoscale.budget import Purse
from kernelport_ops.autoscale.controller import Controller
from kernelport_ops.autoscale.demand import DemandReader
from kernelport_ops.autoscale.launching import Launching
from kernelport_ops.autoscale.ledger import IN_DOUBT_S, Ledger
from kernelport_ops.autoscale.lock import TTL_S, FencedError, Lock
from kernelport_ops.autoscale.naming import belongs_to, epoch_of, machine_name
from kernelport_ops.autoscale.providers.lambda_cloud.reaper import orphans
from kernelport_ops.autoscale.providers.provider import Machine, Offer, Order, Status

FLEET = "testfleet"
OFFER = Offer("gpu_1x_a10", "us-west-1", 1, 1.2)
ORDER = Order("kp-testfleet-speech-1000-abc", "speech", OFFER, 1000, 1)


@pytest.fixture
def redis(stack: Stack) -> Iterator[Redis]:
    with Redis.from_url(stack.settings.redis_url) as connected:
        yield connected
        for key in (keys.autoscale_lock(FLEET), keys.autoscale_fence(FLEET), keys.autoscale_machines(FLEET)):
            connected.delete(key)


def machine(**changes: object) -> Machine:
    fields = {"name": ORDER.name, "deployment": "speech", "workers": 1, "price": 1.2, "launched_at": 1000.0}
    return Machine(**{**fields, "status": Status.RUNNING, "id": "i-1", **changes})  # type: ignore[arg-type]


def test_the_lock_goes_to_one_and_each_holder_has_a_higher_token(redis: Redis) -> None:
    first, second = Lock(redis, FLEET), Lock(redis, FLEET)
    assert first.hold()
    assert not second.hold()
    assert first.hold(), "its holder keeps it"
    first.release()
    assert second.hold()
    assert second.token > first.token
    assert 0 < redis.ttl(keys.autoscale_lock(FLEET)) <= TTL_S


def test_an_autoscaler_that_was_paused_changes_nothing_after_another_took_over(redis: Redis) -> None:
    paused, next_one = Lock(redis, FLEET), Lock(redis, FLEET)
    assert paused.hold()
    redis.delete(keys.autoscale_lock(FLEET))  # as when its time is over
    assert next_one.hold()
    with pytest.raises(FencedError):
        Ledger(redis, FLEET, paused).order(ORDER)
    assert not redis.exists(keys.autoscale_machines(FLEET))


def test_a_holder_stops_acting_before_the_lock_can_have_passed_on(redis: Redis) -> None:
    now = 0.0
    lock = Lock(redis, FLEET, monotonic=lambda: now)
    assert lock.hold()
    lock.check()
    now = TTL_S - 1
    with pytest.raises(FencedError):
        lock.check()


def ledger_of(redis: Redis) -> Ledger:
    lock = Lock(redis, FLEET)
    redis.delete(keys.autoscale_lock(FLEET))
    assert lock.hold()
    ledger = Ledger(redis, FLEET, lock)
    ledger.read()
    return ledger


def test_a_launch_is_known_after_a_restart_before_it_was_ever_listed(redis: Redis) -> None:
    ledger_of(redis).order(ORDER)
    again = ledger_of(redis)
    assert [entry.name for entry in again.live] == [ORDER.name]
    again.reconcile([], 1000 + IN_DOUBT_S / 2)
    assert again.live, "it may still show up"
    again.reconcile([], 1000 + IN_DOUBT_S + 1)
    assert not again.live
    again.reconcile([machine()], 1400)
    assert [entry.id for entry in again.live] == ["i-1"], "it showed up all the same"


def test_machines_that_nobody_knows_are_taken_in_with_their_age(redis: Redis) -> None:
    ledger = ledger_of(redis)
    assert "taken in" in ledger.reconcile([machine()], 4600)[0]
    assert ledger.spent(4600, since=0) == pytest.approx(1.2)


def test_every_begun_minute_of_the_last_24_hours_is_counted(redis: Redis) -> None:
    ledger = ledger_of(redis)
    ledger.reconcile([machine()], 1000)
    ledger.reconcile([], 1000 + 3601)
    assert ledger.spent(1e6, since=0) == pytest.approx(1.2 * 61 / 60)
    assert ledger.spent(1e6, since=1000 + 1800) == pytest.approx(1.2 * 31 / 60)


def test_no_launch_passes_the_hourly_sum_or_starts_what_the_day_cannot_pay() -> None:
    budget = Budget(per_hour=2.0, per_day=10.0)
    assert Purse(budget, rate=1.2, spent=0, stop_s=30).refusal(1.2) == ("$1.20/h run, $1.20/h more would pass $2.00/h")
    assert Purse(budget, rate=0.0, spent=0, stop_s=30).refusal(1.2) is None
    assert "of $10.00 a day" in (Purse(budget, rate=0.0, spent=9.8, stop_s=30).refusal(1.2) or "")


class Market:
    """Machines that can always be had."""

    boot_limit_s = 60.0

    def __init__(self) -> None:
        self.launched: list[str] = []
        self.running: list[Machine] = []

    def offers(self) -> list[Offer]:
        return [OFFER, Offer("gpu_8x_a100", "us-east-1", 8, 11.0)]

    def machines(self) -> list[Machine]:
        return self.running

    def launch(self, order: Order, may_act: Callable[[], None]) -> None:
        may_act()
        self.launched.append(order.offer.kind)
        self.running.append(machine(name=order.name, workers=order.offer.workers, launched_at=float(order.epoch)))

    def drain(self, machine: Machine) -> None: ...

    def is_drained(self, machine: Machine) -> bool:
        return True

    def terminate(self, machines: Sequence[Machine]) -> None: ...

    def close(self) -> None: ...


def test_a_plan_says_what_is_launched_then_and_changes_nothing(redis: Redis) -> None:
    lock, market = Lock(redis, FLEET), Market()
    assert lock.hold()
    ledger = Ledger(redis, FLEET, lock)
    budget = Budget(per_hour=3.0, per_day=50.0)
    launching = Launching(FLEET, market, ledger, lock, lambda: Purse.of(budget, ledger, 30, 1000), lambda: 1000.0)
    planned = launching.plan("speech", workers=3)
    assert not redis.exists(keys.autoscale_machines(FLEET))
    assert planned.actions == [
        "launch gpu_1x_a10 in us-west-1 at $1.20/h for 1 worker",
        "launch gpu_1x_a10 in us-west-1 at $1.20/h for 1 worker",
        "none: $2.40/h run, $1.20/h more would pass $3.00/h",
    ]
    assert launching.launch("speech", planned) == (planned.actions, "budget")
    assert market.launched == ["gpu_1x_a10", "gpu_1x_a10"]


def test_machines_that_a_dry_run_finds_are_not_noted(redis: Redis) -> None:
    ledger = ledger_of(redis)
    ledger.imagine([machine()], set(), 4600)
    assert [entry.name for entry in ledger.live] == [ORDER.name]
    assert not redis.exists(keys.autoscale_machines(FLEET))


def test_a_dry_run_counts_a_machine_once_whose_workers_have_become_ready_since_the_last_look(redis: Redis) -> None:
    speech = Deployment(name="speech", backend="onnx", image="any", pipeline="a:B", scaling=Scaling(min=2, max=2))
    market, demand = Market(), DemandReader(redis)
    autoscaler = Controller(
        redis, {"speech": speech}, Autoscale(fleet=FLEET), market, demand, Lock(redis, FLEET), stop_s=30
    )
    autoscaler.run_once()
    noted = redis.hgetall(keys.autoscale_machines(FLEET))
    workers = [worker for each in market.running for worker in each.worker_ids]
    try:
        for worker in workers:
            served = [ServedDeployment(name="speech")]
            beat(redis, WorkerRecord(worker=Worker(id=worker), deployments=served), ttl_s=60)
        (plan,) = autoscaler.preview()
        assert (plan.seen.ready, plan.seen.starting, plan.actions) == (2, (), ())
        assert redis.hgetall(keys.autoscale_machines(FLEET)) == noted
    finally:
        for worker in workers:
            forget(redis, worker)


def test_machines_go_while_there_is_money_for_them_to_finish() -> None:
    budget = Budget(per_hour=2.0, per_day=10.0)
    assert not Purse(budget, rate=1.2, spent=9.0, stop_s=30).must_drain()
    late = Purse(budget, rate=1.2, spent=9.87, stop_s=30)
    assert late.must_drain()
    assert not late.must_end()
    assert Purse(budget, rate=1.2, spent=9.95, stop_s=30).must_end()


def test_names_tell_fleet_and_launch_and_are_host_names() -> None:
    name = machine_name("main", "My.Long_Deployment-Name-With-Many-Letters", 1700000000, "a1b2c3")
    assert len(name) <= 63
    assert epoch_of(name) == 1700000000
    assert belongs_to("main", name)
    assert not belongs_to("other", name)
    assert epoch_of("somebody-else") is None


def test_the_reaper_takes_what_nobody_looks_after_and_nothing_else() -> None:
    young, silent, heard, old, ending = (
        machine(name="young", launched_at=9000.0),
        machine(name="silent", launched_at=5000.0),
        machine(name="heard", launched_at=5000.0),
        machine(name="old", launched_at=0.0),
        machine(name="ending", launched_at=0.0, status=Status.ENDING),
    )
    found = orphans(
        [young, silent, heard, old, ending], {"heard.0", "old.0"}, {}, now=10_000, grace_s=1200, max_age_s=9500
    )
    assert [(each.machine.name, each.reason) for each in found] == [
        ("silent", "no worker of it is heard of, 83 min after its launch"),
        ("old", "it is 2.8 h old"),
    ]
