"""`/api/events`: one stream of server-sent events of all that changes."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import msgspec
from starlette.types import ASGIApp

from kernelport.access.principals import JOBS
from kernelport.errors import KernelPortError, NotFoundError
from kernelport.jobs.shapes import job_dict
from kernelport.shapes import plain
from kernelport.v1 import deployment_pb2, job_pb2, voice_pb2
from kernelport_api.calls import current
from kernelport_api.doors.http.answers import Streamed
from kernelport_api.doors.http.endpoint import OVER_HTTP, Call
from kernelport_api.services.deployments import Deployments
from kernelport_api.services.jobs.service import Jobs
from kernelport_api.services.voices import Voices

log = logging.getLogger(__name__)

INTERVAL_S = 1.0
# So often a stream says something, so that whoever is between keeps it open.
BREATH_S = 15.0
# Of the newest jobs, so many are looked at, and beside them those that were active when they were among these.
_NEWEST_JOBS = 100
# A caller that is so many events behind is cut off, and may begin anew.
_MOST_WAITING = 10_000
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}

Key = tuple[str, str]
# Whose things somebody sees, and whether all others' too; of which deployments, and whether jobs are among them.
Sight = tuple[str, bool, frozenset[str] | None, bool]


class Events:
    """Looks for changes while anybody listens, for all who see the same."""

    def __init__(self, jobs: Jobs, deployments: Deployments, voices: Voices) -> None:
        self._asked = jobs, deployments, voices
        self._watches: dict[Sight, _Watch] = {}

    async def stream(self, call: Call) -> ASGIApp:
        """How everything stands, then what changes: an event `deployment`, `voice` or `job` with the whole of it, or
        `gone` with its kind and name."""
        return Streamed(self._told(), "text/event-stream", _HEADERS)

    async def _told(self) -> AsyncGenerator[bytes, None]:
        principal = current().principal
        sight = principal.tenant, principal.is_admin, principal.deployments, principal.may([JOBS])
        watch = self._watches.setdefault(sight, _Watch(*self._asked))
        try:
            async with contextlib.aclosing(watch.told()) as events:
                async for event in events:
                    yield event
        finally:
            if not watch.listeners and self._watches.get(sight) is watch:
                del self._watches[sight]


class _Watch:
    """Looks as the caller would who comes first: its task has the same current call."""

    def __init__(self, jobs: Jobs, deployments: Deployments, voices: Voices) -> None:
        self._jobs = jobs
        self._deployments = deployments
        self._voices = voices
        self._state: dict[Key, dict[str, Any]] = {}
        self.listeners: set[asyncio.Queue[bytes]] = set()
        self._reading: asyncio.Task[None] | None = None

    async def told(self) -> AsyncGenerator[bytes, None]:
        """What one listener is told."""
        queue: asyncio.Queue[bytes] = asyncio.Queue(_MOST_WAITING)
        self.listeners.add(queue)
        try:
            if self._reading is None:
                self._state = {key: shown async for key, shown in self._standing()}
                self._reading = self._reading or asyncio.create_task(self._keep_reading())
            yield b"".join(_event(kind, shown) for (kind, _), shown in self._state.items()) + b": now\n\n"
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
            self.listeners.discard(queue)
            if not self.listeners and self._reading is not None:
                self._reading.cancel()
                self._reading = None

    async def _keep_reading(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            try:
                found = {key: shown async for key, shown in self._standing()}
            except KernelPortError as error:  # as long as Redis is away; whoever listens sees nothing change
                log.debug("cannot look for changes: %s", error)
                continue
            for key, shown in found.items():
                if self._state.get(key) != shown:
                    self._tell(_event(key[0], shown))
            for kind, name in self._state.keys() - found.keys():
                if kind != "job" or await self._is_gone(name):
                    self._tell(_event("gone", {"kind": kind, "name": name}))
            self._state = found

    async def _standing(self) -> AsyncIterator[tuple[Key, dict[str, Any]]]:
        listed = await self._deployments.ListDeployments(deployment_pb2.ListDeploymentsRequest(), OVER_HTTP)
        for deployment in listed.deployments:
            yield ("deployment", deployment.name), plain(deployment)
        for voice in (await self._voices.ListVoices(voice_pb2.ListVoicesRequest(), OVER_HTTP)).voices:
            yield ("voice", voice.name), plain(voice)
        if not current().principal.may([JOBS]):
            return
        newest = await self._jobs.ListJobs(job_pb2.ListJobsRequest(page_size=_NEWEST_JOBS), OVER_HTTP)
        for job in newest.jobs:
            yield ("job", job.id), job_dict(job)
        seen = {job.id for job in newest.jobs}
        for (kind, job_id), shown in list(self._state.items()):
            if kind == "job" and not shown["finished_unix_us"] and job_id not in seen:
                with contextlib.suppress(NotFoundError):
                    found = await self._jobs.GetJob(job_pb2.GetJobRequest(job_id=job_id), OVER_HTTP)
                    yield ("job", job_id), job_dict(found.job)

    async def _is_gone(self, job_id: str) -> bool:
        """Whether a job is no more; it may only be none of those that are looked at any more."""
        try:
            await self._jobs.GetJob(job_pb2.GetJobRequest(job_id=job_id), OVER_HTTP)
        except NotFoundError:
            return True
        return False

    def _tell(self, event: bytes) -> None:
        for queue in self.listeners:
            with contextlib.suppress(asyncio.QueueFull):
                queue.put_nowait(event)


def _event(kind: str, shown: dict[str, Any]) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode(shown) + b"\n\n"
