"""Calls are counted against quotas: exactly, at all front doors together, and nothing of it is left behind."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
from redis.asyncio import Redis

from kernelport.access.quotas import QuotaExceededError, Quotas
from kernelport.broker import keys
from kernelport.broker.connections import connect_async
from kernelport.coercion import to_tensors
from kernelport.errors import InternalError, KernelPortError, UnavailableError
from kernelport.v1.inference_pb2 import InferRequest
from kernelport_api.queueing.call_quotas import CallQuotas
from tests.broker.servers import Server, serving_redis

CALLERS, DOORS, CALLS = 64, ("door-1", "door-2"), 1200
TEXT = InferRequest(model="m", inputs=to_tensors({"text": np.frombuffer("zwölf Zeichen".encode(), np.uint8)}))
CHARACTERS = len("zwölf Zeichen")

CALLS_KEY, RATE_KEY = keys.quota_calls("tenant:acme"), keys.quota_rate("tenant:acme")
FORGED = [
    ("HSET", "DAY", "characters", "many"),
    ("HSET", "DAY", "characters", "1.5"),
    ("HSET", "DAY", "bytes", "9" * 30),
    ("SET", "DAY", "a text"),
    ("HSET", CALLS_KEY, "door-1", "many"),
    ("SET", CALLS_KEY, "a text"),
    *(("SET", RATE_KEY, value) for value in ("soon", "inf", "nan", "9" * 30)),
    ("RPUSH", RATE_KEY, "soon"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving_redis(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
async def redis(server: Server) -> AsyncIterator[Redis]:
    async with connect_async(server.url, 5) as connected:
        await connected.flushdb()
        for door in DOORS:
            await connected.set(keys.front_door(door), "lives")
        yield connected


@pytest.fixture
def doors(redis: Redis) -> list[CallQuotas]:
    return [CallQuotas(redis, name) for name in DOORS]


def holders(**quotas: object) -> list[tuple[str, Quotas]]:
    return [("tenant:acme", Quotas.of(quotas))]


async def in_flight(redis: Redis) -> dict[bytes, bytes]:
    return dict(await redis.hgetall(keys.quota_calls("tenant:acme")))


async def test_no_more_calls_are_let_in_at_a_time_than_may_be_and_no_fewer(
    redis: Redis, doors: list[CallQuotas]
) -> None:
    limited, now, most, refused = holders(calls=20), 0, 0, Counter[tuple[str, float, float]]()

    async def call(number: int) -> None:
        nonlocal now, most
        try:
            async with doors[number % 2].counted(limited, TEXT, 1):
                now += 1
                most = max(most, now)
                await asyncio.sleep(random.uniform(0, 0.004))
                now -= 1
        except QuotaExceededError as error:
            refused[error.quota, error.limit, error.left] += 1

    async def caller(number: int) -> None:
        for _ in range(CALLS // CALLERS):
            await call(number)

    await asyncio.gather(*map(caller, range(CALLERS)))
    assert most == 20
    assert set(refused) == {("calls", 20, 0)}
    await _until_empty(redis)


async def _until_empty(redis: Redis) -> None:
    async with asyncio.timeout(5):
        while await in_flight(redis):  # noqa: ASYNC110 - Redis tells nobody
            await asyncio.sleep(0.01)


async def test_what_a_day_allows_is_used_to_the_last_character(redis: Redis, doors: list[CallQuotas]) -> None:
    limited, let_in, refused = (
        holders(characters_a_day=500 * CHARACTERS, bytes_a_day=10**9),
        0,
        list[QuotaExceededError](),
    )

    async def caller(number: int) -> None:
        nonlocal let_in
        for _ in range(CALLS // CALLERS):
            try:
                async with doors[number % 2].counted(limited, TEXT, 10):
                    let_in += 1
            except QuotaExceededError as error:
                refused.append(error)

    await asyncio.gather(*map(caller, range(CALLERS)))
    (day,) = await redis.keys("kp:quota-day:*")
    assert let_in == 500
    assert {error.quota for error in refused} == {"characters_a_day"}
    assert all(0 < (error.retry_after_s or 0) <= 24 * 3600 for error in refused)
    assert await redis.hgetall(day) == {b"characters": b"%d" % (500 * CHARACTERS), b"bytes": b"5000"}
    assert 0 < await redis.ttl(day) <= keys.QUOTA_DAY_TTL_S


async def test_an_error_gives_back_what_a_call_has_taken(redis: Redis, doors: list[CallQuotas]) -> None:
    limited = holders(characters_a_day=CHARACTERS)
    for error in (InternalError("the model failed"), UnavailableError("nobody serves it")):
        with pytest.raises(type(error)):
            async with doors[0].counted(limited, TEXT, 1):
                raise error
    async with doors[1].counted(limited, TEXT, 1):
        pass
    with pytest.raises(QuotaExceededError):
        async with doors[0].counted(limited, TEXT, 1):
            pass


@pytest.mark.alone
async def test_a_rate_is_kept_within_a_twentieth(doors: list[CallQuotas]) -> None:
    limited, let_in = holders(calls_a_second=100), 0
    begins = time.monotonic() + 0.5  # when what may come at once has come
    ends = begins + 4

    async def caller(number: int) -> None:
        nonlocal let_in
        while time.monotonic() < ends:
            try:
                async with doors[number % 2].counted(limited, TEXT, 1):
                    let_in += time.monotonic() > begins
            except QuotaExceededError as error:
                await asyncio.sleep(min(error.retry_after_s or 0, 0.05))

    await asyncio.gather(*map(caller, range(16)))
    assert let_in / (ends - begins) == pytest.approx(100, rel=0.05)


async def test_a_rate_says_when_to_come_again(doors: list[CallQuotas]) -> None:
    limited = holders(calls_a_second=0.5)
    async with doors[0].counted(limited, TEXT, 1):
        pass
    with pytest.raises(QuotaExceededError) as told:
        async with doors[1].counted(limited, TEXT, 1):
            pass
    assert told.value.retry_after_s == pytest.approx(2, abs=0.5)


async def test_callers_who_hang_up_leave_nothing_behind(redis: Redis, doors: list[CallQuotas]) -> None:
    limited, let_in = holders(calls=1000, characters_a_day=10**6), 0

    async def call(number: int) -> None:
        nonlocal let_in
        async with doors[number % 2].counted(limited, TEXT, 1):
            let_in += 1
            await asyncio.sleep(60)

    tasks = [asyncio.create_task(call(number)) for number in range(200)]
    for number, task in enumerate(tasks):  # some before they are let in, some then, some after
        await asyncio.sleep(0.001 * (number % 3))
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in ended)
    assert 0 < let_in < len(tasks)
    await _until_empty(redis)


async def test_what_a_dead_front_door_had_in_flight_is_free_again(redis: Redis, doors: list[CallQuotas]) -> None:
    limited = holders(calls=1)
    async with doors[0].counted(limited, TEXT, 1):
        assert await in_flight(redis) == {b"door-1": b"1"}
        with pytest.raises(QuotaExceededError):
            async with doors[1].counted(limited, TEXT, 1):
                pass
        await redis.delete(keys.front_door("door-1"))
        async with doors[1].counted(limited, TEXT, 1):
            assert await in_flight(redis) == {b"door-2": b"1"}


async def test_a_key_and_its_tenant_both_limit_it(doors: list[CallQuotas]) -> None:
    both = [("tenant:acme", Quotas(calls=2)), ("key:a", Quotas(calls=1))]
    async with _let_in(doors[0], both):
        with pytest.raises(QuotaExceededError, match="key:a may have 1"):
            async with _let_in(doors[1], both):
                pass
        async with _let_in(doors[1], [both[0], ("key:b", Quotas(calls=5))]):
            with pytest.raises(QuotaExceededError, match="tenant:acme may have 2"):
                async with _let_in(doors[0], [both[0], ("key:b", Quotas(calls=5))]):
                    pass


@pytest.mark.parametrize("forged", FORGED)
async def test_what_others_have_written_of_one_lets_nobody_down(
    forged: tuple[str, ...], redis: Redis, doors: list[CallQuotas]
) -> None:
    limited = holders(calls=9, calls_a_second=1000, characters_a_day=10**6)
    async with _let_in(doors[0], limited):
        day = next(iter(await redis.keys("kp:quota-day:*")))
        await redis.delete(day, keys.quota_calls("tenant:acme"), keys.quota_rate("tenant:acme"))
        await redis.execute_command(*(part.replace("DAY", day.decode()) for part in forged))
        async with _let_in(doors[1], [("tenant:other", Quotas(calls=1))]):
            pass
        async with _let_in(doors[1], limited):
            assert await in_flight(redis) | {b"door-1": b"1"} == {b"door-1": b"1", b"door-2": b"1"}
    await _until_empty(redis)
    async with _let_in(doors[0], limited):
        pass


async def test_a_rate_that_is_raised_holds_at_once(doors: list[CallQuotas]) -> None:
    async with _let_in(doors[0], holders(calls_a_second=0.001)):
        pass
    async with _let_in(doors[0], holders(calls_a_second=1000)):
        pass


@asynccontextmanager
async def _let_in(door: CallQuotas, limited: list[tuple[str, Quotas]]) -> AsyncIterator[None]:
    async with door.counted(limited, TEXT, 1):
        yield


async def test_while_redis_is_away_callers_are_told_and_then_all_is_as_before(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with serving_redis(tmp_path_factory.mktemp("away")) as server:
        async with connect_async(server.url, 1) as redis:
            await redis.set(keys.front_door("door-1"), "lives")
            door, limited = CallQuotas(redis, "door-1"), holders(calls=2)
            async with door.counted(limited, TEXT, 1):
                server.kill()
                with pytest.raises(KernelPortError) as told:
                    async with door.counted(limited, TEXT, 1):
                        pass
                assert isinstance(told.value, UnavailableError)
                server.start()
            await _until_empty(redis)
            async with door.counted(limited, TEXT, 1):
                assert await in_flight(redis) == {b"door-1": b"1"}
