"""The studio in Debian's Firefox, which npm's puppeteer-core drives over WebDriver BiDi."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping

import pytest

from kernelport.supervisor.stack import Stack
from tests.browser.conftest import HERE, NODE_MODULES
from tests.waiting import wait_for

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox") or ""
pytestmark = pytest.mark.skipif(
    not FIREFOX or not all(map(shutil.which, ("node", "pulseaudio"))) or not (NODE_MODULES / "puppeteer-core").exists(),
    reason="it needs firefox-esr, nodejs, npm and pulseaudio of apt-get, then make test-browser",
)
# A card that takes sound at its pace, and lets nobody hear it.
CARD = ["--load=module-null-sink", "--load=module-native-protocol-unix auth-anonymous=1"]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """The environment of programs that have a sound card: Firefox plays nothing where there is none."""
    folder = tmp_path_factory.mktemp("sound")
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(folder)}
    command = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", *CARD]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as server:
        wait_for((folder / "pulse" / "native").exists)
        yield environment
        server.terminate()


@pytest.mark.parametrize("flow", ["speak", "jobs"])
def test_a_flow_goes_as_in_any_browser(studio: Stack, sound: Mapping[str, str], flow: str) -> None:
    command = ["node", str(HERE / "firefox.mjs"), FIREFOX, studio.url, flow]
    done = subprocess.run(command, env=sound, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
