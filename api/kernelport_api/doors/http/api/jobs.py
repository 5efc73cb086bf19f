"""Jobs and their items, and the files that items became."""

import contextlib
import zipfile
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, cast
from urllib.parse import quote

from starlette.types import ASGIApp

from kernelport.enums import ItemState, JobState
from kernelport.errors import KernelPortError
from kernelport.jobs.shapes import item_dict, job_dict
from kernelport.names import MANIFEST
from kernelport.sink import Sink
from kernelport.v1 import job_pb2 as pb
from kernelport_api.doors.http.answers import Streamed, json_answer
from kernelport_api.doors.http.api.queries import Query, checked, field, invalid, known
from kernelport_api.doors.http.endpoint import OVER_HTTP, HttpCall
from kernelport_api.doors.texts import with_short_texts
from kernelport_api.services.jobs.service import Jobs

MOST_PAGE = 2**32 - 1
_BINARY = "application/octet-stream"
# By the ending of a file.
_MEDIA_TYPES = {
    "wav": "audio/wav",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "mp3": "audio/mpeg",
    "aac": "audio/aac",
    "pcm": "audio/pcm",
}
_PAGE = 1000
_DEADLINES = "deadline_unix_us", "deadline_in_s"


class JobRoutes:
    """What is below /api/jobs, uploads aside."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    async def all(self, call: HttpCall) -> ASGIApp:
        """Jobs, newest first."""
        query = Query(call)
        request = pb.ListJobsRequest(
            deployment=query.text("deployment"),
            states=_states(query, JobState, "JOB_STATE_", pb.JobState),
            page_size=query.number("limit", MOST_PAGE),
            page_token=query.text("page_token"),
        )
        found = await self._jobs.ListJobs(with_short_texts(request), OVER_HTTP)
        return json_answer({"jobs": list(map(job_dict, found.jobs)), "next_page_token": found.next_page_token})

    async def one(self, call: HttpCall) -> ASGIApp:
        """How a job stands."""
        found = await self._jobs.GetJob(pb.GetJobRequest(job_id=call.path["job"]), OVER_HTTP)
        return json_answer(job_dict(found.job))

    async def cancel(self, call: HttpCall) -> ASGIApp:
        """Starts nothing more of a job."""
        reason = field(known(await call.json_or({}), "reason"), "reason", str, "")
        request = with_short_texts(pb.CancelJobRequest(job_id=call.path["job"], reason=reason))
        found = await self._jobs.CancelJob(request, OVER_HTTP)
        return json_answer(job_dict(found.job))

    async def resume(self, call: HttpCall) -> ASGIApp:
        """Runs again what failed or did not run."""
        given, request = known(await call.json_or({}), *_DEADLINES), pb.ResumeJobRequest(job_id=call.path["job"])
        for name in _DEADLINES:
            number = field(given, name, int, 0)
            checked(lambda name=name, number=number: setattr(request, name, number), name)  # type: ignore[misc]
        return json_answer(job_dict((await self._jobs.ResumeJob(request, OVER_HTTP)).job))

    async def delete(self, call: HttpCall) -> ASGIApp:
        """Forgets a job, with its outputs if that is asked for."""
        request = pb.DeleteJobRequest(job_id=call.path["job"], delete_outputs=Query(call).flag("outputs"))
        await self._jobs.DeleteJob(request, OVER_HTTP)
        return json_answer({"id": call.path["job"], "deleted": True})

    async def items(self, call: HttpCall) -> ASGIApp:
        """A job's items, in the order of submission."""
        query = Query(call)
        request = pb.ListItemsRequest(
            job_id=call.path["job"],
            states=_states(query, ItemState, "ITEM_STATE_", pb.ItemState),
            page_size=query.number("limit", MOST_PAGE),
            page_token=query.text("page_token"),
            inputs=query.flag("inputs"),
            offset=query.number("offset", MOST_PAGE),
            id=query.text("id"),
        )
        found = await self._jobs.ListItems(with_short_texts(request), OVER_HTTP)
        return json_answer({"items": list(map(item_dict, found.items)), "next_page_token": found.next_page_token})

    async def output(self, call: HttpCall) -> ASGIApp:
        """The file that an item became."""
        request = pb.GetItemOutputRequest(job_id=call.path["job"], item_id=call.path["item"])
        messages = self._jobs.GetItemOutput(request, OVER_HTTP)
        item = (await anext(messages)).item
        ending = item.file.rpartition(".")[2]
        headers = {"content-disposition": attachment(item.file), "content-length": str(item.file_bytes)}
        return Streamed((message.chunk async for message in messages), _MEDIA_TYPES.get(ending, _BINARY), headers)

    async def manifest(self, call: HttpCall) -> ASGIApp:
        """A line of JSON for each item of a job that is over."""
        messages = self._jobs.GetManifest(pb.GetManifestRequest(job_id=call.path["job"]), OVER_HTTP)
        await anext(messages)
        return Streamed((message.chunk async for message in messages), "application/jsonl", {})

    async def outputs(self, call: HttpCall) -> ASGIApp:
        """The files of all items that have succeeded, as one zip, and the manifest of a job that is over; or of those
        whose places in the job `index` names, such as 0-99,250."""
        chosen = _ranges(Query(call).texts("index"))
        job = (await self._jobs.GetJob(pb.GetJobRequest(job_id=call.path["job"]), OVER_HTTP)).job
        headers = {"content-disposition": attachment(f"{job.id}.zip")}
        return Streamed(self._zipped(job, chosen), "application/zip", headers)

    async def _zipped(self, job: pb.Job, chosen: list[range]) -> AsyncGenerator[bytes, None]:
        sink = Sink()
        with zipfile.ZipFile(cast("Any", sink), "w", zipfile.ZIP_STORED) as archive:
            async for item in self._chosen(job.id, chosen) if chosen else self._succeeded(job.id):
                messages = self._jobs.GetItemOutput(pb.GetItemOutputRequest(job_id=job.id, item_id=item.id), OVER_HTTP)
                with archive.open(item.file, "w", force_zip64=item.file_bytes >= zipfile.ZIP64_LIMIT) as file:
                    async for message in messages:
                        file.write(message.chunk)
                        yield sink.taken()
            if job.finished_unix_us and not chosen:
                with contextlib.suppress(KernelPortError), archive.open(MANIFEST, "w", force_zip64=True) as file:
                    async for part in self._jobs.GetManifest(pb.GetManifestRequest(job_id=job.id), OVER_HTTP):
                        file.write(part.chunk)
                        yield sink.taken()
        yield sink.taken()

    async def _chosen(self, job_id: str, chosen: list[range]) -> AsyncIterator[pb.Item]:
        """Those items of some places that have succeeded."""
        for places in chosen:
            first = places.start
            while first < places.stop:
                request = pb.ListItemsRequest(job_id=job_id, offset=first, page_size=min(_PAGE, places.stop - first))
                found = (await self._jobs.ListItems(request, OVER_HTTP)).items
                for item in found:
                    if item.state == pb.ITEM_STATE_SUCCEEDED:
                        yield item
                if not found:
                    break
                first += len(found)

    async def _succeeded(self, job_id: str) -> AsyncIterator[pb.Item]:
        request = pb.ListItemsRequest(job_id=job_id, states=[pb.ITEM_STATE_SUCCEEDED], page_size=_PAGE)
        while True:
            found = await self._jobs.ListItems(request, OVER_HTTP)
            for item in found.items:
                yield item
            if not found.next_page_token:
                return
            request.page_token = found.next_page_token


def attachment(name: str) -> str:
    """The header that has browsers save a file under this name."""
    return f"attachment; filename*=UTF-8''{quote(name)}"


def _ranges(texts: list[str]) -> list[range]:
    """Ranges of places, such as 0-99 or 250."""
    found: list[range] = []
    for text in texts:
        first, _, last = text.partition("-")
        numbers = (first, last or first)
        are_numbers = all(each.isascii() and each.isdecimal() and len(each) < 10 for each in numbers)
        if not are_numbers or int(numbers[0]) > int(numbers[1]):
            raise invalid("index", f"expected places such as 0-99,250; got {text[:64]!r}")
        found.append(range(int(numbers[0]), int(numbers[1]) + 1))
    return found


def _states(query: Query, words: Any, prefix: str, enum: Any) -> list[Any]:
    """The states that are asked for, as the contract's enum has them."""
    found = query.texts("state")
    for state in found:
        if state not in list(words):
            raise invalid("state", f"expected one of {', '.join(words)}, got {state[:64]!r}")
    return [enum.Value(f"{prefix}{state.upper()}") for state in found]
