"""Reads a file of items twice: once to find all that is wrong with it, once to hand its items out."""

import functools
import itertools
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, Literal

from kernelport.client.item_files.csv_file import csv_rows, looks_like_table
from kernelport.client.item_files.fields import ID, Fields
from kernelport.client.item_files.jsonl_file import jsonl_rows, looks_like_objects
from kernelport.client.item_files.lines import read_lines
from kernelport.client.item_files.openai_file import OpenAIRows, first_model, looks_like_requests
from kernelport.client.item_files.opening import COMPRESSED, ItemFileError, open_utf8
from kernelport.client.item_files.rows import Problem, Row
from kernelport.client.item_files.text_file import (
    Split,
    chosen,
    chosen_split,
    is_wrapped,
    passages,
    text_rows,
    unsayable,
)
from kernelport.client.item_files.values import tensor_of, text_tensor
from kernelport.coercion import ValueProblem, show
from kernelport.counting import counted
from kernelport.items import expected_cost
from kernelport.signature import Signature, is_speech
from kernelport.v1.job_pb2 import NewItem

Kind = Literal["text", "csv", "jsonl", "openai"]

MAX_ID_CHARACTERS = 256
MAX_PROBLEMS = 50
REPORT_EVERY = 1000
# Of a text, to see whether it is one.
_LINES_LOOKED_AT = 20
# How the reader of CSV calls a column without a name.
_PLACE = re.compile(r"column \d+")
_KINDS: Mapping[str, Kind] = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"}


@dataclass
class Report:
    """What a file holds.

    Attributes:
        items: how many rows are good.
        cost: of them together, as kernelport.items has it.
        bad: how many are not.
        problems: what is wrong with them: the first findings, in the order of the file.
        problem_count: how many findings there are.
        fatal: whether the file cannot be used even without its bad rows.
        sources: how the file calls the fields that it gives, such as `"text"` or `column 2`, by field.
        left_out: columns or keys of the file that are not read.
        notes: what else there is to say.
        output_format: that the requests ask for (`wav`, `flac`, `ogg`, `mp3`, `aac`, `pcm`); None when they do not.
    """

    items: int = 0
    cost: int = 0
    bad: int = 0
    problems: list[Problem] = field(default_factory=list)
    problem_count: int = 0
    fatal: bool = False
    sources: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    output_format: str | None = None

    def understood(self) -> str:
        """What the file was taken for, such as `500 items: id <- column 1, text <- "text"; left out: "notes"`."""
        sources = ", ".join(f"{name} <- {source}" for name, source in self.sources.items())
        left_out = f"; left out: {', '.join(map(_label, self.left_out))}" if self.left_out else ""
        return f"{counted(self.items, 'item')}: {sources}{left_out}"


def detect(path: Path, encoding: str | None = None) -> Kind:
    """The kind of a file by its name's ending and its first lines: plain text when they say nothing else.

    Raises:
        ItemFileError: when it cannot be read.
    """
    name = PurePath(path.name.lower())
    kind = _KINDS.get((name.with_suffix("") if name.suffix in COMPRESSED else name).suffix, "text")
    with open_utf8(path, encoding) as file:
        if kind == "jsonl" and looks_like_requests(read_lines(file)):
            return "openai"
        if kind == "text" and looks_like_table(read_lines(file)):
            return "csv"
    return kind


def model_of(path: Path, encoding: str | None = None) -> str | None:
    """The `model` that an OpenAI batch file asks for first.

    Raises:
        ItemFileError: when it cannot be read.
    """
    with open_utf8(path, encoding) as file:
        return first_model(read_lines(file))


class ItemFile:
    """The items of a file, for one deployment. Memory grows by some 100 bytes a row that has an id, or could have; with
    plain text not at all.

    Args:
        path: the file.
        kind: what it is.
        deployment: the deployment's name.
        signature: its signature; an empty one when nobody has loaded the model yet.
        shared: inputs that the job gives once.
        columns: names in the file by field, where they differ.
        files: the folder of the files that values name as `@name`; None when none may be read.
        ignored: columns or keys to leave out.
        own_format: whether the job's output format is chosen already.
        split: what an item of plain text is; None for what the text looks like.
        ids: of which every row has to name one; None for ids of any kind, and for rows without.
        encoding: of the file, a name that Python knows; None for UTF-8 or UTF-16.
        aliases: further names of the deployment in OpenAI requests.

    Raises:
        ItemFileError: when `columns` has one name for two fields.
    """

    def __init__(
        self,
        path: Path,
        kind: Kind,
        deployment: str,
        signature: Signature,
        *,
        shared: Collection[str] = (),
        columns: Mapping[str, str] | None = None,
        ignored: Collection[str] = (),
        files: Path | None = None,
        own_format: bool = False,
        split: Split | None = None,
        ids: Collection[str] | None = None,
        encoding: str | None = None,
        aliases: Collection[str] = (),
    ) -> None:
        self._path = path
        self._files = files
        self.kind = kind
        self._encoding = encoding
        self._deployment = deployment
        self._names = (deployment, *aliases)
        self._fields = Fields(signature, shared=shared, columns=columns, ignored=ignored)
        self._own_format = own_format
        self._split = split
        self._ids = ids
        self._is_speech = is_speech(signature)
        self._checked: tuple[int, int] | None = None

    def check(self, seen: Callable[[int], None] = lambda rows: None, most_problems: int = MAX_PROBLEMS) -> Report:
        """Reads the whole file.

        Args:
            seen: is told now and then how many rows there were.
            most_problems: how many findings are told.

        Raises:
            ItemFileError: when it cannot be read.
        """
        report = Report(notes=[*self._hint(), *self._choice()])
        requests = OpenAIRows(self._fields, self._names, self._own_format)
        bad_line = 0
        self._checked = self._state()
        for entry in self._read(requests, report):
            if isinstance(entry, NewItem):
                report.items += 1
                report.cost += expected_cost(entry.inputs)
            else:
                report.problem_count += 1
                report.fatal |= entry.fatal
                report.bad += entry.line != bad_line
                bad_line = entry.line
                if len(report.problems) < most_problems:
                    report.problems.append(entry)
            if (report.items + report.bad) % REPORT_EVERY == 0:
                seen(report.items + report.bad)
        report.output_format = requests.output_format
        if any("expected UTF-8 text" in problem.finding for problem in report.problems):
            report.notes.append("--encoding names what a file is encoded in that is not UTF-8, such as windows-1252")
        for key, count in requests.left_out.items():
            named = f"{counted(count, 'request names', 'requests name')} {key}"
            report.notes.append(f"{named}, which {self._deployment} does not take: left out")
        return report

    def items(self) -> Iterator[NewItem]:
        """The good rows, in order.

        Raises:
            ItemFileError: when the file cannot be read, or has changed since it was checked.
        """
        for entry in self._read(OpenAIRows(self._fields, self._names, self._own_format), Report()):
            if isinstance(entry, NewItem):
                yield entry
        if self._checked not in (None, self._state()):
            raise ItemFileError(f"{self._path} has changed while it was read")

    def _hint(self) -> Iterator[str]:
        """What a text seems to be instead."""
        if self.kind == "text":
            with open_utf8(self._path, self._encoding) as file:
                first = list(itertools.islice(read_lines(file, self._encoding), _LINES_LOOKED_AT))
            if looks_like_objects(first):
                kind = "openai" if looks_like_requests(first) else "jsonl"
                yield f"it looks like JSON lines; a name that ends in .jsonl, or --input-format {kind}, says so"

    def _choice(self) -> Iterator[str]:
        """What is an item of a text of which nobody has said so."""
        if self.kind == "text" and self._split is None:
            with open_utf8(self._path, self._encoding) as file:
                yield chosen(read_lines(file, self._encoding))

    @property
    def _unit(self) -> Split:
        """What an item of plain text is."""
        return self._split or chosen_split(self._is_wrapped)

    @functools.cached_property
    def _is_wrapped(self) -> bool:
        with open_utf8(self._path, self._encoding) as file:
            return is_wrapped(read_lines(file, self._encoding))

    def _state(self) -> tuple[int, int]:
        try:
            status = self._path.stat()
        except OSError as error:
            raise ItemFileError(f"{self._path} cannot be read: {error.strerror}") from error
        return status.st_size, status.st_mtime_ns

    def _read(self, requests: OpenAIRows, report: Report) -> Iterator[NewItem | Problem]:
        lines_of_ids: dict[int, int] = {}
        with open_utf8(self._path, self._encoding) as file:
            for row in self._rows(read_lines(file, self._encoding), requests):
                if isinstance(row, Problem):
                    yield row
                    continue
                self._note_sources(row, report)
                item, problems = self._item(row)
                # A line's number may be the id of another one.
                may_meet = row.id is not None or self.kind == "jsonl"
                if not problems and may_meet and (finding := _twice(item.id, row.line, lines_of_ids)):
                    problems.append(Problem(row.line, row.shown.get(ID, ID), finding))
                if problems:
                    yield from problems
                else:
                    yield item

    def _rows(self, lines: Any, requests: OpenAIRows) -> Iterator[Row | Problem]:
        match self.kind:
            case "csv":
                return csv_rows(lines, self._fields)
            case "jsonl":
                return jsonl_rows(lines, self._fields)
            case "openai":
                return requests.read(lines)
            case "text":
                if self._fields.required not in ((), ("text",)) or "text" not in self._fields.inputs:
                    needed = ", ".join(self._fields.required)
                    finding = f"{self._deployment} takes more than text: expected CSV or JSONL with {needed}"
                    return iter([Problem(1, "", finding, fatal=True)])
                return text_rows(passages(lines, self._unit, wrapped=self._is_wrapped))

    def _note_sources(self, row: Row, report: Report) -> None:
        report.left_out.update(dict.fromkeys(row.left_out))
        for name in (ID, *row.values):
            if name in report.sources:
                continue
            if name == ID and (row.id is None or self.kind == "text"):
                report.sources[name] = "line number"
            elif self.kind == "text":
                report.sources[name] = self._unit
            else:
                report.sources[name] = _label(row.shown.get(name, name))

    def _item(self, row: Row) -> tuple[NewItem, list[Problem]]:
        problems: list[Problem] = []
        item = NewItem(id=f"{row.line:06}")
        if row.id is not None:
            try:
                item.id = _id(row.id)
                if self._ids is not None and item.id not in self._ids:
                    raise ValueProblem(f"expected an item of the job that has not succeeded, got {show(item.id)}")
            except ValueProblem as problem:
                problems.append(Problem(row.line, row.shown.get(ID, ID), str(problem)))
        elif self._ids is not None:
            problems.append(Problem(row.line, row.shown.get(ID, ID), "required"))
        for name, value in row.values.items():
            try:
                if name == "text" and self._is_speech and (finding := unsayable(value)):
                    raise ValueProblem(finding)
                if not self._fields.known:
                    if not isinstance(value, str):
                        raise ValueProblem(f"expected a text, got {show(value)}")
                    item.inputs.append(text_tensor(name, value))
                else:
                    spec = self._fields.specs[name]
                    declared = self._fields.declared[name]
                    item.inputs.append(tensor_of(spec, declared, value, parsed=row.parsed, files=self._files))
            except ValueProblem as problem:
                problems.append(Problem(row.line, row.shown.get(name, name), str(problem)))
        missing = (name for name in self._fields.required if name not in row.values)
        problems += [Problem(row.line, row.shown.get(name, name), "required") for name in missing]
        return item, problems


def _label(column: str) -> str:
    return column if _PLACE.fullmatch(column) else show(column)


def _id(value: Any) -> str:
    """An item's id of what the file has.

    Raises:
        ValueProblem: when it cannot be one.
    """
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not text.strip():
        raise ValueProblem(f"expected a text that names the item, got {show(value)}")
    if len(text) > MAX_ID_CHARACTERS:
        raise ValueProblem(f"expected at most {MAX_ID_CHARACTERS} characters, got {len(text)}")
    if not text.isprintable():
        raise ValueProblem(f"expected printable characters, got {show(text)}")
    return text


def _twice(item_id: str, line: int, lines_of_ids: dict[int, int]) -> str | None:
    # Hashes of 64 bits: with a million ids, one in forty million files has two that collide.
    first = lines_of_ids.setdefault(hash(item_id), line)
    return None if first == line else f"expected ids that differ, got {show(item_id)} as in line {first}"
