"""Other servers of models, each in a virtual environment of its own that is made when it is first wanted."""

import contextlib
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kernelport.config.settings import bundled_deployments
from kernelport.errors import install_hint
from kernelport.supervisor.ports import free_port
from kernelport_ops.bench.cells import Cell
from kernelport_ops.bench.processes import BenchError, start, stop, wait_for_port
from kernelport_ops.bench.systems import Running

SERVERS = Path(__file__).resolve().parents[2] / "bench"
INSTALL_TIMEOUT_S = 600.0
JSON_MOST_BYTES = 64 * 2**10
_SAME_HERE = ("onnxruntime", "numpy")


@dataclass(frozen=True)
class Rival:
    """A server of models from the package index.

    Attributes:
        requirement: what pip installs.
        command: behind the environment's `bin/`; {port} and {model} are filled in.
        path: of the endpoint.
        transport: `http` for raw bytes, `http-json` for arrays as text.
        most_bytes: larger payloads are left out.
        environments: the folder that holds the environments.
    """

    name: str
    about: str
    requirement: str
    command: tuple[str, ...]
    path: str
    transport: str = "http"
    most_bytes: int = 2**62
    environments: Path = Path()

    def measures(self, cell: Cell) -> bool:
        """Payloads that its endpoint is made for."""
        return cell.payload.size <= self.most_bytes

    def prepare(self) -> None:
        """Makes the environment and has pip fill it, unless that is done already.

        Raises:
            BenchError: when pip cannot, or what the client needs is missing here.
        """
        if importlib.util.find_spec("aiohttp") is None:
            raise BenchError(f"the HTTP client aiohttp is missing: {install_hint('bench')}")
        if not SERVERS.is_dir():
            raise BenchError(f"{SERVERS} is not there: run the benchmark from a checkout of the repository")
        wanted = [self.requirement, *(f"{name}=={importlib.metadata.version(name)}" for name in _SAME_HERE)]
        done = self._environment / "installed"
        if not done.exists() or done.read_text().split() != wanted:
            _run([sys.executable, "-m", "venv", "--clear", str(self._environment)])
            _run([str(self._environment / "bin" / "pip"), "--disable-pip-version-check", "install", "-q", *wanted])
            done.write_text("\n".join(wanted))

    @contextlib.contextmanager
    def running(self, folder: Path) -> Iterator[Running]:
        """The server, as its documentation starts it."""
        port = free_port()
        model = bundled_deployments().parent / "models" / "identity" / "identity.onnx"
        program, *rest = (part.format(port=port, model=model, servers=SERVERS) for part in self.command)
        variables = {
            "BENCH_MODEL": str(model),
            "PYTHONPATH": str(SERVERS),
            "PATH": f"{self._environment / 'bin'}:/usr/bin:/bin",
            "BENTOML_HOME": str(folder / "bentoml"),
            "BENTOML_DO_NOT_TRACK": "True",
        }
        child = start(self.name, [str(self._environment / "bin" / program), *rest], folder, variables)
        try:
            wait_for_port(port, child)
            pids = [child.pid] if child.pid is not None else []
            yield Running(self.transport, f"http://127.0.0.1:{port}{self.path}", {self.name: pids})
        finally:
            stop([child])

    @property
    def _environment(self) -> Path:
        return self.environments.absolute() / f"env-{self.requirement.partition('==')[0]}"


RIVALS = (
    Rival(
        "litserve",
        "LitServe: one worker, batches of up to 32, ZeroMQ queue, raw bytes over HTTP",
        "litserve==0.2.19",
        ("python", "{servers}/litserve_server.py", "{port}", "{model}"),
        "/predict",
    ),
    Rival(
        "bentoml",
        "BentoML: one worker, raw bytes over HTTP",
        "bentoml==1.4.39",
        ("bentoml", "serve", "bentoml_service:Identity", "--host", "127.0.0.1", "--port", "{port}"),
        "/predict",
    ),
    Rival(
        "bentoml-batched",
        "BentoML: one worker, batches of up to 32, arrays as JSON over HTTP",
        "bentoml==1.4.39",
        ("bentoml", "serve", "bentoml_service:Identity", "--host", "127.0.0.1", "--port", "{port}"),
        "/predict_batched",
        transport="http-json",
        most_bytes=JSON_MOST_BYTES,
    ),
    Rival(
        "mosec",
        "mosec: one worker, batches of up to 32 within 1 ms, raw bytes over HTTP",
        "mosec==0.9.8",
        (
            *("python", "{servers}/mosec_server.py", "--address", "127.0.0.1", "--port", "{port}"),
            *("--timeout", "120000", "--log-level", "warning"),
        ),
        "/inference",
    ),
)


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False, env=_plain_environment()
        )
    except subprocess.TimeoutExpired:
        raise BenchError(f"{' '.join(command[:2])} took longer than {INSTALL_TIMEOUT_S:g} s") from None
    if done.returncode:
        raise BenchError(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}")


def _plain_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
