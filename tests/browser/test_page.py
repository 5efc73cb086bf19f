"""What holds for every view of the studio."""

import os
import signal
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from kernelport.supervisor.stack import Stack
from tests.browser.conftest import Visit, Watched
from tests.http.calls import ask

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

# As a browser with all cookies blocked has it.
NOTHING_IS_KEPT = """
for (const name of ["localStorage", "sessionStorage", "indexedDB"])
  Object.defineProperty(window, name, { get() { throw new DOMException("Access is denied", "SecurityError"); } });
"""
VIEWS = ("speak", "voices", "voices/add", "jobs", "operate")


def axe() -> str:
    """The source of axe-core, as a package of the extra `browser` brings it."""
    spec = find_spec("axe_playwright_python")
    assert spec is not None
    assert spec.origin is not None
    return (Path(spec.origin).parent / "axe.min.js").read_text()


def faults(page: "Page") -> list[str]:
    """What axe-core finds in what a page shows now."""
    page.evaluate(axe())
    found = page.evaluate("axe.run()")["violations"]
    return [f"{each['id']}: {node['html'][:200]}" for each in found for node in each["nodes"]]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_a_view_can_be_used_by_everybody(visit: Visit, view: str, theme: Literal["light", "dark"]) -> None:
    page = visit(view)
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    assert not faults(page)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("width", [360, 2560])
def test_a_view_fits_a_screen(visit: Visit, view: str, width: int) -> None:
    page = visit(view)
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_page_runs_under_a_strict_policy(studio: Stack, visit: Visit) -> None:
    visit()
    policy = ask(studio.url, "GET", "/").headers["content-security-policy"]
    assert policy.startswith("default-src 'self'; media-src 'self' blob:;")
    assert "unsafe" not in policy


def test_the_keyboard_reaches_everything(visit: Visit) -> None:
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "text"


def test_the_server_away_is_a_banner_and_no_broken_page(studio: Stack, visit: Visit, watched: Watched) -> None:
    watched.allowed += ["net::ERR", "network error"]
    page = visit()
    operate = visit("operate")
    banner = page.get_by_text("The server cannot be reached.")
    pid = studio.children["front-door"].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    banner.wait_for()
    banner.wait_for(state="detached")
    assert page.get_by_label("Deployment").input_value() == "hibari-en"
    operate.get_by_text("The server cannot be reached.").first.wait_for(state="detached")


@pytest.mark.parametrize("view", ["constructor", "__proto__", "no/such/view"])
def test_an_address_of_no_view_opens_the_first(visit: Visit, view: str) -> None:
    visit(view).get_by_role("heading", level=1, name="Speak").wait_for()


def test_where_a_browser_keeps_nothing_one_speaks_nevertheless(
    studio: Stack, new_context: Callable[..., "BrowserContext"], watched: Watched
) -> None:
    page = new_context().new_page()
    watched.watch(page, studio.url)
    page.add_init_script(NOTHING_IS_KEPT)
    page.goto(studio.url)
    page.get_by_label("Text", exact=True).fill("Hello.")
    page.keyboard.press("Control+Enter")
    page.get_by_text("First sound after").wait_for()
    page.get_by_text("This browser keeps nothing for this page").wait_for()


def test_a_server_that_falls_silent_is_a_banner(studio: Stack, new_context: Callable[..., "BrowserContext"]) -> None:
    page = new_context().new_page()
    page.clock.install()
    page.goto(studio.url)
    page.get_by_label("Deployment").wait_for()
    pid = studio.children["front-door"].pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        page.clock.fast_forward(60_000)
        page.get_by_text("The server cannot be reached.").wait_for()
    finally:
        os.kill(pid, signal.SIGCONT)
