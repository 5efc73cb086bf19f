"""Callers that send or read too slowly are let go of, and hold up nobody."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from kernelport_api.doors.calls import Calls
from kernelport_api.doors.http import bodies, server
from kernelport_api.doors.http.answers import Answer
from kernelport_api.doors.http.endpoint import Endpoint, HttpCall
from kernelport_api.doors.http.server import HttpServer, listener

SHORT_S = 0.3
LARGE = bytes(64 * 2**20)


@asynccontextmanager
async def served(takes: tuple[str, ...] | None) -> AsyncIterator[tuple[str, int]]:
    """A server that answers with much; its address."""

    async def much(call: HttpCall) -> Answer:
        return Answer(LARGE)

    running = HttpServer(Endpoint(much, Calls(), takes), listener("127.0.0.1:0", shared=False))
    task = asyncio.create_task(running.run())
    host, _, port = running.address.rpartition(":")
    try:
        yield host, int(port)
    finally:
        await running.stop()
        await task


async def test_headers_that_do_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEADERS_S", SHORT_S)
    async with served(None) as address:
        for sent in (b"", b"GET / HTTP/1.1\r\nHost:"):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(sent)
            assert await asyncio.wait_for(reader.read(), 10) == b""
            writer.close()


async def test_a_body_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "PATIENCE_S", SHORT_S)
    async with served(()) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nbegin")
        assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 408")
        writer.close()


async def test_an_answer_that_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "STALLED_S", SHORT_S)
    lost, lose = asyncio.Event(), server._Protocol.connection_lost

    def losing(protocol: server._Protocol, error: Exception | None) -> None:
        lose(protocol, error)
        lost.set()

    monkeypatch.setattr(server._Protocol, "connection_lost", losing)
    async with served(None) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.wait_for(lost.wait(), 10)
        read = 0
        with contextlib.suppress(ConnectionError):
            while part := await reader.read(2**20):
                read += len(part)
        assert read < len(LARGE)
        writer.close()


async def test_one_that_reads_gets_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "STALLED_S", 5.0)
    async with served(None) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        assert await asyncio.wait_for(reader.readexactly(len(LARGE)), 60) == LARGE
        writer.close()
