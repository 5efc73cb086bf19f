"""`python -m tests.browser.figures NAME` measures the studio in Debian's Chromium, on a stack of its own."""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, sync_playwright

from kernelport.supervisor.stack import Stack
from tests.browser.conftest import chromium, parrot_stack
from tests.browser.jobs import LARGE, large, made, scrolled_about, told

SENTENCE = "The harbour was quiet, and the boats lay still."
TEXTS = {"a sentence": SENTENCE, "a chapter": f"{SENTENCE} " * 400}
GOAL_MS = 300
# More of it than is heard in a minute.
SENTENCES_A_MINUTE = 30
ITEMS_BESIDE = 20_000
# When what happened, on the way from the keys to the sound.
TRACED = """
window.trace = {};
addEventListener("keydown", (event) => {
  if (event.key === "Enter") window.trace = { pressed: event.timeStamp, handled: performance.now() };
}, true);
const ask = window.fetch;
window.fetch = async (path, options) => {
  const isSpeech = path === "/v1/audio/speech";
  if (isSpeech) window.trace.asked = performance.now();
  const answer = await ask(path, options);
  if (isSpeech) window.trace.answered = performance.now();
  return answer;
};
const post = MessagePort.prototype.postMessage;
MessagePort.prototype.postMessage = function (message, ...rest) {
  if (message.samples) window.trace.handed ??= performance.now();
  return post.call(this, message, ...rest);
};
const resume = AudioContext.prototype.resume;
AudioContext.prototype.resume = async function () {
  await resume.call(this);
  window.trace.resumed = performance.now();
};
"""
STAGES = {
    "until the page has the keys": ("pressed", "handled"),
    "until it asks": ("handled", "asked"),
    "until the first sound comes": ("asked", "answered"),
    "until the worklet is given it": ("answered", "handed"),
    "until it is heard": ("handed", "heard"),
    "in all": ("pressed", "heard"),
    "beside that, until the sound is on": ("pressed", "resumed"),
}


def main() -> None:
    """Measures what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.figures", description=__doc__)
    parser.add_argument("name", choices=FIGURES)
    parser.add_argument("--minutes", type=float, default=10, help="how long it is watched (default: 10)")
    parser.add_argument("--tries", type=int, default=40, help="how often the first sound is waited for (default: 40)")
    options = parser.parse_args()
    with opened() as (stack, page):
        FIGURES[options.name](stack, page, options)
    print(f"load of the machine: {os.getloadavg()[0]:.1f}, for {os.cpu_count()} processors")


@contextmanager
def opened() -> Iterator[tuple[Stack, Page]]:
    """A stack, and a page in a browser."""
    with tempfile.TemporaryDirectory() as folder, parrot_stack(Path(folder)) as stack, sync_playwright() as playwright:
        browser = playwright.chromium.launch(**chromium())
        page = browser.new_page()
        page.set_default_timeout(120_000)
        page.add_init_script(TRACED)
        page.goto(f"{stack.url}/#/speak")
        yield stack, page
        browser.close()


def first_sound(stack: Stack, page: Page, options: argparse.Namespace) -> None:
    """How soon something is heard, and where the time goes."""
    for name, text in TEXTS.items():
        page.get_by_label("Text", exact=True).fill(text)
        traces = [_first_sound(page) for _ in range(options.tries)]
        print(f"first sound of {name}, {options.tries} tries, in ms; the goal of the 95th percentile is {GOAL_MS}:")
        for stage, (start, end) in STAGES.items():
            times = [trace[end] - trace[start] for trace in traces]
            print(f"  {stage:36}median {np.median(times):5.0f}   p95 {np.percentile(times, 95):5.0f}")


def _first_sound(page: Page) -> dict[str, float]:
    page.keyboard.press("Control+Enter")
    page.get_by_role("button", name="Stop").wait_for()
    heard = page.locator("[data-first-sound-ms]").get_attribute("data-first-sound-ms")
    trace: dict[str, Any] = page.evaluate("window.trace")
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Speak", exact=True).wait_for()
    return {**trace, "heard": trace["pressed"] + float(heard or "nan")}


def playing(stack: Stack, page: Page, options: argparse.Namespace) -> None:
    """Whether speech has gaps while a job runs."""
    job = made(stack, [f"{SENTENCE} {number}" for number in range(ITEMS_BESIDE)])
    page.get_by_label("Text", exact=True).fill(f"{SENTENCE} " * round(SENTENCES_A_MINUTE * options.minutes))
    page.keyboard.press("Control+Enter")
    player = page.locator("[data-first-sound-ms]")
    player.wait_for()
    began = time.monotonic()
    while (passed := time.monotonic() - began) < options.minutes * 60:
        page.wait_for_timeout(min(60, options.minutes * 60 - passed) * 1000)
        at = page.get_by_role("slider", name="Place in the speech").get_attribute("aria-valuetext")
        items = told(stack, job)["progress"]["succeeded"]
        print(
            f"at {at}: {player.get_attribute('data-underruns')} underruns; {items:,} items done beside it", flush=True
        )


def large_job(stack: Stack, page: Page, options: argparse.Namespace) -> None:
    """What the page of a job of a hundred thousand items takes while it runs; each minute it is another job."""
    for _ in range(max(1, round(options.minutes))):
        job = large(stack)
        page.goto(f"{stack.url}/#/jobs/{job}")
        page.get_by_text(f"of {LARGE:,} items").wait_for()
        taken = scrolled_about(page, 60)
        print(f"{taken}; {told(stack, job)['progress']['succeeded']:,} items done", flush=True)


FIGURES: dict[str, Callable[[Stack, Page, argparse.Namespace], None]] = {
    "first-sound": first_sound,
    "playing": playing,
    "large-job": large_job,
}

if __name__ == "__main__":
    main()
