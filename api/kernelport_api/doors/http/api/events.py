"""`/api/events`: one stream of server-sent events of all that changes."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from typing import Any, NamedTuple

import msgspec
from google.protobuf.message import Message
from starlette.types import ASGIApp

from kernelport.access.principals import JOBS, Principal
from kernelport.errors import KernelPortError
from kernelport.names import MARK, owner_of
from kernelport.shapes import plain
from kernelport.v1 import deployment_pb2
from kernelport_api.calls import current
from kernelport_api.doors.http.answers import Streamed
from kernelport_api.doors.http.endpoint import OVER_HTTP, HttpCall
from kernelport_api.services.operations import Operations
from kernelport_api.services.voices import Voices

log = logging.getLogger(__name__)

INTERVAL_S = 1.0
# So often a stream says something, so that whoever is between keeps it open.
BREATH_S = 15.0
# A caller that is so many seconds behind is cut off, and may begin anew.
_MOST_WAITING = 600
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}

# The kind of something, and the name under which it is stored.
Key = tuple[str, str]
# What belongs to tenants, and the field with its name.
_OF_TENANTS = {"voice": "name", "job": "id"}


class Events:
    """Looks for changes while anybody listens, for all who do: what has changed is serialized once."""

    def __init__(self, voices: Voices, operations: Operations) -> None:
        self._voices = voices
        self._operations = operations
        self._state: dict[Key, _Told] = {}
        self._listeners: dict[asyncio.Queue[bytes], Principal] = {}
        self._reading: asyncio.Task[None] | None = None

    async def stream(self, call: HttpCall) -> ASGIApp:
        """How everything stands, then what changes: an event `deployment`, `voice`, `job`, `figures`, `worker` or
        `autoscaler` with the whole of it, or `gone` with its kind and name; as far as the caller may know of it."""
        return Streamed(self._told(current().principal), "text/event-stream", _HEADERS)

    async def _told(self, principal: Principal) -> AsyncGenerator[bytes, None]:
        queue: asyncio.Queue[bytes] = asyncio.Queue(_MOST_WAITING)
        if self._reading is None:
            self._state = self._with_events(await self._standing())
            self._reading = self._reading or asyncio.create_task(self._keep_reading())
        self._listeners[queue] = principal
        try:
            yield _seen_by(principal, self._state) + b": now\n\n"
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
            del self._listeners[queue]
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
            changed = {key: told for key, told in found.items() if self._state.get(key) is not told}
            # Of what is gone, whoever was told that it was there.
            changed |= {key: _gone(*key, self._state[key].each) for key in gone}
            self._state = found
            self._tell(changed)

    async def _standing(self) -> dict[Key, Any]:
        """All there is to tell of, by kind and name."""
        listing = deployment_pb2.ListDeploymentsRequest()
        listed = await self._operations.described.ListDeployments(listing, OVER_HTTP)
        voices = await self._voices.of(await self._voices.tenants())
        found: dict[Key, Any] = {("deployment", each.name): each for each in listed.deployments}
        found |= {("voice", stored): voice for stored, voice in voices.items()}
        found |= {("job", job): shown for job, shown in (await self._operations.newest_jobs.read()).items()}
        found |= {("figures", name): shown for name, shown in (await self._operations.now()).items()}
        found |= {("worker", each["id"]): each for each in await self._operations.workers.all()}
        if (report := await self._operations.fleet.report()) is not None:
            found["autoscaler", ""] = report
        return found

    def _with_events(self, found: dict[Key, Any]) -> dict[Key, "_Told"]:
        """What there is with the events that tell of it: those that there are, where nothing has changed."""
        known = {key: self._state[key] for key, each in found.items() if self._is_told(key, each)}
        return {key: known.get(key) or _event_of(*key, each) for key, each in found.items()}

    def _is_told(self, key: Key, each: Any) -> bool:
        return key in self._state and self._state[key].each == each

    async def _is_gone(self, kind: str, name: str) -> bool:
        """Whether what is not read any more is gone; a job may only be none of the newest."""
        return kind != "job" or not await self._operations.newest_jobs.exists(name)

    def _tell(self, changed: dict[Key, "_Told"]) -> None:
        seen = {principal: _seen_by(principal, changed) for principal in set(self._listeners.values())}
        for queue, principal in self._listeners.items():
            if events := seen[principal]:
                with contextlib.suppress(asyncio.QueueFull):
                    queue.put_nowait(events)


class _Told(NamedTuple):
    """Something that there is.

    Attributes:
        each: as it was read.
        own: the event that tells of it, for whose it is.
        foreign: the same for others, who put its tenant before its name.
    """

    each: Any
    own: bytes
    foreign: bytes

    def to(self, principal: Principal, kind: str, name: str) -> bytes:
        """The event for a caller who sees it."""
        is_foreign = kind in _OF_TENANTS and owner_of(name)[0] != principal.tenant
        return self.foreign if is_foreign else self.own


def _seen_by(principal: Principal, told: dict[Key, _Told]) -> bytes:
    """The events that a caller may know of."""
    return b"".join(each.to(principal, *key) for key, each in told.items() if _may_see(principal, *key, each.each))


def _may_see(principal: Principal, kind: str, name: str, each: Any) -> bool:
    if kind in _OF_TENANTS and not principal.sees(name):
        return False
    match kind:
        case "deployment" | "figures":
            return principal.may_use(name)
        case "job":
            return principal.may({JOBS}) and principal.may_use(each["spec"]["deployment"])
        case "worker" | "autoscaler":
            return principal.is_admin
    return True


def _gone(kind: str, name: str, each: Any) -> _Told:
    own, foreign = _names(kind, name)
    return _Told(each, *(_event("gone", {"kind": kind, "name": told}) for told in (own, foreign)))


def _event_of(kind: str, name: str, each: Any) -> _Told:
    shown = plain(each) if isinstance(each, Message) else each
    if kind not in _OF_TENANTS:
        return _Told(each, _event(kind, shown), b"")
    return _Told(each, *(_event(kind, shown | {_OF_TENANTS[kind]: told}) for told in _names(kind, name)))


def _names(kind: str, stored: str) -> tuple[str, str]:
    """What something is called by whose it is, and by others."""
    tenant, name = owner_of(stored) if kind in _OF_TENANTS else ("", stored)
    return name, f"{tenant}{MARK}{name}" if tenant else stored


def _event(kind: str, shown: dict[str, Any]) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode(shown) + b"\n\n"
