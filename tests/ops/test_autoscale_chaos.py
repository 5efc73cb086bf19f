"""A few of the randomised runs; `make chaos-autoscale` has two hundred. And one that shows what a broken promise is."""

from collections.abc import Iterator

import pytest
from redis import Redis

from kernelport_ops.autoscale.budget import Purse
from tests.ops.autoscale_chaos import a_redis, run_one


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with a_redis(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.mark.parametrize("seed", [11, 12, 14])
def test_nothing_is_lost_overspent_left_behind_or_launched_twice(redis: Redis, seed: int) -> None:
    report = run_one(seed, redis, hours=1.5)
    assert report.broken == []
    assert report.launches


def test_a_budget_that_is_not_kept_to_is_noticed(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Purse, "refusal", lambda self, price: None)
    monkeypatch.setattr(Purse, "must_drain", lambda self: False)
    monkeypatch.setattr(Purse, "must_end", lambda self: False)
    report = run_one(1, redis, hours=1.5)
    assert any("over the budget" in each for each in report.broken)
