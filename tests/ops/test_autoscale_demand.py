"""What the autoscaler reads of a deployment whose workers have many requests in hand."""

from collections.abc import Iterator

import pytest
from redis import Redis

from kernelport.broker import keys
from kernelport.internal.v1.queue_pb2 import FrontDoorRecord, Load
from kernelport.supervisor.stack import Stack
from kernelport_ops.autoscale.demand import DemandReader

DEPLOYMENT = "demanded"


@pytest.fixture
def redis(stack: Stack) -> Iterator[Redis]:
    with Redis.from_url(stack.settings.redis_url) as connected:
        yield connected
        connected.srem(keys.FRONT_DOORS, "demanding")
        connected.delete(keys.front_door("demanding"), keys.autoscale_rates(DEPLOYMENT))


def tell(redis: Redis, requests: int, answered: int) -> None:
    load = Load(deployment=DEPLOYMENT, requests=requests, accepted=requests + answered, answered=answered)
    redis.set(keys.front_door("demanding"), FrontDoorRecord(name="demanding", loads=[load]).SerializeToString(), ex=60)
    redis.sadd(keys.FRONT_DOORS, "demanding")


def test_listeners_who_are_fed_are_no_backlog(redis: Redis) -> None:
    reader = DemandReader(redis)
    tell(redis, requests=30, answered=0)
    assert reader.read(DEPLOYMENT, workers=1, capacity=64, now=0).waiting == 0
    assert reader.read(DEPLOYMENT, workers=1, capacity=20, now=1).waiting == 10
    assert reader.read(DEPLOYMENT, workers=1, capacity=1, now=2).waiting == 29


def test_what_a_worker_answers_is_measured_while_it_has_as_much_in_hand_as_it_takes(redis: Redis) -> None:
    reader = DemandReader(redis)
    for now in range(3):
        tell(redis, requests=30, answered=2 * now)
        assert reader.read(DEPLOYMENT, workers=1, capacity=64, now=now).service_rate is None
    tell(redis, requests=80, answered=10)
    reader.read(DEPLOYMENT, workers=1, capacity=64, now=3)
    tell(redis, requests=80, answered=14)
    assert reader.read(DEPLOYMENT, workers=1, capacity=64, now=5).service_rate == 2
