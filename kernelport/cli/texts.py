"""The texts that `kernelport say` is given: arguments, a file, or standard input."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from kernelport.client.item_files import Line, Problem, looks_like_objects
from kernelport.client.item_files.lines import read_lines
from kernelport.client.item_files.opening import STDIN, open_utf8

# What is not meant to be read aloud as it is.
_TABLES = (".csv", ".tsv")
_OBJECTS = (".jsonl", ".ndjson", ".json")


class Texts:
    """Lines, and where they come from.

    Args:
        arguments: texts, each a paragraph of its own; a single `-` stands for standard input, as none does.
        file: in place of arguments.
        encoding: of the file, a name that Python knows; None for UTF-8 or UTF-16.

    Raises:
        click.UsageError: when it is not clear what is meant.
    """

    def __init__(self, arguments: Sequence[str], file: Path | None, encoding: str | None) -> None:
        if arguments and file is not None:
            raise click.UsageError("expected TEXTS or --file, not both")
        if "-" in arguments and len(arguments) > 1:
            raise click.UsageError("expected - alone: it stands for the text on stdin")
        if not arguments and file is None and (sys.stdin is None or sys.stdin.isatty()):
            raise click.UsageError("expected TEXTS, --file, or text on stdin")
        self.file: Path | None = file or (None if arguments and arguments[0] != "-" else STDIN)
        self._places: list[str] = []
        self.lines: list[Line | Problem] = []
        if self.file is None:
            for place, line in _lines_of(arguments):
                self._places.append(place)
                self.lines.append(Line(len(self._places), line))
        else:
            with open_utf8(self.file, encoding) as opened:
                self.lines.extend(read_lines(opened))

    @property
    def hint(self) -> str | None:
        """What speaks a file that is not meant to be read aloud as it is; None for others."""
        if self.file is None:
            return None
        ending, name = self.file.suffix.lower(), "stdin" if self.file == STDIN else self.file
        reads = "`kernelport jobs submit` reads"
        if ending not in _OBJECTS and looks_like_objects(self.lines):
            return f"{name} looks like JSON lines and is read as plain text; {reads} them with --input-format jsonl"
        return f"{name} is read as plain text; {reads} tables" if ending in (*_TABLES, *_OBJECTS) else None

    @property
    def unit(self) -> str:
        """What a bad one of them is called."""
        return "text" if self.file is None else "line"

    def place(self, line: int) -> str:
        """Where a line stands, from 1, for messages."""
        return self._places[line - 1] if self._places else f"{self.file}:{line}"

    def told(self, problem: Problem) -> str:
        """A finding, behind its place."""
        return f"{self.file}:{problem}" if self.file else f"{self.place(problem.line)}: {problem.finding}"


def _lines_of(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The place and the text of each line, and of a blank one behind each argument."""
    several = len(arguments) > 1
    for argument, text in enumerate(arguments, 1):
        lines = text.splitlines()
        for number, line in enumerate([*lines, ""], 1):
            parts = [f"argument {argument}"] * several + [f"line {number}"] * (not several or len(lines) > 1)
            yield ", ".join(parts), line
