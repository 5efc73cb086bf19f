"""JSONL: an object a line, with the keys `id` and the deployment's inputs."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from kernelport.client.item_files.fields import FILE, ID, Fields, id_of_file
from kernelport.client.item_files.lines import Line
from kernelport.client.item_files.rows import Problem, Row
from kernelport.coercion import show


def jsonl_rows(lines: Iterable[Line | Problem], fields: Fields) -> Iterator[Row | Problem]:
    """Rows of a JSONL file. A key whose value is null is not given."""
    for parsed in read_objects(lines):
        if isinstance(parsed, Problem):
            yield parsed
            continue
        line, entry = parsed
        problems = [Problem(line, show(key), finding) for key in entry if (finding := fields.unknown(key))]
        if problems:
            yield from problems
            continue
        keys = {key: name for key, value in entry.items() if (name := fields.name_of(key)) and value is not None}
        given = {name: entry[key] for key, name in keys.items()}
        if len(given) < len(keys):
            yield Problem(line, "", f"expected one key for each field, got {', '.join(map(show, entry))}")
            continue
        file = given.pop(FILE, None)
        if ID not in given and isinstance(file, str):
            given[ID] = id_of_file(file)
        shown = {ID if name == FILE else name: key for key, name in keys.items() if name != key}
        left_out = [key for key in entry if fields.name_of(key) is None]
        yield Row(line, given.pop(ID, None), given, parsed=True, shown=shown, left_out=left_out)


def read_objects(lines: Iterable[Line | Problem]) -> Iterator[tuple[int, dict[str, Any]] | Problem]:
    """The line's number and the object on it, for every line that is not blank; or what is wrong with it."""
    first = True
    for line in lines:
        if isinstance(line, Problem):
            yield line
        elif line.text.strip():
            parsed = _object(line, first)
            yield parsed
            if isinstance(parsed, Problem) and parsed.fatal:
                return
            first = False


def looks_like_objects(lines: Iterable[Line | Problem]) -> bool:
    """Whether the first line that is not blank is an object."""
    first = next(read_objects(lines), None)
    return first is not None and not isinstance(first, Problem)


def _object(line: Line, first: bool) -> tuple[int, dict[str, Any]] | Problem:
    try:
        entry = _DECODER.decode(line.text)
    except json.JSONDecodeError as error:
        if first and line.text.strip() in ("[", "{"):
            return Problem(line.number, "", "expected one JSON object a line, got one over several lines", fatal=True)
        return Problem(line.number, "", f"expected a JSON object: {error.msg} at column {error.colno}")
    except (ValueError, RecursionError) as error:  # a number JSON has not, a key twice, thousands of digits or levels
        finding = "too many levels" if isinstance(error, RecursionError) else str(error)
        return Problem(line.number, "", f"expected a JSON object: {finding}")
    if not isinstance(entry, dict):
        return Problem(line.number, "", f"expected a JSON object, got {show(entry)}")
    return line.number, entry


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entry = dict(pairs)
    if len(entry) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {show(twice)} is given twice")
    return entry


def _constant(name: str) -> Any:
    raise ValueError(f"JSON has no {name}")


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant)
