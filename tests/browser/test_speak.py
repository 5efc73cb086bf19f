"""One writes, and hears it: the view `Speak` in a real browser, on a real stack."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from redis import Redis

from kernelport.broker import keys
from kernelport.supervisor.stack import Stack
from tests.browser.conftest import Visit, Watched
from tests.http.calls import ask
from tests.waiting import wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

SENTENCE = "The harbour was quiet, and the boats lay still."
TEXT = f"{SENTENCE} “Good morning”, said Anna 🙂. Nobody else was there."
CHAPTER = f"{SENTENCE} " * 400
SPEECH = "/v1/audio/speech"


def speak(page: "Page", text: str) -> "Locator":
    """Has a text spoken; the player that tells of it."""
    page.get_by_label("Text", exact=True).fill(text)
    page.keyboard.press("Control+Enter")
    return page.get_by_role("region", name="What is being heard").first


def over(page: "Page") -> None:
    """Waits until all has been heard."""
    page.get_by_role("button", name="Speak", exact=True).wait_for()


def slider(page: "Page") -> "Locator":
    """Where the player is."""
    return page.get_by_role("slider", name="Place in the speech")


def pcm(studio: Stack, **asked: Any) -> bytes:
    """The same as the server gives it."""
    return ask(studio.url, "POST", SPEECH, {"model": "hibari-en", "response_format": "pcm", **asked}).body


def test_what_is_heard_is_what_the_server_sent(studio: Stack, visit: Visit) -> None:
    page = visit(tapped=True)
    page.get_by_label("speed").fill("1.5")
    player = speak(page, TEXT)
    page.locator("mark").filter(has_text="The harbour").wait_for()
    over(page)
    played = page.evaluate("window.heard.flatMap((block) => [...block].map((sample) => sample * 32768))")
    heard, sent = np.int16(played), np.frombuffer(pcm(studio, input=TEXT, speed=1.5), "<i2")
    if player.get_attribute("data-underruns") == "0":
        assert np.array_equal(np.trim_zeros(heard), np.trim_zeros(sent))
    assert np.array_equal(heard[heard != 0], sent[sent != 0])  # a gap, which a busy machine makes, is silence


def test_what_is_left_out_of_a_text_is_told(visit: Visit) -> None:
    player = speak(visit(), "The harbour was \u0442\u0438\u0445\u043e quiet.")
    player.locator(".notice").filter(has_text="\u0442\u0438\u0445\u043e").wait_for()


def test_ctrl_enter_speaks_from_any_field(visit: Visit) -> None:
    page = visit()
    page.get_by_label("Text", exact=True).fill(SENTENCE)
    page.get_by_label("speed").fill("2")
    page.keyboard.press("Control+Enter")
    page.locator("mark").wait_for()


def test_the_part_of_the_text_that_is_heard_is_marked(visit: Visit) -> None:
    page = visit()
    speak(page, TEXT)
    for part in ("The harbour was quiet", "Good morning", "Nobody else"):
        page.locator("mark").filter(has_text=part).wait_for()
    assert "🙂" not in page.locator("mark").inner_text()


def test_stop_is_silent_at_once_and_ends_the_work(studio: Stack, visit: Visit) -> None:
    page = visit()
    with Redis.from_url(studio.settings.redis_url) as redis:
        speak(page, CHAPTER * 5)
        page.locator("mark").wait_for()
        assert redis.hlen(keys.UNACKED) == 1
        page.get_by_role("button", name="Stop").click()
        page.get_by_role("button", name="Play").wait_for()
        wait_for(lambda: redis.hlen(keys.UNACKED) == 0)
    at = slider(page).input_value()
    page.locator("[data-is-coming]").wait_for(state="detached")
    assert slider(page).input_value() == at


@pytest.mark.parametrize("format", ["wav", "mp3", "flac", "opus"])
def test_a_file_is_the_one_that_the_server_makes(studio: Stack, visit: Visit, format: str) -> None:
    page = visit()
    speak(page, SENTENCE)
    over(page)
    with page.expect_download() as waiting:
        page.get_by_role("button", name=f"Download {format.upper()}").click()
    asked = {"model": "hibari-en", "input": SENTENCE, "response_format": format}
    sent = ask(studio.url, "POST", SPEECH, asked).body
    file = Path(waiting.value.path()).read_bytes()
    # A stream of Ogg has a number by chance.
    assert len(file) == len(sent) if format == "opus" else file == sent


@pytest.mark.parametrize("language", ["curl", "Python", "JavaScript"])
def test_a_copied_program_asks_for_exactly_the_same(studio: Stack, visit: Visit, language: str, tmp_path: Path) -> None:
    text = "It's “quoted”, \\ back and $HOME `all`."
    page = visit()
    speak(page, text)
    page.get_by_role("button", name=f"Copy as {language}").click()
    page.get_by_text(f"Copied the request as {language}.").wait_for()
    program = page.evaluate("navigator.clipboard.readText()")
    commands = {"curl": ["bash", "-c", program], "Python": [sys.executable, "-c", program]}
    node = ["node", "--input-type=module", "-e", program]
    subprocess.run(commands.get(language, node), cwd=tmp_path, check=True, timeout=60)
    asked = {"model": "hibari-en", "input": text, "response_format": "wav"}
    assert (tmp_path / "speech.wav").read_bytes() == ask(studio.url, "POST", SPEECH, asked).body


def test_what_was_made_is_kept_played_again_and_cleared(visit: Visit) -> None:
    page = visit()
    speak(page, SENTENCE)
    over(page)
    page.get_by_role("button", name=re.compile("Listen again")).wait_for()  # then it is kept
    page.reload()
    page.get_by_role("button", name=re.compile("Listen again")).click()
    page.get_by_role("button", name="Pause").click()
    slider(page).press("End")
    assert int(slider(page).input_value()) > 24_000
    page.get_by_role("button", name="Clear").click()
    page.get_by_role("dialog").get_by_role("button", name="Clear").click()
    page.get_by_text("What you have spoken is kept here").wait_for()


def test_a_chapter_plays_through_while_another_view_is_looked_at(visit: Visit) -> None:
    page = visit()
    page.get_by_label("speed").fill("2")
    speak(page, f"{SENTENCE} " * 5)
    page.locator("mark").wait_for()
    page.get_by_role("link", name="Voices").click()
    page.get_by_role("heading", name="Voices").wait_for()
    page.get_by_role("link", name="Speak").click()
    over(page)
    at, _, whole = (slider(page).get_attribute("aria-valuetext") or "").partition(" of ")
    assert at == whole


def test_what_is_wrong_is_told_with_its_request(visit: Visit, watched: Watched) -> None:
    watched.allowed.append("400 (Bad Request)")
    page = visit()
    page.get_by_label("lexicon").fill("a line without an equals sign")
    speak(page, SENTENCE)
    alert = page.get_by_role("alert")
    alert.filter(has_text="lexicon").wait_for()
    assert "Request" in alert.inner_text()


def test_foreign_text_is_shown_as_text(visit: Visit) -> None:
    page = visit()
    hostile = "<img src=x onerror=alert(1)> \u202egnirts\u202c " + "<script>alert(2)</script>. Hello."
    speak(page, hostile)
    over(page)
    shown = page.locator(".heard").text_content()
    assert shown == hostile
    assert "<img src=x" in (page.locator(".made").text_content() or "")
    page.get_by_label("Text", exact=True).fill("x" * 1_000_000)
    page.get_by_text("1,000,000 of 100,000 characters").wait_for()


@pytest.mark.parametrize("text", [SENTENCE, CHAPTER], ids=["a sentence", "a chapter"])
def test_how_soon_it_was_heard_is_told(visit: Visit, text: str) -> None:
    page = visit()
    began = time.monotonic()
    player = speak(page, text)
    page.get_by_text("First sound after").wait_for()
    told_ms = float(player.get_attribute("data-first-sound-ms") or "nan")
    assert 0 < told_ms < (time.monotonic() - began) * 1000


def test_speech_that_breaks_off_tells_its_request(studio: Stack, visit: Visit, watched: Watched) -> None:
    watched.allowed += ["net::ERR", "network error"]
    page = visit()
    speak(page, CHAPTER * 5)
    page.locator("mark").wait_for()
    pid = studio.children["front-door"].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    alert = page.get_by_role("alert").filter(has_text="The speech broke off")
    alert.wait_for()
    assert "Request" in alert.inner_text()
    page.get_by_text("The server cannot be reached.").wait_for(state="detached")


def test_what_the_browser_has_no_room_for_is_told(visit: Visit) -> None:
    page = visit()
    protocol = page.context.new_cdp_session(page)
    origin = page.evaluate("location.origin")
    protocol.send("Storage.overrideQuotaForOrigin", {"origin": origin, "quotaSize": 20_000})
    speak(page, SENTENCE)
    page.get_by_text("The browser had no room for what was spoken last.").wait_for()


def test_what_another_tab_has_deleted_leaves_the_list(visit: Visit) -> None:
    page = visit()
    speak(page, SENTENCE)
    over(page)
    again = page.get_by_role("button", name=re.compile("Listen again"))
    again.wait_for()
    other = page.context.new_page()
    other.goto(page.url)
    other.get_by_role("button", name="Delete from the list").click()
    other.get_by_text("What you have spoken is kept here").wait_for()
    again.click()
    again.wait_for(state="detached")


def test_the_end_of_a_short_recording_is_the_end_of_its_slider(visit: Visit) -> None:
    page = visit()
    speak(page, SENTENCE)
    over(page)
    assert slider(page).evaluate("(slider) => slider.value / slider.max > 0.99")
