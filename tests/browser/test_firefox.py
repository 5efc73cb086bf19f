"""The studio in Debian's Firefox, which npm's puppeteer-core drives over WebDriver BiDi."""

import shutil
import subprocess

import pytest

from kernelport.supervisor.stack import Stack
from tests.browser.conftest import HERE, NODE_MODULES

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
pytestmark = pytest.mark.skipif(
    FIREFOX is None or shutil.which("node") is None or not (NODE_MODULES / "puppeteer-core").exists(),
    reason="it needs firefox-esr, nodejs and npm (apt-get install firefox-esr nodejs npm), then make test-browser",
)


@pytest.mark.parametrize("flow", ["speak", "jobs"])
def test_a_flow_goes_as_in_any_browser(studio: Stack, flow: str) -> None:
    assert FIREFOX is not None
    command = ["node", str(HERE / "firefox.mjs"), FIREFOX, studio.url, flow]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
