"""A Redis that answers with errors. Where Redis itself can be brought to it, it is; what only a Redis in another place
or with other data says is said by a port in front of it."""

import asyncio
import contextlib
import threading
import time
from pathlib import Path
from typing import Any

from redis import Redis

from kernelport.supervisor.ports import free_port
from kernelport_ops.chaos.plan import Kind

BGSAVE_S = 5.0
_POLL_S = 0.05
# Nobody listens there: a replica of it has no master.
_NOWHERE = ("127.0.0.1", "1")
# Redis saves by itself so seldom that it never does; but it minds that a save has failed.
_SELDOM = "1000000 1000000"
_SETTINGS = {Kind.NOREPLICAS: ("min-replicas-to-write", 1), Kind.OOM: ("maxmemory", 1)}
_SAID = {
    Kind.LOADING: b"-LOADING Redis is loading the dataset in memory\r\n",
    Kind.DENIED: b"-DENIED Redis is running in protected mode because protected mode is enabled\r\n",
}
_CHUNK_BYTES = 2**16


class Gate:
    """A port that leads to Redis, or answers in its place, from `start` until `stop`.

    Attributes:
        port: on loopback.
    """

    def __init__(self, redis_port: int) -> None:
        self.port = free_port()
        self._redis_port = redis_port
        self._refusal: Kind | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = asyncio.Event()
        self._listens = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gate", daemon=True)

    def start(self) -> None:
        """Returns once it listens."""
        self._thread.start()
        self._listens.wait()

    def stop(self) -> None:
        """Ends every connection."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join()

    def refuse(self, kind: Kind | None) -> None:
        """From now on everybody is turned away with LOADING or DENIED, or with None nobody; connections break."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._refuse, kind)

    def _run(self) -> None:
        asyncio.run(self._listen())

    async def _listen(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self._listens.set()
        await self._stopped.wait()
        server.close()
        self._refuse(None)
        while self._writers:  # noqa: ASYNC110 - they are about to go
            await asyncio.sleep(_POLL_S)

    def _refuse(self, kind: Kind | None) -> None:
        self._refusal = kind
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            match self._refusal:
                case None:
                    await self._lead_through(reader, writer)
                case Kind.DENIED:
                    writer.write(_SAID[Kind.DENIED])
                    await writer.drain()
                case kind:
                    while await _command(reader):
                        writer.write(_SAID[kind])
        self._writers.discard(writer)
        writer.close()

    async def _lead_through(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_redis, to_redis = await asyncio.open_connection("127.0.0.1", self._redis_port)
        ways = [asyncio.create_task(_copy(reader, to_redis)), asyncio.create_task(_copy(from_redis, writer))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        to_redis.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK_BYTES):
            writer.write(data)
            await writer.drain()


async def _command(reader: asyncio.StreamReader) -> bool:
    """Reads one command past; False when there is none any more."""
    line = await reader.readline()
    for _ in range(int(line[1:] or 0)):
        size = await reader.readline()
        await reader.readexactly(int(size[1:]) + len(b"\r\n"))
    return bool(line)


class Refusals:
    """Has Redis refuse, in one way at a time.

    Args:
        redis: a client that does not go through the gate.
        folder: where Redis keeps its data.
    """

    def __init__(self, redis: Redis, gate: Gate, folder: Path) -> None:
        self._redis: Any = redis
        self._gate = gate
        self._in_the_way = folder / "dump.rdb"

    def begin(self, kind: Kind) -> None:
        """Redis answers with errors of this kind from now on."""
        match kind:
            case Kind.READONLY:
                self._redis.replicaof(*_NOWHERE)
            case Kind.MISCONF:
                self._in_the_way.mkdir()  # a save cannot be put there
                self._redis.config_set("save", _SELDOM)
                self._redis.bgsave()
                self._wait_until_saving_fails()
            case Kind.LOADING | Kind.DENIED:
                self._gate.refuse(kind)
            case _:
                self._redis.config_set(*_SETTINGS[kind])

    def end(self, kind: Kind) -> None:
        """It takes everything again."""
        match kind:
            case Kind.READONLY:
                self._redis.replicaof("NO", "ONE")
            case Kind.MISCONF:
                self._redis.config_set("save", "")
                self._in_the_way.rmdir()
            case Kind.LOADING | Kind.DENIED:
                self._gate.refuse(None)
            case _:
                self._redis.config_set(_SETTINGS[kind][0], 0)

    def _wait_until_saving_fails(self) -> None:
        ends_at = time.monotonic() + BGSAVE_S
        while self._redis.info("persistence")["rdb_last_bgsave_status"] != "err" and time.monotonic() < ends_at:
            time.sleep(_POLL_S)
