"""`python -m tests.browser.pictures` takes the pictures of docs/studio.md from a running stack."""

import base64
import tempfile
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from kernelport.audio import encode_audio
from tests.browser.conftest import chromium, parrot_stack
from tests.browser.jobs import made, over
from tests.http.calls import ask
from tests.http.test_api import form

FOLDER = Path(__file__).parents[2] / "docs" / "images" / "studio"
SIZES = {"wide": (1280, 860), "narrow": (390, 844)}
TEXT = (
    "It was the best of times, it was the worst of times. It was the age of wisdom, it was the age of foolishness. "
    "The harbour was quiet, and the boats lay still."
)
JOBS = {"Greetings": 3, "Alice’s Adventures in Wonderland, chapter 1": 240}
RATE = 48_000
VOICES = {
    "anna": "Audiobook team",
    "ben.warm": "Audiobook team",
    "a-name-that-is-as-long-as-any-name-may-be": "Support",
}


def main() -> None:
    """Takes all of them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, parrot_stack(Path(folder)) as stack, sync_playwright() as playwright:
        for name, owner in VOICES.items():
            fields = {"name": name, "owner": owner, "consent": "on tape", "transcript": "The boats lay still."}
            body, headers = form(fields, ("audio", "voice.wav", _recording()))
            ask(stack.url, "POST", "/api/voices", body, headers)
        jobs = [made(stack, ["Down, down, down."] * count, metadata={"name": name}) for name, count in JOBS.items()]
        for job in jobs:
            over(stack, job)
        browser = playwright.chromium.launch(**chromium())
        views: dict[str, tuple[str, Callable[[Page], None]]] = {
            "speak": ("speak", _speak),
            "voices": ("voices", _nothing),
            "add-voice": ("voices/add", _choose),
            "jobs": ("jobs", _list),
            "job": (f"jobs/{jobs[-1]}", _items),
            "operate": ("operate", _nothing),
            "usage": ("operate", _usage),
        }
        for (name, (view, prepare)), theme, size in product(views.items(), ("light", "dark"), SIZES):
            _take(browser, f"{stack.url}/#/{view}", prepare, theme, size, FOLDER / f"{name}-{theme}-{size}.webp")
        browser.close()


def _take(
    browser: Browser, url: str, prepare: Callable[[Page], None], theme: Literal["light", "dark"], size: str, file: Path
) -> None:
    width, height = SIZES[size]
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=theme, reduced_motion="reduce")
    page.set_default_timeout(120_000)
    page.goto(url)
    page.get_by_role("heading", level=1).wait_for()
    prepare(page)
    asked = {"format": "webp", "quality": 80, "captureBeyondViewport": False}
    taken = page.context.new_cdp_session(page).send("Page.captureScreenshot", asked)
    file.write_bytes(base64.b64decode(taken["data"]))
    page.close()


def _nothing(page: Page) -> None:
    """The view is whole as it opens."""


def _list(page: Page) -> None:
    page.get_by_text("240 of 240 items").wait_for()


def _items(page: Page) -> None:
    page.get_by_role("button", name="000001").first.wait_for()


def _usage(page: Page) -> None:
    page.get_by_role("region", name="Usage: table").wait_for()
    page.get_by_role("heading", name="Usage").evaluate("(heading) => heading.scrollIntoView()")


def _speak(page: Page) -> None:
    page.get_by_label("Text", exact=True).fill(TEXT)
    page.keyboard.press("Control+Enter")
    page.locator("mark").filter(has_text="age of wisdom").wait_for()


def _choose(page: Page) -> None:
    page.get_by_label("A file").set_input_files({"name": "a.wav", "mimeType": "audio/wav", "buffer": _recording()})
    page.get_by_text("The server takes it").wait_for()


def _recording() -> bytes:
    """Noise as loud as words are, which looks like speech."""
    random = np.random.default_rng(1)
    loud = np.repeat(random.random(50), RATE // 10) * np.hanning(50 * (RATE // 10))
    return encode_audio((random.standard_normal(loud.size) * loud * 0.2).astype(np.float32), RATE, ".wav")


if __name__ == "__main__":
    main()
