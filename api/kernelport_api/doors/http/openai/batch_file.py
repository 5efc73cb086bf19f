"""A file of requests, as OpenAI's batches have it: what of it runs, what lines are refused, and what refuses all."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from kernelport.client.item_files.jsonl_file import read_objects
from kernelport.client.item_files.lines import read_lines
from kernelport.client.item_files.openai_file import URL, first_model
from kernelport.client.item_files.rows import Problem
from kernelport.coercion import show, to_tensors
from kernelport.errors import FieldViolation, InvalidArgumentError
from kernelport.limits import MAX_NAME
from kernelport.signature import Signature
from kernelport.speech_request import SpeechRequest, by_key
from kernelport.v1 import job_pb2 as pb
from kernelport_api.doors.http.errors import Problem as ToldProblem
from kernelport_api.doors.http.errors import openai_body
from kernelport_api.services.jobs.validation import item_violations

MOST_LINES = 50_000
# What is told of a file that fails as a whole.
_MOST_ERRORS = 100


@dataclass(frozen=True)
class Takes:
    """What a deployment takes.

    Attributes:
        aliases: what stands for some names of voices.
        voices: the names of registered voices; None when the deployment takes any.
    """

    signature: Signature
    aliases: Mapping[str, str]
    voices: frozenset[str] | None


@dataclass
class BatchFile:
    """What is in a file.

    Attributes:
        items: of the lines that run.
        refused: the lines of the error file for those that do not.
        errors: what fails the file as a whole, as OpenAI tells it; none when it runs.
        response_format: of all of its requests.
    """

    items: list[pb.NewItem] = field(default_factory=list)
    refused: list[bytes] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    response_format: str = "mp3"

    @property
    def total(self) -> int:
        """How many requests it has."""
        return len(self.items) + len(self.refused)


def model_of(path: Path) -> str | None:
    """The model that the first request of a file names."""
    with path.open("rb") as file:
        return first_model(read_lines(file))


def read(path: Path, takes: Takes) -> BatchFile:
    """Reads a file; it blocks."""
    found, lines_of_ids = BatchFile(), dict[str, int]()
    model: str | None = None
    with path.open("rb") as file:
        for entry in read_objects(read_lines(file)):
            if isinstance(entry, Problem):
                found.errors.append(_error(entry.line, "invalid_json_line", entry.finding))
            else:
                line, request = entry
                errors = list(_wrong(line, request, lines_of_ids))
                body = request.get("body")
                if not errors and isinstance(body, dict):
                    is_first = not found.total
                    model = body.get("model") if is_first else model
                    chosen = body.get("response_format") or "mp3"
                    found.response_format = chosen if is_first and isinstance(chosen, str) else found.response_format
                    errors = list(_unlike(line, body, model, found.response_format))
                    if not errors:
                        _take(found, str(request["custom_id"]), body, takes)
                found.errors += errors
            if len(found.errors) >= _MOST_ERRORS:
                break
            if found.total > MOST_LINES:
                found.errors.append(_error(None, "too_many_requests", f"expected at most {MOST_LINES:,} requests"))
                break
    if not found.total and not found.errors:
        found.errors.append(_error(None, "empty_file", "expected at least one request"))
    return found


def _wrong(line: int, request: dict[str, Any], lines_of_ids: dict[str, int]) -> Iterator[dict[str, Any]]:
    """What is wrong with what stands around a body."""
    custom_id = request.get("custom_id")
    if not isinstance(custom_id, str) or not 0 < len(custom_id) <= MAX_NAME:
        expected = f"expected a text of 1 to {MAX_NAME} characters, got {show(custom_id)}"
        yield _error(line, "invalid_custom_id", expected, "custom_id")
    elif (first := lines_of_ids.setdefault(custom_id, line)) != line:
        yield _error(line, "duplicate_custom_id", f"{show(custom_id)} stands in line {first}, too", "custom_id")
    for key, expected in (("method", "POST"), ("url", URL)):
        if request.get(key) != expected:
            yield _error(line, f"invalid_{key}", f'expected "{expected}", got {show(request.get(key))}', key)
    if not isinstance(request.get("body"), dict):
        yield _error(line, "invalid_body", f"expected an object, got {show(request.get('body'))}", "body")


def _unlike(line: int, body: dict[str, Any], model: Any, response_format: str) -> Iterator[dict[str, Any]]:
    """In what a request is not like the first: a file has one model and one format."""
    if body.get("model") != model:
        expected = f"expected {show(model)} as in the first request, got {show(body.get('model'))}"
        yield _error(line, "mismatched_model", expected, "body.model")
    if (chosen := body.get("response_format") or "mp3") != response_format:
        expected = f"expected {show(response_format)} as in the first request, got {show(chosen)}"
        yield _error(line, "mismatched_format", expected, "body.response_format")


def _take(found: BatchFile, custom_id: str, body: dict[str, Any], takes: Takes) -> None:
    """Adds a request to those that run, or to those that are refused."""
    try:
        request = SpeechRequest.of(body)
        if request.stream_format != "audio":
            told = FieldViolation("stream_format", "expected audio: a batch has nobody to stream to")
            raise InvalidArgumentError.of([told])
        if request.has_spans:
            told = FieldViolation("include", "expected none: the lines of a batch have the sound alone")
            raise InvalidArgumentError.of([told])
        inputs = request.inputs(takes.signature, takes.aliases)
        item = pb.NewItem(id=custom_id, inputs=to_tensors(inputs))
        if violations := list(item_violations([item], [], takes.signature)):
            bare = [FieldViolation(each.field.removeprefix("items[0]."), each.description) for each in violations]
            raise by_key(InvalidArgumentError.of(bare))
        voice = inputs.get("voice")
        if takes.voices is not None and voice is not None and (name := bytes(voice).decode()) not in takes.voices:
            raise InvalidArgumentError.of([FieldViolation("voice", f"no voice is named {show(name)}")])
        found.items.append(item)
    except InvalidArgumentError as error:
        told_problem = ToldProblem.of(error)
        found.refused.append(line_of(custom_id, told_problem.status, openai_body(told_problem)))


def line_of(custom_id: str, status: int, body: Mapping[str, Any]) -> bytes:
    """A line of an output or error file."""
    response = {"status_code": status, "request_id": custom_id, "body": body}
    line = {"id": f"batch_req_{custom_id}", "custom_id": custom_id, "response": response, "error": None}
    return msgspec.json.encode(line) + b"\n"


def _error(line: int | None, code: str, message: str, param: str | None = None) -> dict[str, Any]:
    return {"code": code, "line": line, "message": message, "param": param}
