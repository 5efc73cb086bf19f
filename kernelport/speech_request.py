"""OpenAI's request for speech: what clients of `/v1/audio/speech`, and lines of its batches, send."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from kernelport.coercion import coerce, show
from kernelport.errors import FieldViolation, InvalidArgumentError
from kernelport.signature import Signature
from kernelport.tensors import Array

# By OpenAI's names: the ending of the file that a job makes of it, and its media type.
FORMATS: Mapping[str, tuple[str, str]] = {
    "mp3": (".mp3", "audio/mpeg"),
    "opus": (".ogg", "audio/ogg"),
    "aac": (".aac", "audio/aac"),
    "flac": (".flac", "audio/flac"),
    "wav": (".wav", "audio/wav"),
    "pcm": (".pcm", "audio/pcm"),
}
STREAM_FORMATS = ("audio", "sse")
# What an answer may tell beside the sound; so the output of the deployment is named.
SPANS = "spans"
MIN_SPEED, MAX_SPEED = 0.25, 4.0
# The voice that stands for none, among the aliases of voices.
DEFAULT_VOICE = "default"
# The keys of a request, and a header of it, where they are not called as what they become.
_KEYS = {"text": "input", "request_id": "Idempotency-Key"}
_INPUT = re.compile(r'inputs\["(.*)"\]')


@dataclass(frozen=True)
class SpeechRequest:
    """One request.

    Attributes:
        model: the name of a deployment, or an alias of one.
        text: what to say; `input` on the wire.
        voice: its name or id; empty for none.
        response_format: one of FORMATS.
        stream_format: one of STREAM_FORMATS.
        has_spans: whether the answer tells which part of the text each part of it speaks; `include` on the wire.
        others: further keys by name. Real clients send many, most of which mean nothing here.
    """

    model: str
    text: str
    voice: str = ""
    response_format: str = "mp3"
    stream_format: str = "audio"
    has_spans: bool = False
    others: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, body: Any) -> Self:
        """The request that JSON describes; null stands for a key that is not given.

        Raises:
            InvalidArgumentError: with every key that is not as it should be.
        """
        if not isinstance(body, dict):
            raise InvalidArgumentError.of([FieldViolation("body", f"expected an object, got {show(body)}")])
        given = {key: value for key, value in body.items() if value is not None}
        found = [FieldViolation(key, told) for key, told in _problems(given)]
        if found:
            raise InvalidArgumentError.of(found)
        return cls(
            model=given.pop("model"),
            text=given.pop("input"),
            voice=_voice(given.pop("voice", "")),
            response_format=given.pop("response_format", "mp3"),
            stream_format=given.pop("stream_format", "audio"),
            has_spans=SPANS in given.pop("include", ()),
            others=given,
        )

    def inputs(self, signature: Signature, voices: Mapping[str, str]) -> dict[str, Array]:
        """The inputs of a deployment: of what was asked for, all that it has an input for.

        Args:
            voices: what stands for some names of voices.

        Raises:
            InvalidArgumentError: when a value does not become what the deployment declares; it names the key.
        """
        declared = {spec.name for spec in signature.inputs} or {"text"}
        values = {name: value for name, value in self.others.items() if name in declared}
        voice = self.voice or DEFAULT_VOICE
        if "voice" in declared and (named := voices.get(voice, self.voice)):
            values["voice"] = named
        if "speed" not in declared and self.others.get("speed", 1) != 1:
            found = f'"{self.model}" speaks at one speed: expected 1, got {show(self.others["speed"])}'
            raise InvalidArgumentError.of([FieldViolation("speed", found)])
        try:
            return coerce(values | {"text": self.text}, signature)
        except InvalidArgumentError as error:
            raise by_key(error) from error


def by_key(error: InvalidArgumentError) -> InvalidArgumentError:
    """The same error about the keys of a request in place of a deployment's inputs."""
    return InvalidArgumentError.of(FieldViolation(key_of(each.field), each.description) for each in error.violations)


def key_of(field: str) -> str:
    """The key of a request that becomes an input, whose path is given."""
    found = _INPUT.fullmatch(field)
    name = found[1] if found else field
    return _KEYS.get(name, name)


def _problems(given: Mapping[str, Any]) -> list[tuple[str, str]]:
    problems = []
    for key in ("model", "input"):
        if key not in given:
            problems.append((key, "required"))
        elif not isinstance(given[key], str):
            problems.append((key, f"expected a text, got {show(given[key])}"))
    if isinstance(text := given.get("input"), str) and not text.strip():
        problems.append(("input", "expected a text, got an empty one"))
    voice = given.get("voice", "")
    if not isinstance(voice, str) and not (isinstance(voice, dict) and isinstance(voice.get("id"), str)):
        problems.append(
            ("voice", f'expected a voice\'s name, or an object such as {{"id": "anna"}}; got {show(voice)}')
        )
    for key, known in (("response_format", tuple(FORMATS)), ("stream_format", STREAM_FORMATS)):
        if (value := given.get(key, known[0])) not in known:
            problems.append((key, f"expected one of {', '.join(known)}, got {show(value)}"))
    include = given.get("include", [])
    if not isinstance(include, list) or any(each != SPANS for each in include):
        problems.append(("include", f'expected ["{SPANS}"] or an empty list, got {show(include)}'))
    speed = given.get("speed", 1)
    is_number = isinstance(speed, (int, float)) and not isinstance(speed, bool)
    if not (is_number and MIN_SPEED <= speed <= MAX_SPEED):
        problems.append(("speed", f"expected a number from {MIN_SPEED:g} to {MAX_SPEED:g}, got {show(speed)}"))
    return problems


def _voice(given: str | dict[str, Any]) -> str:
    return given if isinstance(given, str) else str(given["id"])
