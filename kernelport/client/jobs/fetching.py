"""Writes an item's output into a folder: whole and right, or not at all."""

import contextlib
import hashlib
import secrets
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, Self

from kernelport.errors import InternalError
from kernelport.v1 import job_pb2 as pb


def unfinished(path: Path) -> Path:
    """Where a file is written before it appears under its name: each writer has a place of its own."""
    return path.with_name(f".{secrets.token_hex(8)}.part")


@contextlib.contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = unfinished(path)
    try:
        with part.open("wb") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def is_output(path: Path, item: pb.Item) -> bool:
    """Whether a file is there, and is the output of an item."""
    try:
        if path.stat().st_size != item.file_bytes:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest() == item.sha256
    except FileNotFoundError:
        return False


class Target:
    """The file of an item. What is written appears under its name when the block ends without an error.

    Attributes:
        path: the file.

    Raises:
        InternalError: on entry, when the name leads out of the folder; at the end, when the bytes are not those that
            the job made.
    """

    def __init__(self, item: pb.Item, folder: Path) -> None:
        name = PurePosixPath(item.file)
        if not item.file or name.is_absolute() or ".." in name.parts:
            raise InternalError(f'item "{item.id}": expected a file below {folder}, got "{item.file}"')
        self.path: Path = folder / name
        self._item = item
        self._part = unfinished(self.path)
        self._hash = hashlib.sha256()

    def is_there(self) -> bool:
        """Whether the file is there already, with the right content."""
        return is_output(self.path, self._item)

    def write(self, chunk: bytes) -> None:
        """Adds bytes to the file."""
        self._hash.update(chunk)
        self._file.write(chunk)

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._part.open("wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if kind is None and self._hash.digest() == self._item.sha256:
            self._part.replace(self.path)
            return
        with contextlib.suppress(FileNotFoundError):
            self._part.unlink()
        if kind is None:
            raise InternalError(f'item "{self._item.id}": the bytes that came are not those that the job made')
