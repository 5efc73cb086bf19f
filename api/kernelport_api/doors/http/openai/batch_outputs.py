"""The files of a batch: its outputs and errors, rendered from the items of its job, and the speech of each item.

Their ids say which they are: `file-<job>-output`, `file-<job>-errors`, and `file-<job>-a<custom id in base64>`.
"""

import asyncio
import base64
import binascii
import re
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from starlette.types import ASGIApp

from kernelport.enums import ItemState
from kernelport.names import is_job_id
from kernelport.speech_request import FORMATS
from kernelport.v1 import job_pb2 as pb
from kernelport_api.doors.http.answers import Streamed
from kernelport_api.doors.http.endpoint import OVER_HTTP
from kernelport_api.doors.http.openai.batch_file import line_of
from kernelport_api.services.files import FileNotThereError, Files
from kernelport_api.services.jobs.service import Jobs
from kernelport_api.services.records import Record, Records

_ID = re.compile(r"file-([0-9a-f]+-[0-9a-f]+)-(output|errors|a[A-Za-z0-9_-]+)")
_PAGE = 1000
_STATUSES = {pb.ITEM_STATE_FAILED: 500, pb.ITEM_STATE_CANCELLED: 409, pb.ITEM_STATE_NOT_RUN: 409}


def is_of_a_batch(file_id: str) -> bool:
    """Whether it is the id of such a file."""
    return _ID.fullmatch(file_id) is not None


def output_id(job_id: str) -> str:
    """The id of a batch's output file."""
    return f"file-{job_id}-output"


def errors_id(job_id: str) -> str:
    """The id of its error file."""
    return f"file-{job_id}-errors"


class BatchOutputs:
    """Renders them."""

    def __init__(self, jobs: Jobs, records: Records, files: Files) -> None:
        self._jobs = jobs
        self._records = records
        self._files = files

    async def described(self, file_id: str) -> dict[str, Any]:
        """What is known of a file. How long an output or error file is, is known once it has been rendered."""
        record, part = await self._found(file_id)
        size = 0
        if part.startswith("a"):
            async for message in self._output(record, part):
                size = message.item.file_bytes
                break
            name = f"speech.{record['response_format']}"
        else:
            async for piece in self._lines(record, part):
                size += len(piece)
            name = f"{record['id']}_{part}.jsonl"
        known = {"id": file_id, "object": "file", "bytes": size, "created_at": record["created_at"], "filename": name}
        return {**known, "purpose": "batch_output", "status": "processed", "expires_at": record["forget_at"]}

    async def content(self, file_id: str) -> ASGIApp:
        """The bytes of a file."""
        record, part = await self._found(file_id)
        if not part.startswith("a"):
            return Streamed(self._lines(record, part), "application/jsonl", {})
        messages = self._output(record, part)
        size = (await anext(messages)).item.file_bytes
        kind = FORMATS[record["response_format"]][1]
        return Streamed((message.chunk async for message in messages), kind, {"content-length": str(size)})

    async def _found(self, file_id: str) -> tuple[Record, str]:
        match = _ID.fullmatch(file_id)
        record = await self._records.get(f"batch_{match[1]}") if match and is_job_id(match[1]) else None
        if match is None or record is None:
            raise FileNotThereError(f'file_id: there is no file "{file_id[:64]}"')
        return record, match[2]

    def _output(self, record: Record, part: str) -> AsyncGenerator[pb.GetItemOutputResponse, None]:
        try:
            item_id = base64.urlsafe_b64decode(part[1:] + "=" * (-len(part[1:]) % 4)).decode()
        except (binascii.Error, UnicodeDecodeError):
            item_id = ""
        request = pb.GetItemOutputRequest(job_id=record["job"], item_id=item_id)
        messages: Any = self._jobs.GetItemOutput(request, OVER_HTTP)
        return messages  # type: ignore[no-any-return]

    async def _lines(self, record: Record, part: str) -> AsyncGenerator[bytes, None]:
        """An output or error file, in pieces."""
        if part == "output":
            async for items in self._pages(record, [pb.ITEM_STATE_SUCCEEDED]):
                yield b"".join(_output_line(record, item) for item in items)
            return
        if record["refused_file"]:
            refused = await self._files.get(record["refused_file"])
            yield await asyncio.to_thread(lambda: b"".join(self._files.content(refused)))
        async for items in self._pages(record, list(_STATUSES)):
            yield b"".join(map(_error_line, items))

    async def _pages(self, record: Record, states: list[Any]) -> AsyncIterator[list[pb.Item]]:
        request = pb.ListItemsRequest(job_id=record["job"], states=states, page_size=_PAGE)
        while record["job"]:
            found = await self._jobs.ListItems(request, OVER_HTTP)
            yield list(found.items)
            if not found.next_page_token:
                return
            request.page_token = found.next_page_token


def _output_line(record: Record, item: pb.Item) -> bytes:
    name = base64.urlsafe_b64encode(item.id.encode()).decode().rstrip("=")
    body = {
        "object": "audio.speech",
        "file_id": f"file-{record['job']}-a{name}",
        "format": record["response_format"],
        "bytes": item.file_bytes,
        "sha256": item.sha256.hex(),
        "seconds": item.audio_s,
    }
    return line_of(item.id, 200, body)


def _error_line(item: pb.Item) -> bytes:
    status = 400 if item.lasting else _STATUSES[item.state]
    kind = "invalid_request_error" if item.lasting else "server_error"
    told = {"message": item.reason, "type": kind, "param": None, "code": ItemState.of(item)}
    return line_of(item.id, status, {"error": told})
