"""Bodies over HTTP that are nearly right: the Open Inference Protocol's, speech, forms; and WebSockets."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
from hypothesis import strategies as st

from kernelport.signature import Signature
from kernelport_api.doors.http.openai import batch_file
from kernelport_api.doors.http.openai.conversation import PATH as STREAM
from tests.fuzz.readers import SIGNATURE, recording
from tests.fuzz.routes import Ask
from tests.fuzz.target import Target, expect
from tests.fuzz.values import garbled, json_values, mostly, numbers, texts
from tests.fuzz.world import FUZZED, SPEECH, World

ANSWER_S = 20.0
_BOUNDARY = "fuzzed"
_FORM = f"multipart/form-data; boundary={_BOUNDARY}"
_SPEECH = "/v1/audio/speech"


def batch_files(folder: Path) -> Target:
    """Files of OpenAI's batches, as the front door reads them.

    Args:
        folder: for the file.
    """

    def check(data: bytes) -> None:
        path = folder / "requests.jsonl"
        path.write_bytes(data)
        batch_file.model_of(path)
        for signature, voices in ((SIGNATURE, frozenset({"anna"})), (Signature(), None)):
            found = batch_file.read(path, batch_file.Takes(signature, {"alloy": "anna"}, voices))
            ids = [item.id for item in found.items]
            expect(len(set(ids)) == len(ids), f"an id comes twice: {ids}")
            expect(bool(found.errors) or found.total > 0, "a file without requests is taken")

    body = mostly(_speech_keys(), st.dictionaries(texts, json_values, max_size=3) | json_values)
    line = st.fixed_dictionaries(
        {
            "custom_id": mostly(st.uuids().map(str), texts | json_values),
            "method": mostly(st.just("POST"), texts),
            "url": mostly(st.just(_SPEECH), texts),
            "body": body,
        }
    )
    lines = st.lists(line.map(lambda found: json.dumps(found).encode()), max_size=4).map(b"\n".join)
    return Target("batch-files", mostly(lines, garbled(lines) | st.binary(max_size=60)), check)


def bodies(world: World) -> list[Target]:
    """What is sent to a running stack."""
    return [
        Target("body-infer", _infer_bodies(), Ask(world, "POST"), most=60, shrinks=False),
        Target("body-speech", _speech_bodies(), Ask(world, "POST"), most=20, shrinks=False),
        Target("body-forms", _forms(), Ask(world, "POST"), most=40, shrinks=False),
        Target("websocket", st.lists(_frames(), max_size=5), lambda frames: _talk(world, frames), 30, shrinks=False),
    ]


@st.composite
def _infer_bodies(draw: Any) -> tuple[str, str, bytes, dict[str, str]]:
    """A request of the Open Inference Protocol: JSON, and maybe bytes behind it."""
    shape = draw(st.lists(st.integers(0, 3), min_size=4, max_size=4) | st.lists(numbers, max_size=5))
    behind = draw(st.binary(max_size=64))
    size = draw(st.just(len(behind)) | numbers | json_values)
    tensor: dict[str, Any] = {
        "name": draw(mostly(st.just("x"), texts)),
        "datatype": draw(st.sampled_from(["FP32", "FP32", "BYTES", "INT64", "BF16", "bool", ""])),
        "shape": shape,
    }
    tensor |= draw(st.sampled_from([{"parameters": {"binary_data_size": size}}, {"data": draw(json_values)}, {}]))
    request = {"inputs": [tensor] * draw(st.integers(1, 2)), "id": draw(texts), "parameters": draw(_parameters())}
    head = json.dumps(request).encode()
    told = draw(mostly(st.just(str(len(head))), numbers.map(str) | st.just("")))
    body = draw(mostly(st.just(head + behind), garbled(st.just(head + behind))))
    headers = {"Inference-Header-Content-Length": told} if told else {}
    return f"/v2/models/{FUZZED}/infer", "application/octet-stream", body, headers


def _parameters() -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(["timeout", "binary_data_output", "priority"]), json_values, max_size=2)


def _speech_keys() -> st.SearchStrategy[dict[str, Any]]:
    sound = {"model": st.just(SPEECH), "input": mostly(st.sampled_from(["Yes.", "No, it is 3:15."]), texts)}
    odd = st.dictionaries(
        st.sampled_from(["voice", "speed", "response_format", "stream_format", "instructions", "include", "input"]),
        json_values | st.sampled_from(["wav", "pcm", "sse", "mp3", 1.5, ["spans"]]),
        max_size=2,
    )
    return st.tuples(st.fixed_dictionaries(sound), odd).map(lambda both: both[0] | both[1])


def _speech_bodies() -> st.SearchStrategy[tuple[str, str, bytes, dict[str, str]]]:
    body = _speech_keys().map(lambda found: json.dumps(found).encode())
    return mostly(body, garbled(body)).map(lambda data: (_SPEECH, "application/json", data, {}))


@st.composite
def _forms(draw: Any) -> tuple[str, str, bytes, dict[str, str]]:
    """Forms of the routes that take them."""
    path = draw(
        st.sampled_from(["/v1/files", "/v1/audio/voices", "/api/voices/check", "/api/jobs", "/api/jobs/preview"])
    )
    names = ["file", "purpose", "name", "consent", "audio_sample", "recording", "deployment", "items", "spec", "owner"]
    contents = st.sampled_from([b"batch", b"text\nYes.\n", b'{"text": "Yes."}\n', SPEECH.encode(), recording()])
    parts = draw(st.lists(st.tuples(st.sampled_from(names), contents | st.binary(max_size=20), texts), max_size=4))
    sent = b""
    for name, content, file_name in parts:
        named = f'; filename="{file_name}"'.encode(errors="replace") if draw(st.booleans()) else b""
        sent += f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'.encode() + named
        sent += b"\r\n\r\n" + content + b"\r\n"
    sent += f"--{_BOUNDARY}--\r\n".encode()
    return path, _FORM, draw(mostly(st.just(sent), garbled(st.just(sent)))), {}


def _frames() -> st.SearchStrategy[str | bytes]:
    """Messages of a conversation; the first should be its greeting, and is often."""
    greeting = _speech_keys().map(lambda found: {"type": "session.update", "session": {**found, "input": None}})
    bare = st.just({"type": "session.update", "session": {"model": SPEECH, "response_format": "pcm"}})
    said = st.sampled_from(["input_text.append", "input_text.flush", "input_text.end", "input_text.cancel", "other"])
    other = st.fixed_dictionaries({"type": said, "text": texts | json_values})
    sound = (bare | bare | greeting | other | json_values).map(json.dumps)
    return sound | texts | st.binary(max_size=20)


def _talk(world: World, frames: Sequence[str | bytes]) -> None:
    async def talk() -> int | None:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(world.stack.url + STREAM, timeout=aiohttp.ClientWSTimeout(ws_close=5)) as socket,
        ):
            try:
                for frame in frames:
                    sent = frame.encode(errors="replace").decode() if isinstance(frame, str) else frame
                    await (socket.send_str(sent) if isinstance(sent, str) else socket.send_bytes(sent))
                await socket.send_str(json.dumps({"type": "input_text.end"}))
                async with asyncio.timeout(ANSWER_S):
                    while not (await socket.receive()).type >= aiohttp.WSMsgType.CLOSE:
                        pass
            except ConnectionError:
                pass
            return socket.close_code

    try:
        code = asyncio.run(talk())
    except TimeoutError:
        code = None
        expect(not frames, f"no end within {ANSWER_S:g} s of {frames!r}")  # one that says nothing is waited for
    expect(code != 1011, f"closed as failed after {frames!r}")
    world.check()
