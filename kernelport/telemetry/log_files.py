"""The log files of a stack: each has a size that it does not grow beyond, and one file that came before it."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

_STDOUT, _STDERR = 1, 2
# Libraries write beside us: after so many bytes of our own it is looked how large the file is.
_LOOK_AFTER_BYTES = 64 * 2**10


def earlier(file: Path) -> Path:
    """Where what a log file had before lies."""
    return file.with_name(f"{file.name}.1")


def put_aside_if_full(file: Path, most_bytes: int) -> None:
    """Gives a log file that has its size another name, in the place of the one before. Nobody writes to it now."""
    with contextlib.suppress(FileNotFoundError):
        if file.stat().st_size >= most_bytes:
            file.replace(earlier(file))


def log_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The log files in a folder, each with the name of its process; of one process the earlier first."""
    for file in sorted(folder.glob("*.log")):
        for each in (earlier(file), file):
            if each.exists():
                yield file.stem, each


def append_shared(path: Path, line: bytes, most_bytes: int) -> None:
    """Writes a line to a file that several processes of a machine write to, as a whole.

    Args:
        most_bytes: the next one begins behind the line that makes it so large.
    """
    while True:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):  # else another process has put it aside meanwhile
                if os.path.samestat(os.fstat(file), path.stat()):
                    os.write(file, line)
                    put_aside_if_full(path, most_bytes)
                    return
        finally:
            os.close(file)


class LogFile:
    """The file that this process's stdout and stderr go to, those of its libraries included.

    The process itself opens the next one between two lines: no line is lost, cut or written twice.

    Args:
        most_bytes: the next one begins behind the lines that make it so large.
    """

    def __init__(self, path: Path, most_bytes: int) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._look_after = 0
        self._open()

    def write(self, lines: str) -> None:
        """Writes whole lines. By one thread at a time."""
        data = memoryview(lines.encode(errors="backslashreplace"))
        self._look_after -= len(data)
        while data:
            data = data[os.write(_STDERR, data) :]
        if self._look_after > 0:
            return
        with contextlib.suppress(OSError):  # tried again behind the next line, which goes where this one went
            if os.fstat(_STDERR).st_size >= self._most_bytes:
                put_aside_if_full(self._path, self._most_bytes)
                self._open()
            self._look_after = min(_LOOK_AFTER_BYTES, self._most_bytes - os.fstat(_STDERR).st_size)

    def _open(self) -> None:
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for stream in (_STDOUT, _STDERR):
            os.dup2(file, stream)
        os.close(file)
