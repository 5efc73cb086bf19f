"""Hundreds of callers that connect and go away in every way, while others call: nothing of them is left."""

import asyncio
import itertools
import json
import os
import random
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from redis import Redis

from kernelport.broker import keys
from kernelport.broker.queues import queue_keys
from kernelport.config.settings import bundled_deployments
from kernelport.supervisor.stack import Stack
from tests.conftest import serving_stack, stack_settings
from tests.waiting import wait_for

CALLERS, ROUNDS, AT_ONCE = 500, 3, 50
# Of what the front door held after the first round: allocators keep what they had once.
GROWTH = 1.1
LONG = "The harbour was quiet. The boats lay still. " * 200
TENSOR = bytes(64 * 2**10)
ESTABLISHED = "01"  # in /proc/net/tcp


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings = stack_settings(bundled_deployments())
    with serving_stack(settings, ["hibari-en", "identity-onnx"], tmp_path_factory.mktemp("own")) as stack:
        yield stack


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Streams]:
    """A connection that ends by a reset or in order, whichever it is this time."""
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    try:
        yield reader, writer
    finally:
        if random.random() < 0.5:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()


def post(path: str, body: bytes, media_type: str, *more: str) -> bytes:
    headers = ["Host: localhost", f"Content-Type: {media_type}", f"Content-Length: {len(body)}", *more]
    return "\r\n".join([f"POST {path} HTTP/1.1", *headers, "", ""]).encode() + body


def speech(**more: object) -> bytes:
    body = {"model": "hibari-en", "input": LONG, "response_format": "pcm", **more}
    return post("/v1/audio/speech", json.dumps(body).encode(), "application/json")


def infer() -> bytes:
    x = {"name": "x", "shape": [1, 1, 128, 128], "datatype": "FP32", "parameters": {"binary_data_size": len(TENSOR)}}
    head = json.dumps({"inputs": [x], "parameters": {"binary_data_output": True}}).encode()
    length = f"Inference-Header-Content-Length: {len(head)}"
    return post("/v2/models/identity-onnx/infer", head + TENSOR, "application/octet-stream", length)


async def silent(url: str) -> None:
    """Says nothing."""
    async with connected(url):
        pass


async def half(url: str) -> None:
    """Sends the beginning of a request."""
    request = infer()
    async with connected(url) as (_, writer):
        writer.write(request[: random.randrange(1, len(request))])
        with suppress(OSError):
            await writer.drain()


async def impatient(url: str) -> None:
    """Waits for no answer."""
    async with connected(url) as (_, writer):
        writer.write(random.choice([speech(), infer(), speech(stream_format="sse")]))
        with suppress(OSError):
            await writer.drain()
        await asyncio.sleep(random.random() / 10)


async def listening_a_while(url: str) -> None:
    """Hears the first words of a long speech."""
    async with connected(url) as (reader, writer):
        writer.write(speech())
        with suppress(OSError, TimeoutError):
            await asyncio.wait_for(reader.read(4096), 5)


async def deaf(url: str) -> None:
    """Asks for a long speech and reads nothing of it."""
    async with connected(url) as (_, writer):
        writer.write(speech(response_format="wav"))
        await asyncio.sleep(1)


async def pipelining(url: str) -> None:
    """Sends requests one behind the other."""
    async with connected(url) as (_, writer):
        writer.write(infer() * 3 + speech())
        with suppress(OSError):
            await writer.drain()


async def talking(url: str) -> None:
    """Breaks off a conversation over a WebSocket."""
    async with aiohttp.ClientSession() as session:
        with suppress(aiohttp.ClientError, asyncio.TimeoutError):
            async with session.ws_connect(f"{url}/v1/audio/speech/stream") as talk:
                await talk.send_json({"type": "session.update", "session": {"model": "hibari-en"}})
                await talk.send_json({"type": "input_text.append", "text": LONG})
                await talk.receive(timeout=random.random())


async def watching(url: str) -> None:
    """Follows what changes, for a moment."""
    async with connected(url) as (reader, writer):
        writer.write(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with suppress(OSError, TimeoutError):
            await asyncio.wait_for(reader.read(1024), 1)


WAYS: list[Callable[[str], Awaitable[None]]] = [
    *(silent, half, impatient, listening_a_while),
    *(deaf, pipelining, talking, watching),
]


async def crowd(url: str) -> None:
    """All of them, some at a time, in turn."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(way: Callable[[str], Awaitable[None]]) -> None:
        async with turn:
            with suppress(OSError):
                await way(url)

    async with asyncio.TaskGroup() as group:
        for way in itertools.islice(itertools.cycle(WAYS), CALLERS):
            group.create_task(one(way))


async def calling(url: str, answers: list[int]) -> None:
    """Somebody who stays, and wants answers."""
    async with aiohttp.ClientSession() as session:
        while True:
            x = {"name": "x", "shape": [1, 1, 1, 2], "datatype": "FP32", "data": [1.0, 2.0]}
            async with session.post(f"{url}/v2/models/identity-onnx/infer", json={"inputs": [x]}) as answer:
                answers.append(answer.status)
            await asyncio.sleep(0.05)


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def connections(url: str) -> int:
    """How many callers are connected, as the kernel sees it from the server's side."""
    ours = f":{urlsplit(url).port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(local.endswith(ours) and state == ESTABLISHED for _, local, _, state, *_ in rows)


@pytest.mark.thorough
@pytest.mark.timeout(600)
async def test_nothing_is_left_of_those_who_went_away(own: Stack) -> None:
    pid = own.children["front-door"].pid
    assert pid is not None
    answers: list[int] = []
    sizes: list[int] = []
    with Redis.from_url(own.settings.redis_url) as redis:

        def is_at_rest() -> bool:
            queued = [key for name in ("hibari-en", "identity-onnx") for key in queue_keys(name)]
            return not redis.zcard(keys.UNACKED_INDEX) and not any(map(redis.llen, queued))

        staying = asyncio.create_task(calling(own.url, answers))
        for _ in range(ROUNDS):
            await crowd(own.url)
            sizes.append(resident_bytes(pid))
        staying.cancel()
        await asyncio.to_thread(wait_for, is_at_rest, 5, "no work for those who have gone")
    await asyncio.to_thread(wait_for, lambda: connections(own.url) == 0, 30, "their connections are closed")
    print(f"front door: {[size // 2**20 for size in sizes]} MiB, {len(answers)} calls answered meanwhile")
    assert sizes[-1] < GROWTH * sizes[0]
    assert set(answers) == {200}
    assert len(answers) > 20
    assert "Traceback" not in own.children["front-door"].log_file.read_text()
