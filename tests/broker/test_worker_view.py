"""Whom a front door takes for live when Redis has stood still."""

import asyncio

from kernelport.broker.connections import connect, connect_async
from kernelport.broker.registry import beat
from kernelport.internal.v1.queue_pb2 import ServedDeployment, WorkerRecord
from kernelport.v1.deployment_pb2 import Worker
from kernelport_api.queueing.live_workers import WorkerView
from tests.broker.servers import Server

TTL_S, RECORD_TTL_S = 3.0, 1.0
RECORD = WorkerRecord(worker=Worker(id="steady"), deployments=[ServedDeployment(name="model")])


def test_a_record_that_expired_unseen_counts_for_one_more_heartbeat(server: Server) -> None:
    """While Redis could not be asked, the worker could not tell it anything either."""

    async def steps() -> None:
        async with connect_async(server.url, 3.0) as client:
            view = WorkerView(client, {"model"}, TTL_S)
            with connect(server.url) as redis:
                beat(redis, RECORD, RECORD_TTL_S)
            await view.refresh()
            assert view.counts() == {"model": 1}
            await asyncio.sleep(TTL_S / 2 + 0.1)  # nobody looks: so it is when Redis does not answer
            await view.refresh()
            assert view.counts() == {"model": 1}, "the next heartbeat may be on its way"
            async with asyncio.timeout(30):
                while view.counts():
                    await asyncio.sleep(0.05)
                    await view.refresh()

    asyncio.run(steps())
