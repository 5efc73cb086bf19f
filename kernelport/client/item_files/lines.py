"""The lines of a text file, one at a time, whatever is in them."""

import codecs
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from kernelport.client.item_files.rows import Problem

MAX_LINE_BYTES = 4 * 2**20
_SKIP_BYTES = 2**16
_CTRL_Z = b"\x1a"
_UTF_32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)


class Line(NamedTuple):
    """A line without its end, and its number from 1."""

    number: int
    text: str


def read_lines(file: BinaryIO, encoding: str | None = None) -> Iterator[Line | Problem]:
    """Every line of UTF-8 text, blank ones too; or what is wrong with it. Holds one line of at most 4 MiB at a time.

    Lines end in LF or CRLF. A byte order mark at the beginning is left out, as is a Ctrl-Z at the end, with which some
    programs on Windows end a text.

    Args:
        encoding: what the text was encoded in before it was made UTF-8, for the messages.
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
        if raw.endswith(_CTRL_Z):  # without a line's end, so it is the last line
            raw = raw.removesuffix(_CTRL_Z)
        yield _line(number, raw, encoding)


def _line(number: int, raw: bytes, encoding: str | None) -> Line | Problem:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        if encoding is not None:
            return Problem(number, "", f"expected {encoding} text, got a byte that it does not have")
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
