"""Opens a file of items as UTF-8 text, whatever it is compressed with and however its characters are encoded."""

import codecs
import contextlib
import gzip
import importlib
import io
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import BinaryIO, cast

from kernelport.errors import install_hint

STDIN = Path("-")
COMPRESSED = (".gz", ".zst")
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_CHUNK_BYTES = 2**16


class ItemFileError(Exception):
    """A file that cannot be read."""


@contextlib.contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """A file as it is; `-` is standard input.

    Raises:
        ItemFileError: when it cannot be opened, or read to its end.
    """
    try:
        if path != STDIN:
            with path.open("rb") as file:
                yield file
        elif sys.stdin is not None:
            yield sys.stdin.buffer
        else:
            raise ItemFileError("standard input cannot be read: it is closed")
    except _damage() as error:
        reason = getattr(error, "strerror", None) or error
        raise ItemFileError(f"{'standard input' if path == STDIN else path} cannot be read: {reason}") from error


@contextlib.contextmanager
def open_utf8(path: Path, encoding: str | None = None) -> Iterator[BinaryIO]:
    """A text file in UTF-8: what gzip and zstd have compressed is expanded, and UTF-16 that begins with a byte order
    mark is encoded anew. Other bytes come as they are. `-` is standard input.

    Args:
        encoding: what the text is encoded in, a name that Python knows; None for UTF-8 or UTF-16.

    Raises:
        ItemFileError: when it cannot be opened, or read to its end.
    """
    with open_bytes(path) as file:
        buffered = io.BufferedReader(cast(io.RawIOBase, file))
        if buffered.peek(len(_GZIP)).startswith(_GZIP):
            buffered = io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(fileobj=buffered)))
        elif buffered.peek(len(_ZSTD)).startswith(_ZSTD):
            buffered = io.BufferedReader(_zstd().ZstdFile(buffered))
        mark = buffered.peek(len(codecs.BOM_UTF32_LE))
        if encoding is not None:
            buffered = io.BufferedReader(_Encoded(buffered, encoding, "surrogateescape"))
        elif mark.startswith(_UTF_16) and not mark.startswith(codecs.BOM_UTF32_LE):
            buffered = io.BufferedReader(_Encoded(buffered, "utf-16", "surrogatepass"))
        yield buffered


class _Encoded(io.RawIOBase):
    """Text as UTF-8. What is no text in its encoding becomes what is no UTF-8, so that it is found in its line."""

    def __init__(self, file: BinaryIO, encoding: str, errors: str) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder(encoding)(errors)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        while not self._rest and (raw := self._file.read(_CHUNK_BYTES)):
            self._rest = self._decoder.decode(raw).encode("utf-8", "surrogatepass")
        if not self._rest and self._decoder.getstate()[0]:  # half a character at the end
            self._decoder.reset()
            self._rest = b"\xff"
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


def _zstd() -> ModuleType:
    """The standard library's module, or the package that stands for it before Python 3.14."""
    for name in ("compression.zstd", "backports.zstd"):
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    raise ItemFileError(f"a file that is compressed with zstd needs an extra package: {install_hint('zstd')}")


def _damage() -> tuple[type[Exception], ...]:
    """What reading a file raises that is damaged, or that the system does not give."""
    with contextlib.suppress(ItemFileError):
        return OSError, EOFError, zlib.error, _zstd().ZstdError
    return OSError, EOFError, zlib.error
