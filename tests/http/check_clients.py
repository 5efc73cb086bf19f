"""`make check-clients`: clients of other protocols, unmodified, each of its newest version.

They want libraries of other versions than ours, so each is installed into an environment of its own, which takes a
minute and a network: it is no part of `make test`.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from kernelport.supervisor.stack import Stack
from tests.docs.pages import blocks

pytestmark = pytest.mark.timeout(900)
HERE = Path(__file__).parent
TRITON, KSERVE, OPENAI = "tritonclient[all]", "kserve", "openai"
PIPECAT, LIVEKIT, SCHEMATHESIS = "pipecat-ai", "livekit-plugins-openai", "schemathesis"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the clients of the Open Inference Protocol."""
    return having(tmp_path_factory.mktemp("clients"), TRITON, KSERVE)


def having(folder: Path, *requirements: str) -> Path:
    """A Python of its own that has these."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin" / "pip", "install", "--quiet", *requirements], check=True)
    return folder / "bin" / "python"


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_triton_s_client(stack: Stack, python: Path, protocol: str) -> None:
    address = stack.target if protocol == "grpc" else stack.url.removeprefix("http://")
    subprocess.run([python, HERE / "triton_client.py", protocol, address], check=True)


def test_kserve_s_client(stack: Stack, python: Path) -> None:
    subprocess.run([python, HERE / "kserve_client.py", stack.target, stack.url], check=True)


def test_openai_s_client_of_npm_runs_the_program_of_the_docs(stack: Stack, tmp_path: Path) -> None:
    subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", OPENAI], cwd=tmp_path, check=True)
    (program,) = (block.text for block in blocks("docs/http.md") if block.language == "javascript")
    assert "http://127.0.0.1:8000" in program
    (tmp_path / "program.mjs").write_text(program.replace("http://127.0.0.1:8000", stack.url))
    subprocess.run(["node", "program.mjs"], cwd=tmp_path, check=True)
    assert (tmp_path / "morning.mp3").stat().st_size > 5_000


def test_pipecat_and_livekit_speak_by_their_own_services(stack: Stack, tmp_path: Path) -> None:
    python = having(tmp_path, PIPECAT, LIVEKIT)
    subprocess.run([python, HERE / "voice_agents.py", stack.url], check=True)


def test_the_description_of_every_route_holds_for_whatever_it_allows(stack: Stack, tmp_path: Path) -> None:
    python = having(tmp_path, SCHEMATHESIS)
    checks = "not_a_server_error,content_type_conformance,response_schema_conformance"
    options = ["--checks", checks, "--exclude-path", "/api/events", "--max-examples", "20", "--request-timeout", "60"]
    command = [python.parent / "schemathesis", "run", f"{stack.url}/openapi.json", *options]
    subprocess.run(command, check=True, cwd=tmp_path)
