"""`/v1/files`: what callers upload, and what becomes of batches, rendered when it is asked for."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.types import ASGIApp

from kernelport.errors import FailedPreconditionError, FieldViolation, InvalidArgumentError
from kernelport_api.doors.http.answers import Streamed, json_answer
from kernelport_api.doors.http.api.queries import Query, invalid
from kernelport_api.doors.http.endpoint import HttpCall
from kernelport_api.doors.http.forms import copied
from kernelport_api.doors.http.openai.batch_outputs import BatchOutputs, is_of_a_batch
from kernelport_api.services.files import Files
from kernelport_api.services.records import Record

MOST_BYTES = 100 * 2**20
# What has been made of an upload is none of the caller's.
HIDDEN = "batch_refused"
_PURPOSES = ("batch", "user_data")
_MOST_S = 10 * 365 * 24 * 3600
_DEFAULT_PAGE, _MOST_PAGE = 1000, 10_000


class FileRoutes:
    """The files of OpenAI's API."""

    def __init__(self, files: Files, outputs: BatchOutputs) -> None:
        self._files = files
        self._outputs = outputs

    async def create(self, call: HttpCall) -> ASGIApp:
        """Keeps an upload."""
        file, purpose = call.form.get("file"), call.form.get("purpose")
        if not isinstance(file, UploadFile):
            raise invalid("file", "expected a file")
        if purpose not in _PURPOSES:
            raise invalid("purpose", f"expected one of {', '.join(_PURPOSES)}, got {purpose!r:.64}")
        kept_s = _kept_s(call.form)
        with tempfile.TemporaryDirectory(prefix="kernelport-") as folder:
            path = Path(folder) / "upload"
            await asyncio.to_thread(copied, file, path)
            record = await self._files.add(path, file.size or 0, file.filename or "upload", str(purpose), kept_s)
        return json_answer(shown(record))

    async def all(self, call: HttpCall) -> ASGIApp:
        """The uploads, a page of them."""
        query = Query(call)
        purpose, order = query.text("purpose"), query.text("order")
        if order not in ("", "asc", "desc"):
            raise invalid("order", f"expected asc or desc, got {order[:64]!r}")
        found = [
            shown(record)
            for record in await self._files.all()
            if record["purpose"] != HIDDEN and purpose in ("", record["purpose"])
        ]
        if order == "asc":
            found.reverse()
        return json_answer(page(found, query, _DEFAULT_PAGE, _MOST_PAGE))

    async def retrieve(self, call: HttpCall) -> ASGIApp:
        """What is known of a file."""
        file_id = call.path["file"]
        if is_of_a_batch(file_id):
            return json_answer(await self._outputs.described(file_id))
        return json_answer(shown(await self._files.get(file_id)))

    async def content(self, call: HttpCall) -> ASGIApp:
        """The bytes of a file."""
        file_id = call.path["file"]
        if is_of_a_batch(file_id):
            return await self._outputs.content(file_id)
        record = await self._files.get(file_id)
        return Streamed(self.read(record), "application/octet-stream", {"content-length": str(record["bytes"])})

    async def delete(self, call: HttpCall) -> ASGIApp:
        """Deletes an upload."""
        file_id = call.path["file"]
        if is_of_a_batch(file_id):
            raise FailedPreconditionError(f'file_id: "{file_id}" is a batch\'s own: it goes with the job of the batch')
        await self._files.delete(file_id)
        return json_answer({"id": file_id, "object": "file", "deleted": True})

    async def read(self, record: Record) -> AsyncGenerator[bytes, None]:
        """The bytes of an upload, in pieces."""
        pieces = self._files.content(record)
        while piece := await asyncio.to_thread(_next, pieces):
            yield piece


def shown(record: Record) -> dict[str, Any]:
    """A file as OpenAI tells of one."""
    known = {key: record[key] for key in ("id", "bytes", "created_at", "filename", "purpose")}
    return {**known, "object": "file", "status": "processed", "expires_at": record["forget_at"]}


def page(found: list[dict[str, Any]], query: Query, default: int, most: int) -> dict[str, Any]:
    """A page of a list, as OpenAI's clients go through them.

    Raises:
        InvalidArgumentError: `after` is the id of none of them.
    """
    after, limit = query.text("after"), min(query.number("limit", most) or default, most)
    if after:
        place = next((index for index, each in enumerate(found) if each["id"] == after), None)
        if place is None:
            raise invalid("after", f"expected the id of one of the list, got {after[:64]!r}")
        found = found[place + 1 :]
    part = found[:limit]
    ends = {"first_id": part[0]["id"], "last_id": part[-1]["id"]} if part else {"first_id": None, "last_id": None}
    return {"object": "list", "data": part, **ends, "has_more": len(found) > limit}


def _kept_s(form: FormData) -> float | None:
    """Seconds for which an upload is to be kept; None when it does not say."""
    seconds, anchor = form.get("expires_after[seconds]"), form.get("expires_after[anchor]")
    if seconds is None:
        return None
    if anchor != "created_at":
        raise invalid("expires_after[anchor]", f"expected created_at, got {anchor!r:.64}")
    if not (isinstance(seconds, str) and seconds.isdecimal() and len(seconds) < 12 and 0 < int(seconds) <= _MOST_S):
        found = FieldViolation("expires_after[seconds]", f"expected 1 to {_MOST_S}, got {seconds!r:.64}")
        raise InvalidArgumentError.of([found])
    return float(seconds)


def _next(pieces: Iterator[bytes]) -> bytes:
    return next(pieces, b"")
