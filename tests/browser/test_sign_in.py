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
