"""The studio as any HTTP client sees it: its files, how browsers keep them, and what its view of voices asks."""

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from kernelport.audio import encode_audio
from kernelport.config.settings import bundled_deployments
from kernelport.supervisor.stack import Stack
from tests.conftest import serving_stack, stack_settings
from tests.http.calls import ask
from tests.http.test_api import form

MOST_BYTES = 200_000
STATIC = files("kernelport_api.doors.http.studio").joinpath("static")


def test_it_is_small() -> None:
    assert sum(len(file.read_bytes()) for file in STATIC.iterdir()) < MOST_BYTES


def test_each_file_is_sent_once_to_who_keeps_it(stack: Stack) -> None:
    for path in ["/", *(f"/studio/{file.name}" for file in STATIC.iterdir())]:
        first = ask(stack.url, "GET", path)
        assert first.status == 200, path
        assert first.headers["cache-control"] == "no-cache"
        again = ask(stack.url, "GET", path, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", first.headers["etag"])
        assert ask(stack.url, "GET", path, headers={"If-None-Match": '"other"'}).body == first.body


def test_nothing_else_of_the_disk_is_sent(stack: Stack) -> None:
    for name in ("none.js", "..%2Ffiles.py", "%2Fetc%2Fpasswd", "__init__.py"):
        assert ask(stack.url, "GET", f"/studio/{name}").status == 404


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    settings = replace(stack_settings(bundled_deployments()), studio=False)
    with serving_stack(settings, [], tmp_path) as stack:
        assert [ask(stack.url, "GET", path).status for path in ("/", "/studio/app.js")] == [404, 404]


def test_a_recording_is_checked_before_it_becomes_a_voice(stack: Stack) -> None:
    wav = encode_audio(np.sin(np.arange(24_000, dtype=np.float32) / 20) / 2, 24_000, ".wav")
    body, headers = form({}, ("audio", "a.wav", wav))
    told = ask(stack.url, "POST", "/api/voices/check", body, headers).json()
    assert (told["seconds"], told["sample_rate"], told["format"], told["name"]) == (1.0, 24_000, "WAV", "")
    short = encode_audio(np.sin(np.arange(2_000, dtype=np.float32) / 20) / 2, 24_000, ".wav")
    body, headers = form({}, ("audio", "a.wav", short))
    refused = ask(stack.url, "POST", "/api/voices/check", body, headers)
    assert refused.status == 400
    assert refused.json()["error"]["violations"][0] == {
        "field": "audio",
        "description": "expected at least 0.5 s of speech, got 0.08 s",
    }


def test_a_voices_recording_is_what_it_was_registered_with(stack: Stack) -> None:
    wav = encode_audio(np.sin(np.arange(24_000, dtype=np.float32) / 20) / 2, 24_000, ".wav")
    fields = {"name": "studio-anna", "consent": "on tape", "owner": "me"}
    body, headers = form(fields, ("audio", "anna.wav", wav))
    assert ask(stack.url, "POST", "/api/voices", body, headers).status == 200
    heard = ask(stack.url, "GET", "/api/voices/studio-anna/recording")
    assert (heard.headers["content-type"], heard.body) == ("audio/wav", wav)
    ask(stack.url, "DELETE", "/api/voices/studio-anna")
    assert ask(stack.url, "GET", "/api/voices/studio-anna/recording").status == 404


@pytest.mark.parametrize("key", ["consent", "min_seconds", "max_seconds", "max_bytes", "formats"])
def test_what_is_asked_of_a_voice_is_told(stack: Stack, key: str) -> None:
    assert ask(stack.url, "GET", "/api/voices").json()["rules"][key]
