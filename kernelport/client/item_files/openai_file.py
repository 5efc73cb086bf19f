"""The JSONL of the OpenAI batch API, with requests to /v1/audio/speech."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from kernelport.client.item_files.fields import Fields
from kernelport.client.item_files.jsonl_file import read_objects
from kernelport.client.item_files.lines import Line
from kernelport.client.item_files.rows import Problem, Row
from kernelport.coercion import show
from kernelport.errors import InvalidArgumentError
from kernelport.speech_request import SpeechRequest

URL = "/v1/audio/speech"
# Their names for formats, and the names that jobs have for them.
FORMATS = {"wav": "wav", "flac": "flac", "opus": "ogg", "mp3": "mp3", "aac": "aac", "pcm": "pcm"}
_KEYS = ("custom_id", "method", "url", "body")


class OpenAIRows:
    """Rows of the requests for one deployment.

    Attributes:
        output_format: the `response_format` of the requests, in a job's words; None when none names one.
        left_out: how many requests have a key that the deployment has no input for, by key.

    Args:
        fields: of the deployment.
        names: of the deployment, one of which every `model` must be; its own is the first.
        own_format: whether the job's format is chosen already, so that `response_format` does not matter.
    """

    def __init__(self, fields: Fields, names: Sequence[str], own_format: bool) -> None:
        self.output_format: str | None = None
        self.left_out: dict[str, int] = {}
        self._fields = fields
        self._names = names
        self._own_format = own_format
        self._format_line = 0
        self._shown = {name: f"body.{name}" for name in fields.inputs} | {"text": "body.input", "id": "custom_id"}

    def read(self, lines: Iterable[Line | Problem]) -> Iterator[Row | Problem]:
        """A row for every request."""
        for parsed in read_objects(lines):
            if isinstance(parsed, Problem):
                yield parsed
                continue
            line, request = parsed
            body = request.get("body")
            problems = list(self._problems(line, request, body))
            yield from problems
            if not problems and isinstance(body, dict):
                yield Row(line, request["custom_id"], self._values(body), parsed=True, shown=self._shown)

    def _problems(self, line: int, request: dict[str, Any], body: Any) -> Iterator[Problem]:
        for key in request:
            if key not in _KEYS:
                yield Problem(line, show(key), f"expected one of {', '.join(_KEYS)}")
        if request.get("custom_id") is None:
            yield Problem(line, "custom_id", "required")
        for key, expected in (("method", "POST"), ("url", URL)):
            if request.get(key) != expected:
                yield Problem(line, key, f'expected "{expected}", got {show(request.get(key))}')
        if not isinstance(body, dict):
            yield Problem(line, "body", f"expected an object, got {show(body)}")
            return
        if body.get("model") not in self._names:
            yield Problem(line, "body.model", f'expected "{self._names[0]}", got {show(body.get("model"))}')
        try:
            asked = self._request(body)
        except InvalidArgumentError as error:
            for found in error.violations:
                yield Problem(line, f"body.{found.field}", found.description)
            return
        if asked.stream_format != "audio":
            yield Problem(line, "body.stream_format", 'expected "audio": a job has nobody to stream to')
        if asked.has_spans:
            yield Problem(line, "body.include", "expected none: name the outputs of the job, such as spans")
        yield from self._format_problems(line, body.get("response_format"))

    def _format_problems(self, line: int, wanted: Any) -> Iterator[Problem]:
        if wanted is None or self._own_format:
            return
        if self.output_format is None:
            self.output_format, self._format_line = FORMATS[wanted], line
        elif FORMATS[wanted] != self.output_format:
            expected = f"expected the format of line {self._format_line}: a job has one"
            yield Problem(line, "body.response_format", f"{expected}; got {show(wanted)}")

    def _request(self, body: dict[str, Any]) -> SpeechRequest:
        """The request that a body is; a format that does not matter is not looked at."""
        return SpeechRequest.of({**body, "response_format": None} if self._own_format else body)

    def _values(self, body: dict[str, Any]) -> dict[str, Any]:
        request = self._request(body)
        given = {**request.others, **({"voice": request.voice} if request.voice else {})}
        for key in given.keys() - set(self._fields.inputs):
            self.left_out[key] = self.left_out.get(key, 0) + 1
        return {"text": request.text, **{name: given[name] for name in self._fields.inputs if name in given}}


def first_model(lines: Iterable[Line | Problem]) -> str | None:
    """The `model` of the first request that names one."""
    for parsed in read_objects(lines):
        if not isinstance(parsed, Problem):
            body = parsed[1].get("body")
            model = body.get("model") if isinstance(body, dict) else None
            if isinstance(model, str):
                return model
    return None


def looks_like_requests(lines: Iterable[Line | Problem]) -> bool:
    """Whether the first object is a request of the OpenAI batch API."""
    first = next((parsed for parsed in read_objects(lines) if not isinstance(parsed, Problem)), None)
    return first is not None and "custom_id" in first[1]
