"""Where callers show keys, the page asks for one."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kernelport.config.settings import bundled_deployments
from kernelport.supervisor.stack import Stack
from tests.browser.conftest import Watched
from tests.conftest import serving_stack, stack_settings
from tests.http.calls import ask

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, str]]:
    """A stack whose callers show keys, and its first key."""
    folder: Path = tmp_path_factory.mktemp("guarded")
    settings = replace(stack_settings(bundled_deployments()), first_key_file=str(folder / "key"))
    with serving_stack(settings, [], folder / "state") as stack:
        yield stack, (folder / "key").read_text().strip()


def test_a_key_opens_the_page_until_one_signs_out(
    guarded: tuple[Stack, str], new_context: Callable[..., "BrowserContext"], watched: Watched
) -> None:
    stack, key = guarded
    watched.allowed.append("401 (Unauthorized)")
    context = new_context()
    page = context.new_page()
    watched.watch(page, stack.url)
    page.goto(stack.url)
    page.get_by_label("Key").fill("kp_wrong")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("alert").wait_for()
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Speak").wait_for()
    (cookie,) = context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert key not in page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    page.reload()
    page.get_by_role("heading", name="Speak").wait_for()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Key").wait_for()
    assert context.cookies() == []


@pytest.fixture
def open_stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack without keys."""
    with serving_stack(stack_settings(bundled_deployments()), [], tmp_path / "state") as stack:
        yield stack


def test_the_first_key_is_in_view_until_the_page_goes_on_with_it(
    open_stack: Stack, new_context: Callable[..., "BrowserContext"], watched: Watched
) -> None:
    watched.allowed += ["401 (Unauthorized)", "ERR_INCOMPLETE_CHUNKED_ENCODING"]
    page = new_context().new_page()
    watched.watch(page, open_stack.url)
    page.goto(f"{open_stack.url}/#/operate")
    page.get_by_text("Make a key").click()
    page.get_by_label("Name").fill("first")
    page.get_by_role("button", name="Make the key").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Make the key").click()
    page.get_by_role("heading", name="Sign in").wait_for()
    key = dialog.locator("p").inner_text()
    dialog.get_by_role("button", name="Go on with it").click()
    page.get_by_role("region", name="Keys: table").get_by_text("first").first.wait_for()
    assert ask(open_stack.url, "GET", "/api/keys", headers={"authorization": f"Bearer {key}"}).status == 200
