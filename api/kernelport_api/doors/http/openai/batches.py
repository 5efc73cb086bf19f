"""`/v1/batches`: a file of requests is a job."""

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp

from kernelport.broker.clock import clock
from kernelport.client.item_files.openai_file import URL
from kernelport.errors import NotFoundError
from kernelport.names import is_job_id, new_job_id
from kernelport.signature import Signature, is_speech
from kernelport.speech_request import FORMATS
from kernelport.v1 import job_pb2 as pb
from kernelport.v1.voice_pb2 import ListVoicesRequest
from kernelport_api.access.deployments import CallersDeployments
from kernelport_api.calls import current
from kernelport_api.doors.http.answers import json_answer
from kernelport_api.doors.http.api.queries import Query, field, invalid, known
from kernelport_api.doors.http.api.submission import OUTPUT_FORMATS, Submitting
from kernelport_api.doors.http.endpoint import OVER_HTTP, HttpCall
from kernelport_api.doors.http.openai import batch_file
from kernelport_api.doors.http.openai.batch_file import BatchFile, Takes
from kernelport_api.doors.http.openai.batch_outputs import errors_id, output_id
from kernelport_api.doors.http.openai.files import HIDDEN, page
from kernelport_api.services.files import Files
from kernelport_api.services.inference import Inference
from kernelport_api.services.jobs.service import Jobs
from kernelport_api.services.records import Record, Records
from kernelport_api.services.voices import Voices

WINDOW, WINDOW_S = "24h", 24 * 3600
_KEYS = ("input_file_id", "endpoint", "completion_window", "metadata", "output_expires_after")
_DEFAULT_PAGE, _MOST_PAGE = 20, 100
_MICROSECONDS = 1_000_000
# A job's state in OpenAI's words, and what the time is called at which it got there.
_STATUSES: Mapping[int, tuple[str, str]] = {
    pb.JOB_STATE_PENDING: ("in_progress", ""),
    pb.JOB_STATE_RUNNING: ("in_progress", ""),
    pb.JOB_STATE_SUCCEEDED: ("completed", "completed_at"),
    pb.JOB_STATE_FAILED: ("completed", "completed_at"),
    pb.JOB_STATE_CANCELLING: ("cancelling", ""),
    pb.JOB_STATE_CANCELLED: ("cancelled", "cancelled_at"),
    pb.JOB_STATE_EXPIRED: ("expired", "expired_at"),
    pb.JOB_STATE_DELETING: ("cancelled", "cancelled_at"),
}


class BatchNotFoundError(NotFoundError):
    """There is no such batch, or none any more."""

    reason = "BATCH_NOT_FOUND"


class Batches:
    """The batches of OpenAI's API.

    Args:
        kept_s: seconds for which a batch is kept after its window.
    """

    def __init__(
        self,
        deployments: CallersDeployments,
        inference: Inference,
        voices: Voices,
        jobs: Jobs,
        submitting: Submitting,
        files: Files,
        records: Records,
        kept_s: float,
    ) -> None:
        self._deployments = deployments
        self._inference = inference
        self._voices = voices
        self._jobs = jobs
        self._submitting = submitting
        self._files = files
        self._records = records
        self._kept_s = kept_s

    async def create(self, call: HttpCall) -> ASGIApp:
        """Checks a file, and makes a job of what is good in it."""
        given = known(await call.json(), *_KEYS)
        endpoint, window = field(given, "endpoint", str, ""), field(given, "completion_window", str, WINDOW)
        if endpoint != URL:
            raise invalid("endpoint", f"expected {URL}, got {endpoint[:64]!r}")
        if window != WINDOW:
            raise invalid("completion_window", f"expected {WINDOW}, got {window[:64]!r}")
        metadata = field(given, "metadata", dict, {})
        if not all(isinstance(value, str) for value in metadata.values()):
            raise invalid("metadata", "expected texts")
        source = await self._files.get(field(given, "input_file_id", str, ""))
        with tempfile.TemporaryDirectory(prefix="kernelport-") as folder:
            path = Path(folder) / "requests.jsonl"
            await asyncio.to_thread(_write, path, self._files, source)
            model = await asyncio.to_thread(batch_file.model_of, path) or ""
            name = self._deployments.aliases.models.get(model, model) if model not in self._deployments else model
            found = await self._read(path, name, model)
            record = self._record(source["id"], metadata, model, found)
            if found.errors:
                await self._records.put(record)
                return json_answer(_shown(record, None))
            record["refused_file"] = await self._kept(Path(folder) / "refused.jsonl", found)
        job = None
        if found.items:
            spec = pb.JobSpec(
                deployment=name,
                output_format=OUTPUT_FORMATS[FORMATS[found.response_format][0].removeprefix(".")],
                deadline_unix_us=(record["created_at"] + WINDOW_S) * _MICROSECONDS,
                metadata=metadata,
            )
            job = await self._submitting.run(spec, iter(found.items), call.header(b"idempotency-key"))
            record |= {"id": f"batch_{job.id}", "job": job.id}
        await self._records.put(record)
        return json_answer(_shown(record, job))

    async def all(self, call: HttpCall) -> ASGIApp:
        """Batches, newest first, a page of them."""
        for record in await self._records.over():
            await self._records.forget(record["id"])
        seen = [record for record in await self._records.all() if self._is_seen(record)]
        found = sorted(seen, key=lambda record: (record["created_at"], record["id"]), reverse=True)
        told = page(found, Query(call), _DEFAULT_PAGE, _MOST_PAGE)
        told["data"] = [_shown(record, await self._job(record)) for record in told["data"]]
        return json_answer(told)

    async def retrieve(self, call: HttpCall) -> ASGIApp:
        """How a batch stands."""
        record = await self._get(call)
        return json_answer(_shown(record, await self._job(record)))

    async def cancel(self, call: HttpCall) -> ASGIApp:
        """Starts nothing more of a batch."""
        record = await self._get(call)
        if record["job"]:
            await self._jobs.CancelJob(pb.CancelJobRequest(job_id=record["job"]), OVER_HTTP)
        return json_answer(_shown(record, await self._job(record)))

    async def _get(self, call: HttpCall) -> Record:
        batch_id = call.path["batch"]
        record = await self._records.get(batch_id)
        if record is None or not self._is_seen(record):
            raise BatchNotFoundError(f'batch_id: there is no batch "{batch_id[:64]}"')
        return record

    def _is_seen(self, record: Record) -> bool:
        """Whether the caller may use the deployment of a batch: one that has failed may name none that there is."""
        name, principal = record["model"], current().principal
        names = {name, self._deployments.aliases.models.get(name, name)}
        return not record["job"] or any(map(principal.may_use, names))

    async def _job(self, record: Record) -> pb.Job | None:
        """The job of a batch; None when it has none, or none any more."""
        if not is_job_id(record["job"]):
            return None
        try:
            return (await self._jobs.GetJob(pb.GetJobRequest(job_id=record["job"]), OVER_HTTP)).job
        except NotFoundError:
            return None

    async def _read(self, path: Path, name: str, model: str) -> BatchFile:
        if name not in self._deployments:
            found = await asyncio.to_thread(batch_file.read, path, Takes(Signature(), {}, None))
            if found.errors:
                return found
            told = f"expected the name of a deployment as model of the first request, got {model[:64]!r}"
            return BatchFile(errors=[{"code": "model_not_found", "line": 1, "message": told, "param": "body.model"}])
        signature = await self._inference.signature(name) or Signature()
        if signature.inputs and not is_speech(signature):
            told = f"{model} gives no audio"
            return BatchFile(errors=[{"code": "invalid_model", "line": 1, "message": told, "param": "body.model"}])
        voices = None
        if any(spec.names_voice for spec in signature.inputs):
            listed = await self._voices.ListVoices(ListVoicesRequest(), OVER_HTTP)
            voices = frozenset(voice.name for voice in listed.voices)
        return await asyncio.to_thread(
            batch_file.read, path, Takes(signature, self._deployments.aliases.voices, voices)
        )

    async def _kept(self, path: Path, found: BatchFile) -> str:
        """Keeps the lines of the error file that are known already; gives its id, empty when there are none."""
        if not found.refused:
            return ""
        size = await asyncio.to_thread(path.write_bytes, b"".join(found.refused))
        kept = await self._files.add(path, size, "refused.jsonl", HIDDEN, self._kept_s + WINDOW_S)
        return str(kept["id"])

    def _record(self, file_id: str, metadata: Mapping[str, str], model: str, found: BatchFile) -> Record:
        now = int(clock.now())
        return {
            "id": f"batch_{new_job_id(clock.now())}",
            "job": "",
            "created_at": now,
            "forget_at": now + WINDOW_S + int(self._kept_s),
            "input_file_id": file_id,
            "metadata": dict(metadata),
            "model": model,
            "response_format": found.response_format,
            "errors": found.errors,
            "refused": len(found.refused),
            "refused_file": "",
            "total": 0 if found.errors else found.total,
        }


def _shown(record: Record, job: pb.Job | None) -> dict[str, Any]:
    """A batch as OpenAI tells of one."""
    shown: dict[str, Any] = {key: record[key] for key in ("id", "created_at", "input_file_id", "metadata", "model")}
    shown |= {"object": "batch", "endpoint": URL, "completion_window": WINDOW, "errors": None}
    shown |= {"expires_at": record["created_at"] + WINDOW_S, "output_file_id": None, "error_file_id": None}
    succeeded, failed = 0, record["refused"]
    if record["errors"]:
        shown |= {"status": "failed", "failed_at": record["created_at"]}
        shown["errors"] = {"object": "list", "data": record["errors"]}
    elif not record["job"]:
        shown |= {"status": "completed", "completed_at": record["created_at"]}
    elif job is None:  # its retention was over first
        shown |= {"status": "expired", "expired_at": record["forget_at"]}
    else:
        status, at = _STATUSES[job.state]
        shown |= {"status": status, "in_progress_at": record["created_at"]}
        finished = job.finished_unix_us // _MICROSECONDS
        if at and finished:
            shown[at] = finished
        succeeded = job.progress.succeeded
        failed += job.progress.failed + job.progress.cancelled + job.progress.not_run
        if finished and succeeded:
            shown["output_file_id"] = output_id(job.id)
    is_over = shown["status"] in ("completed", "cancelled", "expired")
    if is_over and failed and not record["errors"]:
        shown["error_file_id"] = errors_id(record["job"] or record["id"].removeprefix("batch_"))
    shown["request_counts"] = {"total": record["total"], "completed": succeeded, "failed": failed}
    return shown


def _write(path: Path, files: Files, record: Record) -> None:
    with path.open("wb") as written:
        for piece in files.content(record):
            written.write(piece)
