"""OpenAI's client of npm in a page of another origin: the browser asks first (CORS), and lets it read the answers."""

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kernelport.config.settings import bundled_deployments
from kernelport.supervisor.stack import Stack
from tests.browser.conftest import NODE_MODULES
from tests.conftest import serving_stack, stack_settings

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

pytestmark = pytest.mark.skipif(
    not (NODE_MODULES / "openai").exists(), reason="it needs npm (apt-get install npm), then make test-browser"
)
PAGE = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<script type="module">
  import OpenAI from "./node_modules/openai/index.mjs";
  window.asked = async (baseURL) => {
    const client = new OpenAI({ baseURL, apiKey: "none", dangerouslyAllowBrowser: true, maxRetries: 0 });
    const models = [];
    for await (const model of client.models.list()) models.push(model.id);
    const spoken = await client.audio.speech.create({
      model: "tts-1", voice: "alloy", input: "Good morning.", response_format: "wav",
    });
    return [models, (await spoken.arrayBuffer()).byteLength];
  };
</script>"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""


@contextmanager
def origin(folder: Path) -> Iterator[str]:
    """Serves a folder at an origin of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page, and the client beside it."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "node_modules").symlink_to(NODE_MODULES)
    (folder / "index.html").write_text(PAGE)
    return folder


@pytest.fixture(scope="module")
def called_from(pages: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, str]]:
    """A stack, and the one origin whose pages may call it."""
    with origin(pages) as allowed:
        settings = replace(stack_settings(bundled_deployments()), http_origins=allowed)
        with serving_stack(settings, ["hibari-en"], tmp_path_factory.mktemp("called")) as stack:
            yield stack, allowed


def test_a_page_of_a_configured_origin_speaks_and_another_does_not(
    called_from: tuple[Stack, str], pages: Path, new_context: "Callable[..., BrowserContext]"
) -> None:
    stack, allowed = called_from
    page = new_context().new_page()
    page.goto(allowed)
    page.wait_for_function("() => Boolean(window.asked)")
    models, size = page.evaluate(f"asked('{stack.url}/v1')")
    assert "tts-1" in models
    assert size > 20_000
    with origin(pages) as other:
        page.goto(other)
        page.wait_for_function("() => Boolean(window.asked)")
        assert "Connection error" in page.evaluate(f"asked('{stack.url}/v1').catch(String)")
