"""The lines of a text file, one at a time, whatever is in them."""

import codecs
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from kernelport.item_files.rows import Problem

MAX_LINE_BYTES = 4 * 2**20
_SKIP_BYTES = 2**16
_UTF_32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)


class Line(NamedTuple):
    """A line without its end, and its number from 1."""

    number: int
    text: str


def read_lines(file: BinaryIO) -> Iterator[Line | Problem]:
    """Every line of UTF-8 text, blank ones too; or what is wrong with it. Holds one line of at most 4 MiB at a time.

    Lines end in LF or CRLF. A byte order mark at the beginning is left out.
    """
    number = 0
    while raw := file.readline(MAX_LINE_BYTES):
        number += 1
        if len(raw) == MAX_LINE_BYTES and not raw.endswith(b"\n"):
            _skip_line(file)
            yield Problem(number, "", f"expected a line of at most {MAX_LINE_BYTES // 2**20} MiB, got a longer one")
            continue
        if number == 1:
            if raw.startswith(_UTF_32):
                yield Problem(1, "", "expected UTF-8 or UTF-16 text, got UTF-32", fatal=True)
                return
            raw = raw.removeprefix(codecs.BOM_UTF8)
        yield _line(number, raw)


def _line(number: int, raw: bytes) -> Line | Problem:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        finding = f"expected UTF-8 text, got the byte 0x{raw[error.start]:02x} at byte {error.start + 1} of the line"
        return Problem(number, "", finding)
    text = text.removesuffix("\n").removesuffix("\r")
    for character, name in (("\0", "a NUL byte"), ("\r", "a carriage return"), ("\ufeff", "a byte order mark")):
        if character in text:
            column = text.index(character) + 1
            return Problem(number, "", f"expected text in lines that end in LF or CRLF, got {name} at column {column}")
    return Line(number, text)


def _skip_line(file: BinaryIO) -> None:
    while (rest := file.readline(_SKIP_BYTES)) and not rest.endswith(b"\n"):
        pass
