"""The bundled deployments are as docs/deployments.md tells. Every command in its text that can run here runs; the
others are listed with the reason."""

import contextlib
import hashlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest

from kernelport.config.deployments import load_deployments
from kernelport.config.manifests import BACKENDS
from kernelport.config.settings import bundled_deployments
from kernelport.supervisor.ports import free_port
from kernelport.supervisor.running_file import find_running
from tests.compose import resolve
from tests.config.fake_hub import REPO, FakeHub
from tests.docs.commands import DOCS, commands_in_text
from tests.waiting import wait_for

PAGE = "deployments.md"
TEXT = (DOCS / PAGE).read_text()
BUNDLED = load_deployments(bundled_deployments())
START_S = 110.0
ELSEWHERE = {
    "kernelport serve": "the page names it; tests/cli serves a file with it",
    **dict.fromkeys(
        ("kernelport up --workers hibari-en=2", "kernelport worker hibari-en", "celery -A kernelport_workers.app"),
        "tests/everyday starts further workers of a stack",
    ),
    "make check-rows": "it takes minutes; tests/row_independence has a part of it",
    "kernelport up --deployments luxtts": "its 555 MB come from Hugging Face; it says so here",
    "kernelport model-fetch deployments/models/luxtts-manifest.yaml": "Hugging Face; it says so here",
}
STACKS = [f"kernelport up --deployments {name}" for name in ("identity-onnx", "helion-demo", "hibari-en")]
WORKER = "kernelport worker identity-onnx --redis-url redis://host:6379/0"
CLIENTS = ["kernelport deployments show NAME", "kernelport doctor"]
FETCH = "kernelport model-fetch deployments/models/my-model.yaml"
CHECK = "kernelport deployments check model.onnx"
# The model that the page tells of: it flags jumps of more than 2 in a series.
JUMPS = """<ir_version: 8, opset_import: ["" : 17]>
jumps (float[N] x) => (bool[N] jump)
<int64[1] zero = {0}, int64[1] one = {1}, int64[1] minus = {-1}, float limit = {2}> {
  first = Slice(x, zero, one)
  rest = Slice(x, zero, minus)
  before = Concat<axis = 0>(first, rest)
  step = Sub(x, before)
  size = Abs(step)
  jump = Greater(size, limit)
}"""


@dataclass
class Here:
    """Where commands run: a folder, the front door's port, and the [:password@]host:port of a Redis that is there."""

    folder: Path
    port: int
    redis: str = ""

    def run(self, command: str, expect: int = 0, **environment: str) -> str:
        """The output of a command that ends."""
        finished = subprocess.run(
            self._words(command),
            cwd=self.folder,
            env=self._environment(**environment),
            capture_output=True,
            text=True,
            timeout=START_S,
            check=False,
        )
        assert finished.returncode == expect, finished.stdout + finished.stderr
        return finished.stdout + finished.stderr

    @contextlib.contextmanager
    def running(self, command: str, ready: str) -> "Iterator[subprocess.Popen[bytes]]":
        """Runs a command that goes on, from its saying `ready` until a SIGTERM, after which it must end with 0."""
        output = self.folder / "output.log"
        with output.open("wb") as log:
            process = subprocess.Popen(
                self._words(command), cwd=self.folder, env=self._environment(), stdout=log, stderr=subprocess.STDOUT
            )
        try:
            wait_for(lambda: ready in output.read_text() or process.poll() is not None, START_S, f"{command}: {ready}")
            assert ready in output.read_text(), output.read_text()
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, output.read_text()

    def _words(self, command: str) -> list[str]:
        words = shlex.split(command.replace("host:6379", self.redis).replace("NAME", "identity-onnx"))
        return [str(Path(sys.executable).with_name(words[0])), *words[1:]]

    def _environment(self, **more: str) -> dict[str, str]:
        listen = f"127.0.0.1:{self.port}"
        return {
            **os.environ,
            "KERNELPORT_LISTEN": listen,
            "KERNELPORT_TARGET": listen,
            "KERNELPORT_REDIS_URL": f"redis://{self.redis}/0" if self.redis else "",
            "KERNELPORT_STATE_DIR": str(self.folder / "state"),
            **more,
        }


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    """`kernelport up`."""
    here = Here(tmp_path_factory.mktemp("up"), free_port())
    with here.running("kernelport up", "listens on"):
        running = find_running(here.folder / "state")
        assert running is not None
        redis = running.redis_url.removeprefix("redis://").removesuffix("/0")
        yield Here(tmp_path_factory.mktemp("stack"), here.port, redis)


def test_the_table_has_a_row_for_each_bundled_deployment() -> None:
    expected = [
        (
            f"`{each.name}`",
            f"`models/{each.manifest.file.name}`" if each.manifest else "none: a kernel",
            f"`{each.backend}`{', with a pipeline' if each.pipeline else ''}",
            f"`{each.image}`",
        )
        for each in BUNDLED.values()
    ]
    table = TEXT.partition("\n\n`kernelport up` without names")[0].rpartition("\n\n")[2]
    rows = [tuple(line.strip("| ").split(" | "))[:4] for line in table.splitlines()[2:]]
    assert rows == expected, f"expected these rows in docs/{PAGE}"


def test_each_bundled_deployment_has_its_tensors() -> None:
    sections = _contracts()
    missing = ", ".join(name for name in BUNDLED if not sections.get(name))
    assert not missing, f"expected below Tensor contracts in docs/{PAGE} a section with the tensors of {missing}"


def test_the_tensors_of_what_runs_here_are_those_of_the_page(stack: Here) -> None:
    told = [json.loads(line) for line in stack.run("kernelport deployments list --json").splitlines()]
    served = {each["name"]: each["signature"] for each in told if each["workers"]}
    assert served.keys() >= {"identity-onnx", "hibari-en"}
    sections = _contracts()
    for name in served.keys() & sections.keys():
        tensors = {
            (way, spec["name"], spec.get("optional", False))
            for way in ("in", "out")
            for spec in served[name][f"{way}puts"]
        }
        assert sections[name] == tensors, f"expected these tensors of {name} in docs/{PAGE}"


def test_the_backends_are_those_that_there_are() -> None:
    told = f"backend: onnx                  # {' or '.join(BACKENDS)}"
    assert told in TEXT, f"expected {told} in docs/{PAGE}"


def _contracts() -> dict[str, set[tuple[str, str, bool]]]:
    """By deployment, the tensors that its section of the page has: in or out, the name, and whether it is optional."""
    chapter = TEXT.partition("## Tensor contracts\n")[2].partition("\n## ")[0]
    return {
        name: {
            (way, tensor, mark == "?")
            for way, cell in re.findall(r"^\| (in|out) \| (.+?) \|", section, re.MULTILINE)
            for tensor, mark in re.findall(r"`(\w+)`(\??)", cell)
        }
        for heading, section in re.findall(r"^### (.+?)\n(.*?)(?=^### |\Z)", chapter, re.MULTILINE | re.DOTALL)
        for name in heading.split(", ")
    }


def test_every_command_of_the_text_is_accounted_for() -> None:
    assert set(commands_in_text(PAGE)) == {"kernelport up", *STACKS, WORKER, *CLIENTS, FETCH, *ELSEWHERE}


@pytest.mark.parametrize("command", CLIENTS)
def test_a_command_for_a_running_stack(stack: Here, command: str) -> None:
    assert stack.run(command)


def test_one_more_worker(stack: Here) -> None:
    with stack.running(WORKER, "is ready"):
        pass


def test_a_stack_for_one_deployment(tmp_path: Path) -> None:
    def start(command: str) -> None:
        folder = tmp_path / command.split()[-1]
        folder.mkdir()
        with Here(folder, free_port()).running(command, "listens on"):
            pass

    with ThreadPoolExecutor() as pool:
        list(pool.map(start, STACKS))


def test_the_fetch_of_the_manifest_that_the_page_shows(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```yaml\n(id: my-model\n.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    models = tmp_path / "deployments" / "models"
    models.mkdir(parents=True)
    example = example.replace("owner/name", REPO).replace("~/models", str(tmp_path / "cache"))
    digest = hashlib.sha256(b"model").hexdigest()
    (models / "my-model.yaml").write_text(re.sub(r"(model.onnx: )[0-9a-f]{16,}", rf"\g<1>{digest}", example))
    with FakeHub({"config.json": b"{}", "model.onnx": b"model"}) as hub:
        assert "2 files at commit" in Here(tmp_path, free_port()).run(FETCH, HF_ENDPOINT=hub.url)


def test_the_check_of_the_model_that_the_page_tells_of(tmp_path: Path) -> None:
    onnx.save(onnx.parser.parse_model(JUMPS), tmp_path / "model.onnx")
    told = Here(tmp_path, free_port()).run(CHECK)
    (said,) = re.findall(r"`check` says \*(refuted: .*?)\*", TEXT)
    assert said in told


def test_what_cannot_run_here_says_why(tmp_path: Path) -> None:
    here = Here(tmp_path, free_port())
    (tmp_path / "deployments").symlink_to(resolve.REPOSITORY / "deployments")
    nobody = {"HF_ENDPOINT": f"http://127.0.0.1:{free_port()}", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    fetch = "kernelport model-fetch deployments/models/luxtts-manifest.yaml"
    assert "kernelport model-fetch" in here.run("kernelport up --deployments luxtts", expect=1, **nobody)
    assert "is not in" in here.run(fetch, expect=1, **nobody)
