"""Large messages between processes of one machine: files in memory, which cost a tenth of a key in Redis.

`kernelport up` makes the folder and names it to its processes. A message is used this way only when every process that
may want it says that it has the same folder; everywhere else it is a key in Redis.
"""

import contextlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Sequence
from io import FileIO
from pathlib import Path
from typing import Self

from kernelport.broker.clock import clock
from kernelport.wire_format import Part

# Where Linux keeps files in memory.
MEMORY = Path("/dev/shm")  # noqa: S108
# A folder that no front door has swept for so long has no owner any more.
UNUSED_S = 24 * 3600.0
_ID_FILE = "id"
_NAME = re.compile(r"[0-9]+-[^/\0]+")
# What is left free for others: a full folder must not stop them.
_RESERVE_BYTES = 64 * 2**20


class SharedFolder:
    """A folder of messages. Their names begin with the Unix second at which they are of no use any more.

    Attributes:
        id: equal for processes that see the same folder, and for no others.
    """

    def __init__(self, path: Path, folder_id: str) -> None:
        self.id = folder_id
        self._path = path

    @classmethod
    def create(cls, name: str) -> Path | None:
        """Makes an empty folder in memory, in place of what an earlier one left; None where that cannot be done.

        Others whose names differ in what is behind the last `-` only are deleted when nobody has used them for a day.
        """
        path = MEMORY / name
        _delete_unused(name.rpartition("-")[0])
        try:
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(path)
            path.mkdir(mode=0o700)
            (path / _ID_FILE).write_text(secrets.token_hex(16))
        except OSError:  # no such file system, or somebody else's folder
            return None
        return path

    @classmethod
    def open(cls, path: str) -> Self | None:
        """The folder that this process was told of; None when it was told of none, or cannot see it."""
        if not path:
            return None
        try:
            return cls(Path(path), (Path(path) / _ID_FILE).read_text())
        except OSError:
            return None

    def put(self, message_id: str, parts: Sequence[Part], ttl_s: float) -> str | None:
        """Keeps a message, given in parts; its name, or None when there is no room for it."""
        name = f"{round(clock.now() + ttl_s)}-{message_id}"
        try:
            free = os.statvfs(self._path)
            if free.f_bavail * free.f_frsize < sum(map(len, parts)) + _RESERVE_BYTES:
                return None
            with open(self._at(name), "wb", buffering=0) as file:
                for part in parts:
                    _write(file, part)
        except OSError:
            self.discard(name)
            return None
        return name

    def get(self, name: str, tail: bytes = b"") -> bytes | None:
        """A message, with `tail` behind it; None when there is none of this name. A name comes from Redis, and may be
        anything."""
        if not _NAME.fullmatch(name):
            return None
        try:
            with open(self._at(name), "r+b", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                is_added = not tail or _is_added(file.fileno(), tail, size)  # one copy less than behind what is read
                message = file.read()
                return message if is_added else message[:size] + tail
        except OSError:
            return None

    def size(self, name: str) -> int:
        """The bytes of a message; 0 when there is none of this name."""
        try:
            return os.stat(self._at(name)).st_size if _NAME.fullmatch(name) else 0
        except OSError:
            return 0

    def discard(self, name: str) -> None:
        """Lets a message go."""
        if _NAME.fullmatch(name):
            with contextlib.suppress(OSError):
                os.unlink(self._at(name))

    def _at(self, name: str) -> str:
        return f"{self._path}/{name}"  # a Path takes longer than to open what it names

    def count(self) -> int:
        """How many messages there are."""
        try:
            return sum(_NAME.fullmatch(name) is not None for name in os.listdir(self._path))
        except OSError:  # the folder itself has gone
            return 0

    def sweep(self) -> None:
        """Lets go of what is of no use any more: its owner died. The folder counts as used."""
        with contextlib.suppress(OSError):  # the folder itself has gone
            os.utime(self._path)
            for name in os.listdir(self._path):
                expires, _, _ = name.partition("-")
                if expires.isdigit() and int(expires) < clock.now():
                    self.discard(name)


def _write(file: FileIO, part: Part) -> None:
    left = memoryview(part)
    while left:
        left = left[file.write(left) :]


def _is_added(descriptor: int, tail: bytes, at: int) -> bool:
    """Writes what is to stand at the end of a file; False where there is no room for all of it."""
    try:
        return os.pwrite(descriptor, tail, at) == len(tail)
    except OSError:
        return False


def _delete_unused(prefix: str) -> None:
    """Deletes what stacks left that were killed and never started again."""
    for folder in MEMORY.glob(f"{prefix}-*"):
        with contextlib.suppress(OSError):  # somebody else's
            if folder.is_dir() and time.time() - folder.stat().st_mtime > UNUSED_S:
                shutil.rmtree(folder)
