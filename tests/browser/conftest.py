"""Fixtures of the browser tests: a stack with the studio, and pages in Debian's Chromium that are watched."""

import os
import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from kernelport.supervisor.stack import Stack
from tests.conftest import serving_stack, stack_settings

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
MISSING = (
    "they need the extra `browser`: make test-browser installs it"
    if find_spec("pytest_playwright") is None
    else ""
    if CHROMIUM
    else "they need a Chromium: apt-get install chromium"
)
HERE = Path(__file__).parent
# What `make test-browser` has of npm.
NODE_MODULES = HERE / "node_modules"
# What plays in a page is heard by the tests, too: in a context without the policy, as this is no module of the page.
TAPPED = """
const tap = URL.createObjectURL(new Blob([`
  registerProcessor("tap", class extends AudioWorkletProcessor {
    process([[input]]) {
      if (input) this.port.postMessage(input.slice());
      return true;
    }
  });
`], { type: "text/javascript" }));
const add = AudioWorklet.prototype.addModule;
AudioWorklet.prototype.addModule = async function (path) {
  await add.call(this, path);
  await add.call(this, tap);
};
const connect = AudioNode.prototype.connect;
window.heard = [];
AudioNode.prototype.connect = function (target, ...rest) {
  if (target instanceof AudioDestinationNode) {
    const node = new AudioWorkletNode(this.context, "tap", { numberOfOutputs: 0 });
    node.port.onmessage = ({ data }) => window.heard.push(data);
    connect.call(this, node);
  }
  return connect.call(this, target, ...rest);
};
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    """For where all that these tests need is known to be there."""
    parser.addoption("--no-skips", action="store_true", help="a browser test that would be skipped fails")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of this folder; says why they are skipped where they cannot run."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if "new_context" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.skipif(bool(MISSING), reason=MISSING))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With `--no-skips` none is skipped."""
    report = yield
    if report.skipped and item.config.getoption("--no-skips", default=False):
        report.outcome = "failed"
    return report


@contextmanager
def parrot_stack(folder: Path) -> Iterator[Stack]:
    """A stack that speaks, and has a voice that is given recordings."""
    parrot = {"backend": "onnx", "image": "test", "pipeline": "tests.browser.models:Parrot"}
    (folder / "deployments.yaml").write_text(yaml.safe_dump({"include": "bundled", "deployments": {"parrot": parrot}}))
    settings = stack_settings(folder / "deployments.yaml")
    with serving_stack(settings, ["hibari-en", "identity-onnx", "parrot"], folder / "state") as running:
        yield running


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The same for all browser tests."""
    with parrot_stack(tmp_path_factory.mktemp("studio")) as running:
        yield running


def chromium(*flags: str) -> dict[str, Any]:
    """How Debian's Chromium is launched. Root has no sandbox for it."""
    return {"executable_path": CHROMIUM, "args": [*flags, *(["--no-sandbox"] if os.geteuid() == 0 else [])]}


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    """With a microphone that beeps."""
    return chromium("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


@dataclass
class Watched:
    """What pages did that the studio never does.

    Attributes:
        complaints: of the console, exceptions, and requests that left the origin.
        allowed: parts of those that a test brings about.
    """

    complaints: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)

    def watch(self, page: "Page", origin: str) -> None:
        """Notes all of a page."""
        page.on("console", lambda message: self._note(message.type in ("error", "warning"), message.text))
        page.on("pageerror", lambda error: self._note(True, str(error)))
        page.on("request", lambda request: self._note(not _is_of(request.url, origin), f"to {request.url}"))

    def _note(self, is_wrong: bool, text: str) -> None:
        if is_wrong:
            self.complaints.append(text)

    def left(self) -> list[str]:
        """What no test has brought about."""
        return [each for each in self.complaints if not any(part in each for part in self.allowed)]


def _is_of(url: str, origin: str) -> bool:
    return url.startswith((f"{origin}/", f"blob:{origin}/", "data:image/"))


@pytest.fixture
def watched() -> Iterator[Watched]:
    """What must stay empty."""
    watching = Watched()
    yield watching
    assert not watching.left()


Visit = Callable[..., "Page"]


@pytest.fixture
def visit(studio: Stack, new_context: Callable[..., "BrowserContext"], watched: Watched) -> Visit:
    """Opens a view in a new page, and with `tapped` has `window.heard` fill with what it plays."""

    def opened(view: str = "speak", *, tapped: bool = False) -> "Page":
        context = new_context(bypass_csp=tapped)
        context.set_default_timeout(60_000)
        context.grant_permissions(["clipboard-read", "clipboard-write", "microphone"], origin=studio.url)
        page = context.new_page()
        watched.watch(page, studio.url)
        if tapped:
            page.add_init_script(TAPPED)
        page.goto(f"{studio.url}/#/{view}")
        page.get_by_role("heading", level=1).wait_for()
        return page

    return opened
