"""Large answers on their way to callers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from kernelport_api.doors.grpc import sending
from kernelport_api.doors.grpc.sending import Sending

ANSWER, MOST = b"x" * 2**20, 3 * 2**20


class Server:
    """Answers every call with the same bytes; a call that says `stall` is never answered.

    Attributes:
        target: where it listens.
        now, most: answers given to gRPC whose calls have not ended, and the most that there were.
    """

    def __init__(self) -> None:
        self.target = ""
        self.now = self.most = 0
        self._sending = Sending()

    async def answer(self, request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        await self._sending.turn(context, len(ANSWER))
        self.now += 1
        self.most = max(self.most, self.now)
        context.add_done_callback(self._ended)
        if request == b"stall":
            await asyncio.Event().wait()
        return ANSWER

    def _ended(self, _: Any) -> None:
        self.now -= 1


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    served = Server()
    server = grpc.aio.server()
    handler: Any = grpc.unary_unary_rpc_method_handler(served.answer)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Test", {"Call": handler}),))
    served.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield served
    await server.stop(None)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "MOST_BYTES", MOST)


async def test_answers_of_one_connection_wait_for_each_other_and_those_of_others_do_not() -> None:
    async with serving() as server, _connected(server) as one, _connected(server) as other:
        stalled = await _stalled(server, one)
        waiting = [one(b"") for _ in range(20)]
        assert [await other(b"") for _ in range(4)] == [ANSWER] * 4
        assert not any(call.done() for call in waiting)
        for call in stalled:
            call.cancel()
        assert await asyncio.gather(*waiting) == [ANSWER] * 20
    assert server.most <= 4


async def test_a_call_that_ends_while_its_answer_waits_takes_no_room() -> None:
    async with serving() as server, _connected(server) as call:
        stalled = await _stalled(server, call)
        late = [call(b"", timeout=0.2) for _ in range(5)]
        for each in late:
            with pytest.raises(grpc.aio.AioRpcError):
                await each
        for each in stalled:
            each.cancel()
        assert await asyncio.gather(*(call(b"") for _ in range(6))) == [ANSWER] * 6


async def _stalled(server: Server, call: Any) -> list[Any]:
    """Calls whose answers take all the room of their connection."""
    calls = [call(b"stall") for _ in range(MOST // len(ANSWER))]
    async with asyncio.timeout(10):
        while server.now < len(calls):  # noqa: ASYNC110 - a server sets no event
            await asyncio.sleep(0.01)
    return calls


@asynccontextmanager
async def _connected(server: Server) -> AsyncIterator[Any]:
    # Else both channels have one connection.
    async with grpc.aio.insecure_channel(server.target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        yield channel.unary_unary("/test.Test/Call")
