"""Tenants share the workers of a deployment by their weights, whatever the number of their jobs."""

import json
from collections import Counter
from collections.abc import Iterator

import pytest
from redis import Redis

from kernelport.access.records import TenantRecord, encode
from kernelport.broker import keys
from kernelport.jobs import scripts
from kernelport.jobs.backlog import Backlog
from kernelport.names import new_job_id, owned, owner_of
from tests.broker.servers import serving_redis

DEPLOYMENT, ITEMS, COST = "voice", 40, 10


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with serving_redis(tmp_path_factory.mktemp("redis")) as started, Redis.from_url(started.url) as redis:
        yield redis


@pytest.fixture
def redis(server: Redis) -> Redis:
    server.flushdb()
    return server


def test_one_job_beside_a_hundred_of_another_tenant_gets_its_half(redis: Redis) -> None:
    make(redis, "acme", 1)
    make(redis, "globex", 100)
    taken = take(redis, 2 * ITEMS - 10)
    assert taken["acme"] == pytest.approx(taken["globex"], rel=0.1)


def test_what_was_there_before_there_were_tenants_shares_like_any(redis: Redis) -> None:
    make(redis, "default", 1)
    redis.delete(keys.job_tenants(DEPLOYMENT))
    make(redis, "acme", 20)
    taken = take(redis, 2 * ITEMS - 10)
    assert taken["default"] == pytest.approx(taken["acme"], rel=0.1)


def test_a_tenant_of_three_times_the_weight_gets_three_times_as_much(redis: Redis) -> None:
    redis.hset(keys.TENANTS, "globex", encode(TenantRecord("globex", weight=3)))
    make(redis, "acme", 5)
    make(redis, "globex", 5)
    taken = take(redis, 80)
    assert taken["globex"] == pytest.approx(3 * taken["acme"], rel=0.1)


@pytest.mark.parametrize("forged", ["soon", "inf", "nan"])
def test_what_others_have_written_of_shares_keeps_nobody_from_a_half(forged: str, redis: Redis) -> None:
    for clock in (keys.jobs_clock(DEPLOYMENT), keys.owned(keys.jobs_clock(DEPLOYMENT), "acme")):
        redis.set(clock, forged)
    redis.rpush(keys.tenants_clock(DEPLOYMENT), forged)
    make(redis, "acme", 1)
    make(redis, "globex", 1)
    taken = take(redis, 2 * ITEMS - 10)
    assert taken["acme"] == pytest.approx(taken["globex"], rel=0.2)


def test_a_share_without_end_is_none_once_it_has_been_served(redis: Redis) -> None:
    make(redis, "acme", 1)
    redis.zadd(keys.job_tenants(DEPLOYMENT), {"acme": "inf"})
    take(redis, 1)
    make(redis, "globex", 1)
    taken = take(redis, 2 * ITEMS - 10)
    assert taken["acme"] == pytest.approx(taken["globex"], rel=0.2)


def test_within_a_tenant_jobs_share_by_priority(redis: Redis) -> None:
    ordinary, urgent = make(redis, "acme", 1), make(redis, "acme", 1, priority=300)
    make(redis, "globex", 1)
    jobs: Counter[str] = Counter()
    tenants = take(redis, 70, jobs)
    assert tenants["acme"] == pytest.approx(tenants["globex"], rel=0.1)
    assert jobs[urgent] == pytest.approx(3 * jobs[ordinary], rel=0.2)


def test_who_was_away_has_saved_up_nothing(redis: Redis) -> None:
    make(redis, "acme", 2)
    idle = make(redis, "globex", 1, items=0)  # open, and without items
    take(redis, 30)
    add(redis, idle, ITEMS)
    taken = take(redis, 20)
    assert taken["acme"] == pytest.approx(taken["globex"], abs=2)


def test_short_jobs_that_keep_coming_are_not_before_a_long_one_for_ever(redis: Redis) -> None:
    long = make(redis, "acme", 1, items=90)
    jobs: Counter[str] = Counter()
    made = 0
    for _ in range(90):
        while made < len(jobs) - (long in jobs) + 2:  # two wait at any time
            short(redis, "acme", made := made + 1)
        take(redis, 1, jobs)
    assert jobs[long] == pytest.approx(90 / 3, rel=0.2)


def test_a_tenant_whose_jobs_come_and_go_is_not_before_another_for_ever(redis: Redis) -> None:
    make(redis, "globex", 1, items=90)
    taken: Counter[str] = Counter()
    made = 0
    for _ in range(90):
        if made == taken["acme"]:
            short(redis, "acme", made := made + 1)
        taken += take(redis, 1)
    assert taken["globex"] == pytest.approx(90 / 2, rel=0.2)


def test_all_tenants_count_in_the_backlog(redis: Redis) -> None:
    make(redis, "acme", 120)
    make(redis, "globex", 90)
    make(redis, "default", 3)
    backlog = Backlog.read(redis, DEPLOYMENT)
    assert (backlog.jobs, backlog.items, backlog.cost) == (213, 213 * ITEMS, 213 * ITEMS * COST)


def make(redis: Redis, tenant: str, count: int, priority: int = 100, items: int = ITEMS, first: int = 0) -> str:
    """Makes open jobs, numbered from `first` on; gives the last one's id."""
    job = ""
    for number in range(first, first + count):
        job = owned(tenant, new_job_id(1_700_000_000 + number))
        fields = {"weight": priority, "max_batch": 1, "deadline": 0, "retention_s": 3600, "open_s": 3600, "spec": "-"}
        told = [each for pair in fields.items() for each in pair]
        scripts.run(redis, "create", job, DEPLOYMENT, number + 1, "", b"", b"spec", *told)
        if items:
            add(redis, job, items)
    return job


def short(redis: Redis, tenant: str, number: int) -> None:
    """A job of one item."""
    job = make(redis, tenant, 1, items=1, first=number)
    assert scripts.run(redis, "seal", job, "") == [b"ok"]


def add(redis: Redis, job: str, items: int) -> None:
    slices = json.dumps([[number, 1, COST] for number in range(items)])
    ids = [f"id-{number}" for number in range(items)]
    found = scripts.run(redis, "append", job, 0, items, items * COST, b"page", slices, 1, b"digest", "", *ids)
    assert found == [b"ok"]


def take(redis: Redis, count: int, jobs: Counter[str] | None = None) -> Counter[str]:
    """Takes so many slices, one after the other; gives how many were each tenant's."""
    taken: Counter[str] = Counter()
    for number in range(count):
        ticket = f"{number}-{redis.incr('test:tickets')}"
        redis.sadd(keys.queued_tickets(DEPLOYMENT), ticket)
        found = scripts.run(redis, "take", DEPLOYMENT, ticket, "worker", ticket, 3, 1e9)
        job = json.loads(found[0])["job"]
        taken[owner_of(job)[0]] += 1
        if jobs is not None:
            jobs[job] += 1
        scripts.run(redis, "complete", DEPLOYMENT, ticket, ticket, "s", "", 0, 0, 0, 0, 0)
    return taken
