"""Voices are listed, heard, added from a file or a microphone, tried, and deleted."""

import io
import re
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from kernelport.audio import encode_audio
from kernelport.supervisor.stack import Stack
from tests.browser.conftest import Visit, Watched
from tests.http.calls import ask
from tests.http.test_api import form
from tests.waiting import wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Page

RATE = 48_000
HOSTILE = "<b onclick=alert(1)>Anna</b> \u202egnirts\u202c"


def tone(seconds: float) -> bytes:
    """A WAV file of a tone with silence around it, a second before and one behind."""
    sound = np.sin(np.arange(round(seconds * RATE), dtype=np.float32) / 30) / 3
    silence = np.zeros(RATE, np.float32)
    return encode_audio(np.concatenate([silence, sound, silence]), RATE, ".wav")


@pytest.fixture(autouse=True)
def no_voices(studio: Stack) -> Iterator[None]:
    """Each test begins and ends without voices."""
    yield
    for voice in ask(studio.url, "GET", "/api/voices").json()["voices"]:
        ask(studio.url, "DELETE", f"/api/voices/{voice['name']}")


def choose(page: "Page", wav: bytes, name: str = "anna.wav") -> None:
    """Gives the page a file."""
    page.get_by_label("A file").set_input_files({"name": name, "mimeType": "audio/wav", "buffer": wav})


def save(page: "Page", name: str = "anna") -> None:
    """Fills in what is asked, and saves."""
    page.get_by_label("Name").fill(name)
    page.get_by_label("Who answers for it").fill(HOSTILE)
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name="Save the voice").click()


def recording(studio: Stack, name: str = "anna") -> bytes:
    return ask(studio.url, "GET", f"/api/voices/{name}/recording").body


def test_a_file_becomes_a_voice_that_is_shown_heard_and_deleted(studio: Stack, visit: Visit) -> None:
    page = visit("voices")
    page.get_by_text("No voices yet").wait_for()
    page.get_by_role("link", name="Add a voice").click()
    wav = tone(3)
    choose(page, wav)
    page.get_by_text("The server takes it: 5 sec at 48 kHz.").wait_for()
    save(page)
    page.get_by_role("heading", name="anna").wait_for()
    assert HOSTILE in (page.get_by_role("listitem").text_content() or "")
    assert recording(studio) == wav
    with page.expect_response(re.compile("/recording")) as heard:
        page.get_by_role("button", name="Listen anna").click()
    assert heard.value.ok
    page.get_by_role("button", name="Delete anna").click()
    page.get_by_role("dialog").get_by_text("cannot be brought back").wait_for()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.get_by_text("No voices yet").wait_for()


def test_only_the_part_that_is_kept_is_sent(studio: Stack, visit: Visit) -> None:
    page = visit("voices/add")
    choose(page, tone(3))
    page.get_by_label("Start").fill(str(RATE))
    page.get_by_label("End").fill(str(4 * RATE))
    page.get_by_text("The server takes it: 3 sec at 48 kHz.").wait_for()
    save(page)
    page.get_by_role("heading", name="anna").wait_for()
    with wave.open(io.BytesIO(recording(studio))) as file:
        assert file.getnframes() == 3 * RATE
    samples, _ = soundfile.read(io.BytesIO(recording(studio)))
    expected, _ = soundfile.read(io.BytesIO(tone(3)))
    np.testing.assert_allclose(samples, expected[RATE : 4 * RATE], atol=1e-4)


@pytest.mark.parametrize(
    ("wav", "told"),
    [(tone(0)[: 44 + RATE // 4], "expected"), (b"no sound at all", "expected"), (tone(0), "silence")],
    ids=["too short", "no recording", "silent"],
)
def test_the_servers_own_check_says_why_a_recording_will_not_do(
    visit: Visit, watched: Watched, wav: bytes, told: str
) -> None:
    watched.allowed.append("400 (Bad Request)")
    page = visit("voices/add")
    choose(page, wav)
    page.get_by_role("alert").filter(has_text=told).wait_for()
    assert page.get_by_role("button", name="Save the voice").is_disabled()


def test_a_voice_is_tried_before_it_is_saved(visit: Visit) -> None:
    page = visit("voices/add")
    choose(page, tone(3))
    page.get_by_role("button", name="Speak like this").click()
    spoken = page.get_by_label("Try it")
    spoken.wait_for()
    wait_for(lambda: spoken.evaluate("audio => audio.duration > 4.9"))


def test_a_microphone_is_heard_after_a_countdown(studio: Stack, visit: Visit) -> None:
    page = visit("voices/add")
    page.get_by_role("button", name="Record with the microphone").click()
    page.get_by_text("Recording begins in 3").wait_for()
    page.get_by_text(re.compile("0:0[2-9] of 1:00")).wait_for()
    wait_for(lambda: page.get_by_label("How loud the microphone is").evaluate("meter => meter.value > 0"))
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("The server takes it").wait_for()
    save(page, "beeps")
    page.get_by_role("heading", name="beeps").wait_for()
    samples, _ = soundfile.read(io.BytesIO(recording(studio, "beeps")))
    assert np.abs(samples).max() > 0.05


def test_without_consent_nothing_is_saved(studio: Stack, visit: Visit, tmp_path: Path) -> None:
    page = visit("voices/add")
    choose(page, tone(3))
    page.get_by_text("The server takes it").wait_for()
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Who answers for it").fill("me")
    page.get_by_role("button", name="Save the voice").click()
    assert page.evaluate("document.querySelector('form :invalid').type") == "checkbox"
    page.get_by_text("The speaker knows that this voice is cloned").wait_for()
    assert ask(studio.url, "GET", "/api/voices").json()["voices"] == []


def test_a_name_that_is_taken_is_told(visit: Visit, watched: Watched) -> None:
    watched.allowed.append("409 (Conflict)")
    page = visit("voices/add")
    choose(page, tone(3))
    page.get_by_text("The server takes it").wait_for()
    save(page)
    page.get_by_role("heading", name="anna").wait_for()
    page.get_by_role("link", name="Add a voice").click()
    choose(page, tone(3))
    page.get_by_text("The server takes it").wait_for()
    save(page)
    page.get_by_role("alert").filter(has_text='there is a voice "anna" already').wait_for()


def test_two_clicks_save_a_voice_once(visit: Visit) -> None:
    page = visit("voices/add")
    choose(page, tone(3))
    page.get_by_text("The server takes it").wait_for()
    sent: list[str] = []
    page.on("request", lambda request: sent.append(f"{request.method} {request.url.partition('/api')[2]}"))
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Who answers for it").fill("me")
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name="Save the voice").dblclick()
    page.get_by_role("heading", name="anna").wait_for()
    assert sent.count("POST /voices") == 1


def test_a_voice_that_was_deleted_does_not_stay_chosen(studio: Stack, visit: Visit) -> None:
    body, headers = form({"name": "anna", "owner": "me", "consent": "on tape"}, ("audio", "anna.wav", tone(3)))
    assert ask(studio.url, "POST", "/api/voices", body, headers).status == 200
    page = visit()
    page.get_by_label("Deployment").select_option("parrot")
    page.get_by_label("Voice").select_option("anna")
    ask(studio.url, "DELETE", "/api/voices/anna")
    page.get_by_role("option", name="anna").wait_for(state="detached")
    wait_for(lambda: page.get_by_label("Voice").input_value() == "")
    assert page.get_by_label("Voice").evaluate("(select) => select.selectedOptions[0]?.label") == "Its own"
