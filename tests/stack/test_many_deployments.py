"""A front door with many deployments that nobody uses."""

import asyncio
import contextlib
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from redis import Redis

from kernelport.supervisor.ports import free_port
from kernelport_api.app import end_all
from tests.conftest import serving_stack, stack_settings
from tests.stack.models import pipeline, write_deployments

DEPLOYMENTS = 1000
SECONDS = 2.0


def test_an_idle_front_door_asks_redis_no_more_for_having_many_deployments(tmp_path: Path) -> None:
    table = write_deployments(tmp_path, **{f"d{number}": pipeline("Sleeper") for number in range(DEPLOYMENTS)})
    settings = replace(stack_settings(table), metrics_listen=f"127.0.0.1:{free_port()}")
    with serving_stack(settings, [], tmp_path / "state") as stack, Redis.from_url(stack.settings.redis_url) as redis:
        before = _round_trips(redis)
        time.sleep(SECONDS)
        assert _round_trips(redis) - before < DEPLOYMENTS / 5 * SECONDS


async def test_tasks_end_though_a_cancellation_is_lost() -> None:
    async def loses_one() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)

    task = asyncio.create_task(loses_one())
    await asyncio.sleep(0)
    await asyncio.wait_for(end_all([task]), timeout=10)
    assert task.cancelled()


def _round_trips(redis: Redis) -> int:
    stats: Any = redis.info("stats")
    return int(stats["total_reads_processed"])
