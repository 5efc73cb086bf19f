"""`/openapi.json`, made of the routes themselves, and `/docs`, a page of it that needs nothing else."""

import base64
import hashlib
import html
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from starlette.types import ASGIApp

from kernelport import __version__
from kernelport.client.item_files.openai_file import URL as SPEECH
from kernelport.speech_request import FORMATS, MAX_SPEED, MIN_SPEED, SPANS, STREAM_FORMATS
from kernelport_api.doors.http.answers import JSON, Answer, json_answer
from kernelport_api.doors.http.endpoint import FORM, Endpoint, HttpCall
from kernelport_api.doors.http.errors import shape_name

_TEXT, _OBJECT = {"type": "string"}, {"type": "object"}
_VARIABLE = re.compile(r"{(\w+)(?::path)?}")
_STYLE = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}code{font-size:.9em}"
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; frame-ancestors 'none'"
# What bodies are, where it is worth telling.
_BODIES: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("POST", SPEECH): {
        "type": "object",
        "required": ["model", "input"],
        "properties": {
            "model": _TEXT,
            "input": {**_TEXT, "minLength": 1},
            "voice": {"oneOf": [_TEXT, {"type": "object", "required": ["id"], "properties": {"id": _TEXT}}]},
            "response_format": {"enum": list(FORMATS), "default": "mp3"},
            "speed": {"type": "number", "minimum": MIN_SPEED, "maximum": MAX_SPEED, "default": 1},
            "stream_format": {"enum": list(STREAM_FORMATS), "default": "audio"},
            "include": {"type": "array", "items": {"enum": [SPANS]}},
        },
    },
    ("POST", "/v1/batches"): {
        "type": "object",
        "required": ["input_file_id", "endpoint"],
        "properties": {
            "input_file_id": _TEXT,
            "endpoint": {"enum": [SPEECH]},
            "completion_window": {"enum": ["24h"]},
            "metadata": {"type": "object", "additionalProperties": _TEXT},
            "output_expires_after": _OBJECT,
        },
        "additionalProperties": False,
    },
    ("POST", "/api/jobs"): {
        "type": "object",
        "required": ["deployment"],
        "properties": {"deployment": _TEXT, "items": {"type": "array", "items": {"oneOf": [_TEXT, _OBJECT]}}},
    },
}
_ERRORS: Mapping[str, Mapping[str, Any]] = {
    "OpenAIError": {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"type": "object", "required": ["message", "type", "param", "code"]}},
    },
    "OpenInferenceError": {"type": "object", "required": ["error"], "properties": {"error": _TEXT}},
    "Error": {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"type": "object", "required": ["reason", "message", "violations"]}},
    },
}

# The method, the path, and what answers there.
Known = tuple[str, str, Endpoint]


class Description:
    """Describes routes."""

    def __init__(self, known: Iterable[Known]) -> None:
        self._known: Sequence[Known] = sorted(known, key=lambda route: (route[1], route[0]))

    async def openapi(self, call: HttpCall) -> ASGIApp:
        """This description, for programs."""
        paths: dict[str, dict[str, Any]] = {}
        for method, path, endpoint in self._known:
            paths.setdefault(_bare(path), {})[method.lower()] = _operation(method, path, endpoint)
        info = {"title": "KernelPort", "version": __version__}
        return json_answer({"openapi": "3.1.0", "info": info, "paths": paths, "components": {"schemas": _ERRORS}})

    async def page(self, call: HttpCall) -> ASGIApp:
        """This description, for people."""
        rows = "".join(
            f"<dt><code>{method} {html.escape(_bare(path))}</code></dt><dd>{html.escape(endpoint.summary)}</dd>"
            for method, path, endpoint in self._known
        )
        head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>KernelPort</title><style>{_STYLE}</style>'
        text = f"{head}<h1>KernelPort {__version__} over HTTP</h1><dl>{rows}</dl></html>"
        return Answer(text.encode(), "text/html; charset=utf-8", headers={"content-security-policy": _POLICY})


def _bare(path: str) -> str:
    """A path as the description has it."""
    return _VARIABLE.sub(r"{\1}", path)


def _operation(method: str, path: str, endpoint: Endpoint) -> dict[str, Any]:
    error = {"$ref": f"#/components/schemas/{shape_name(path)}"}
    told: dict[str, Any] = {
        "summary": inspect.cleandoc(endpoint.summary),
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": _TEXT} for name in _VARIABLE.findall(path)
        ],
        "responses": {
            "2XX": {"description": "as asked for"},
            "default": {"description": "why not", "content": {JSON: {"schema": error}}},
        },
    }
    if endpoint.takes:
        body = _BODIES.get((method, path), _OBJECT)
        kinds = {kind: {"schema": _OBJECT if kind == FORM else body} for kind in endpoint.takes}
        told["requestBody"] = {"content": kinds}
    elif endpoint.takes is not None:
        told["requestBody"] = {"content": {JSON: {"schema": _OBJECT}, "application/octet-stream": {}}}
    return told
