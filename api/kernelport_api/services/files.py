"""Files that callers upload to make batches of: what is known of them in Redis, their bytes where outputs are."""

import asyncio
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

from redis.asyncio import Redis

from kernelport.broker import keys
from kernelport.broker.clock import clock
from kernelport.errors import NotFoundError, UnavailableError
from kernelport.jobs.artifacts import Artifacts, storage_errors
from kernelport.names import owned
from kernelport_api import calls
from kernelport_api.services.audited import tell
from kernelport_api.services.records import FileRecord, Record, Records
from kernelport_api.services.stock import Stock

CHUNK_BYTES = 256 * 2**10
_CONTENT = "content"


class FileNotThereError(NotFoundError):
    """There is no such file, or none any more."""

    reason = "FILE_NOT_FOUND"


class Files:
    """The uploaded files.

    Args:
        kept_s: seconds for which a file is kept that says nothing of it.
    """

    def __init__(self, redis: Redis, artifacts: Artifacts, stock: Stock, kept_s: float) -> None:
        self._stock = stock
        self._records = Records(redis, keys.FILES, FileRecord)
        self._artifacts = artifacts
        self._kept_s = kept_s

    async def add(self, source: Path, size: int, filename: str, purpose: str, kept_s: float | None) -> Record:
        """Keeps a local file of `size` bytes; gives what is known of it."""
        await self._sweep()
        await self._stock.check_bytes(size)
        file_id, now = f"file-{secrets.token_hex(12)}", clock.now()
        record: Record = {
            "id": file_id,
            "bytes": size,
            "created_at": int(now),
            "filename": filename,
            "purpose": purpose,
            "forget_at": int(now + (kept_s or self._kept_s)),
        }
        folder = _folder(file_id)
        await self._reached(lambda: self._artifacts.replace(f"{folder}/{_CONTENT}", source))
        await self._records.put(record)
        return record

    async def get(self, file_id: str) -> Record:
        """What is known of a file.

        Raises:
            FileNotThereError: there is none.
        """
        record = await self._records.get(file_id)
        if record is None:
            raise FileNotThereError(f'file_id: there is no file "{file_id[:64]}"')
        return record

    async def all(self) -> list[Record]:
        """What is known of all, newest first."""
        await self._sweep()
        return sorted(await self._records.all(), key=lambda record: (record["created_at"], record["id"]), reverse=True)

    def content(self, record: Record) -> Iterator[bytes]:
        """The bytes of a file in pieces; it blocks, and raises what the storage does."""
        return self._artifacts.chunks(f"{_folder(record['id'])}/{_CONTENT}", record["bytes"], CHUNK_BYTES)

    async def delete(self, file_id: str) -> None:
        """Deletes a file.

        Raises:
            FileNotThereError: there is none.
        """
        await self._delete(await self.get(file_id))
        tell("file.delete", file_id)

    async def _sweep(self) -> None:
        for record in await self._records.over():
            await self._delete(record)

    async def _delete(self, record: Record) -> None:
        folder = _folder(record["id"])

        def delete() -> None:
            while self._artifacts.delete_some(folder):
                pass

        await self._reached(delete)
        await self._records.forget(record["id"])

    async def _reached(self, work: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(work)
        except storage_errors() as error:
            raise UnavailableError(f"the storage of outputs fails: {error}") from error


def _folder(file_id: str) -> str:
    """Where a file of the current call's tenant lies."""
    return owned(calls.current().principal.tenant, file_id)
