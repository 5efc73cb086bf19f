"""How a front door reads the replies to its requests."""

import asyncio
from typing import Any

from redis.exceptions import ConnectionError

from kernelport.broker.connections import connect, connect_async
from kernelport.internal.v1.queue_pb2 import Completion, Reply
from kernelport_api.queueing.multiplexer import Multiplexer
from kernelport_api.queueing.replies import KEPT, ReplyReader
from tests.broker.servers import Server

IDS = [str(number).encode() for number in range(2 * KEPT + 1)]


class Losing(Multiplexer):
    """The first reply that Redis gives out is lost, as when a connection breaks."""

    has_lost = False

    async def call(self, *command: Any) -> Any:
        answer = await super().call(*command)
        if command[0] == "BLMOVE" and not self.has_lost:
            self.has_lost = True
            raise ConnectionError("closed")
        return answer


async def read(server: Server, kind: type[Multiplexer]) -> list[bytes]:
    """The ids of the completions that come."""
    line = kind(connect_async(server.url, None), 30.0)
    reader = ReplyReader(line, kind.__name__)
    waiting = [reader.expect(each) for each in IDS]
    with connect(server.url) as redis:
        redis.lpush(reader.key, *(Reply(completions=[Completion(id=each)]).SerializeToString() for each in IDS))
        reading = asyncio.create_task(reader.run())
        async with asyncio.timeout(10):
            found = [completion.id for completion in await asyncio.gather(*waiting)]
        assert not redis.exists(reader.key)
        assert redis.llen(reader.received_key) <= KEPT + 1
        assert redis.ttl(reader.received_key) > 0
    reading.cancel()
    await line.close()
    return found


def test_replies_that_were_read_go_in_time(server: Server) -> None:
    assert asyncio.run(read(server, Multiplexer)) == IDS


def test_replies_that_are_lost_with_a_connection_are_read_again(server: Server) -> None:
    assert asyncio.run(read(server, Losing)) == IDS
