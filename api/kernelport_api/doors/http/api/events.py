"""`/api/events`: one stream of server-sent events of all that changes."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
from google.protobuf.message import Message
from starlette.types import ASGIApp

from kernelport.errors import KernelPortError
from kernelport.shapes import plain
from kernelport.v1 import deployment_pb2, voice_pb2
from kernelport_api.doors.http.answers import Streamed
from kernelport_api.doors.http.endpoint import OVER_HTTP, Call
from kernelport_api.services.deployments import Deployments
from kernelport_api.services.operations import Operations
from kernelport_api.services.voices import Voices

log = logging.getLogger(__name__)

INTERVAL_S = 1.0
# So often a stream says something, so that whoever is between keeps it open.
BREATH_S = 15.0
# A caller that is so many seconds behind is cut off, and may begin anew.
_MOST_WAITING = 600
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}

Key = tuple[str, str]


class Events:
    """Looks for changes while anybody listens, for all who do: what has changed is serialized once."""

    def __init__(self, deployments: Deployments, voices: Voices, operations: Operations) -> None:
        self._deployments = deployments
        self._voices = voices
        self._operations = operations
        # What is there, as it was read, and the event that tells of it.
        self._state: dict[Key, tuple[Any, bytes]] = {}
        self._listeners: set[asyncio.Queue[bytes]] = set()
        self._reading: asyncio.Task[None] | None = None

    async def stream(self, call: Call) -> ASGIApp:
        """How everything stands, then what changes: an event `deployment`, `voice`, `job`, `figures`, `worker` or
        `autoscaler` with the whole of it, or `gone` with its kind and name."""
        return Streamed(self._told(), "text/event-stream", _HEADERS)

    async def _told(self) -> AsyncGenerator[bytes, None]:
        queue: asyncio.Queue[bytes] = asyncio.Queue(_MOST_WAITING)
        if self._reading is None:
            self._state = self._with_events(await self._standing())
            self._reading = self._reading or asyncio.create_task(self._keep_reading())
        self._listeners.add(queue)
        try:
            yield b"".join(event for _, event in self._state.values()) + b": now\n\n"
            while True:
                try:
                    async with asyncio.timeout(BREATH_S):
                        event = await queue.get()
                except TimeoutError:
                    event = b": still here\n\n"
                yield event
                if queue.full() or self._reading is None or self._reading.done():
                    return
        finally:
            self._listeners.discard(queue)
            if not self._listeners and self._reading is not None:
                self._reading.cancel()
                self._reading = None

    async def _keep_reading(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            try:
                found = self._with_events(await self._standing())
                gone = [key for key in self._state.keys() - found.keys() if await self._is_gone(*key)]
            except KernelPortError as error:  # as long as Redis is away; whoever listens sees nothing change
                log.debug("cannot look for changes: %s", error)
                continue
            changed = [event for key, (_, event) in found.items() if self._event(key) is not event]
            changed += [_event("gone", {"kind": kind, "name": name}) for kind, name in gone]
            self._state = found
            if changed:
                self._tell(b"".join(changed))

    async def _standing(self) -> dict[Key, Any]:
        """All there is to tell of, by kind and name."""
        listed = await self._deployments.ListDeployments(deployment_pb2.ListDeploymentsRequest(), OVER_HTTP)
        voices = await self._voices.ListVoices(voice_pb2.ListVoicesRequest(), OVER_HTTP)
        found: dict[Key, Any] = {("deployment", each.name): each for each in listed.deployments}
        found |= {("voice", each.name): each for each in voices.voices}
        found |= {("job", job): shown for job, shown in (await self._operations.newest_jobs.read()).items()}
        found |= {("figures", name): shown for name, shown in (await self._operations.now()).items()}
        found |= {("worker", each["id"]): each for each in await self._operations.workers.all()}
        if (report := await self._operations.fleet.report()) is not None:
            found["autoscaler", ""] = report
        return found

    def _with_events(self, found: dict[Key, Any]) -> dict[Key, tuple[Any, bytes]]:
        """What there is with the events that tell of it: those that there are, where nothing has changed."""
        known = {key: self._state[key] for key, each in found.items() if self._is_told(key, each)}
        return {key: known.get(key) or (each, _event_of(key[0], each)) for key, each in found.items()}

    def _is_told(self, key: Key, each: Any) -> bool:
        return key in self._state and self._state[key][0] == each

    def _event(self, key: Key) -> bytes | None:
        return self._state[key][1] if key in self._state else None

    async def _is_gone(self, kind: str, name: str) -> bool:
        """Whether what is not read any more is gone; a job may only be none of the newest."""
        return kind != "job" or not await self._operations.newest_jobs.exists(name)

    def _tell(self, events: bytes) -> None:
        for queue in self._listeners:
            with contextlib.suppress(asyncio.QueueFull):
                queue.put_nowait(events)


def _event_of(kind: str, each: Any) -> bytes:
    return _event(kind, plain(each) if isinstance(each, Message) else each)


def _event(kind: str, shown: dict[str, Any]) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode(shown) + b"\n\n"
