"""`make check-clients`: clients of other protocols, unmodified, each of its newest version.

They want libraries of other versions than ours, so each is installed into an environment of its own, which takes a
minute and a network: it is no part of `make test`.
"""

import json
import os
import subprocess
import sys
from ctypes.util import find_library
from pathlib import Path

import pytest

from kernelport.supervisor.stack import Stack
from tests.docs.pages import blocks

pytestmark = pytest.mark.timeout(900)
HERE = Path(__file__).parent
TRITON, KSERVE, OPENAI = "tritonclient[all]", "kserve", "openai"
PIPECAT, LIVEKIT, SCHEMATHESIS = "pipecat-ai", "livekit-plugins-openai", "schemathesis"
# Triton's load generator: its own package needs a newer C library than Debian 12 has, and the wheels of tritonclient up
# to 2.51 have one that runs with Debian's libb64-0d.
ANALYZER = ("tritonclient==2.49.0", "nvidia-cuda-runtime-cu12")
# The stream of events, and what is described as not being here (501).
ENDLESS_OR_MISSING = "^/api/events$|/logging$|/trace/setting$|/register$|^/v2/repository/models/"


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


@pytest.fixture(scope="module")
def analyzer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Triton's load generator, and where it finds its libraries."""
    if find_library("b64") is None:
        pytest.fail("perf_analyzer needs a library: apt-get install libb64-0d")
    folder = tmp_path_factory.mktemp("analyzer")
    having(folder, *ANALYZER)
    (library,) = folder.rglob("libcudart.so*")
    program = folder / "bin" / "perf_analyzer"
    program.chmod(0o755)
    return program, {**os.environ, "LD_LIBRARY_PATH": str(library.parent)}


@pytest.mark.parametrize("protocol", ["grpc", "http"])
@pytest.mark.parametrize("model", ["identity-onnx", "hibari-en"])
def test_perf_analyzer_measures_models(
    stack: Stack, analyzer: tuple[Path, dict[str, str]], tmp_path: Path, model: str, protocol: str
) -> None:
    program, environment = analyzer
    address = stack.target if protocol == "grpc" else stack.url.removeprefix("http://")
    data = tmp_path / "data.json"
    data.write_text(json.dumps({"data": [{"text": ["The boats lay still."]}]}))
    of_model = ["--input-data", data] if model == "hibari-en" else ["--shape", "x:1,2,2"]
    command = [program, "-m", model, "-i", protocol, "-u", address, "--concurrency-range", "2", *of_model]
    told = subprocess.run(
        [*command, "--request-count", "20"], env=environment, capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert "Successful request count: 20" in told.stdout


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
    options = ["--checks", checks, "--exclude-path-regex", ENDLESS_OR_MISSING, "--max-examples", "20"]
    command = [python.parent / "schemathesis", "run", f"{stack.url}/openapi.json", *options, "--request-timeout", "60"]
    subprocess.run(command, check=True, cwd=tmp_path)
