"""Every block of commands in the README and docs/ runs, in the order in which a reader meets it, on a real stack."""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from redis import Redis

from kernelport import Client, npz
from kernelport.audio import write_audio
from kernelport.broker import keys
from kernelport.coercion import to_tensors
from kernelport.config.settings import bundled_deployments
from kernelport.supervisor.ports import free_port
from kernelport.supervisor.running_file import find_running
from kernelport.v1 import dead_letter_pb2, inference_pb2
from tests.cli.running import called
from tests.docs.pages import PAGES, REPOSITORY, blocks
from tests.everyday.conftest import UNSPEAKABLE
from tests.waiting import wait_for

TIMEOUT_S = 100.0
# A page starts up to five stacks.
pytestmark = pytest.mark.timeout(300)
NAME = "identity-onnx"
LANGUAGES = {"sh", "python", "javascript", "yaml", "csv", "json", "text"}

DOCKER = "there is no Docker engine; tests/compose runs what the containers run"
INSTALL = "tests run in an environment that is installed already; CI installs it from nothing"
LAMBDA = "Lambda Cloud; tests/ops has one of its own"
LUXTTS = "the weights of LuxTTS are 194 MB and more; tests/luxtts has random ones"
MINUTES = "it takes minutes"
# What cannot run here, by how the command (or the Python) begins, and why.
ELSEWHERE = {
    "make demo": INSTALL,
    "make test": "this is it",
    "python3.11 -m venv": INSTALL,
    "source .venv/bin/activate": INSTALL,
    "pip install": INSTALL,
    "git pull": "it changes the checkout",
    "sudo ": "it changes the machine; tests/operations runs the units",
    "./redis-check-aof --fix": "tests/operations mends a file that is damaged",
    "cd compose": DOCKER,
    "docker ": DOCKER,
    "prometheus ": "make check-monitoring runs it",
    "kernelport lambda": LAMBDA,
    "recording = open": LUXTTS,
    "from kernelport_workers.luxtts": LUXTTS,
    "kernelport model-fetch": LUXTTS,
    "kernelport up --deployments luxtts-cpu": LUXTTS,
    'kernelport say "Good morning." --deployment luxtts-cpu': LUXTTS,
    "kernelport bench luxtts --device cuda": "there is no GPU",
    "python3 ops/kernelport_ops/bench/gpu/offline.py": "there is no GPU",
    "make bench-jobs": MINUTES,
    "make chaos-jobs": MINUTES,
    "from standardwebhooks": "tests/webhooks verifies what has arrived",
}
# Pages whose Python is one program in several blocks, and which test runs it.
PROGRAMS = {"docs/python.md": "tests/docs/test_python_page.py"}
# Commands that go on until they are stopped, and what they say when they are ready; a stack until another begins.
STACK = "kernelport up"
READY = {STACK: "listens on", "celery ": "is ready", "kernelport autoscale": "wanted"}
# Commands that become another program: called in this process, they would end it.
BECOMES = ("kernelport autoscale",)
# A call that is in the logs.
CALL = (
    "python -c \"import kernelport, numpy; kernelport.Client('127.0.0.1:50051')"
    f".infer('{NAME}', {{'x': numpy.zeros((1, 1, 2, 2), numpy.float32)}}, request_id='ID')\""
)
# What a reader has done by hand before a command, or the code that it ends with.
BEFORE = {"kernelport jobs resume": f"sed -i 's|{UNSPEAKABLE}|Nine.|' failed.csv", "kernelport trace": CALL}
CODES = {
    "kernelport jobs submit book.txt --deployment": 1,
    "kernelport jobs submit book.txt --set": 1,
}
DOUBLED = """<ir_version: 8, opset_import: ["" : 17]> doubled (float[N] x) => (float[N] y) { y = Add(x, x) }"""


class Reader:
    """Somebody with a home folder who types what the pages say, each page in a folder of its own."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._folder = home
        self._stack: tuple[str, subprocess.Popen[bytes]] | None = None
        self._log = home / "output.log"
        self._front_doors_log = home / ".local" / "state" / "kernelport" / "logs" / "front-door.log"
        known = {name: text for name, text in os.environ.items() if not name.startswith(("KERNELPORT_", "XDG_"))}
        self._environment = {
            **known,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(home),
            "KERNELPORT_LISTEN": f"127.0.0.1:{free_port()}",
            "KERNELPORT_HTTP_LISTEN": f"127.0.0.1:{free_port()}",
            "KERNELPORT_FLOWER_LISTEN": f"127.0.0.1:{free_port()}",
            "KERNELPORT_DEPLOYMENTS": f"{NAME},hibari-en",
            "KERNELPORT_DEPLOYMENTS_FILE": str(_deployments_file(home)),
            "KERNELPORT_WEBHOOK_NETWORKS": "127.0.0.0/8",
            "KERNELPORT_ACCESS_LOG": "1",
        }

    def read(self, page: str) -> None:
        """Runs the blocks of a page."""
        self._start(STACK)
        self._folder = _page_folder(self._home / page.removesuffix(".md"))
        self._bury_a_dead_letter()
        with contextlib.chdir(self._folder):
            for block in blocks(page):
                for command in block.commands:
                    if command.startswith(tuple(ELSEWHERE)) or block.language not in ("sh", "python"):
                        continue
                    print(f"{page}:{block.line}: {command}")  # which it was, should it fail
                    if block.language == "python" and page not in PROGRAMS:
                        with pytest.MonkeyPatch.context() as patch:
                            patch.setenv("KERNELPORT_API_KEY", self._environment.get("KERNELPORT_API_KEY", ""))
                            exec(self._whole_program(command), {})  # noqa: S102 - the pages are ours
                    elif block.language == "sh":
                        self._type(command)

    def stop(self) -> None:
        """Stops the stack."""
        if self._stack is not None:
            _stop(self._stack[1], self._log)
        self._stack = None

    def _type(self, command: str) -> None:
        """Types a command; those that go on, each into another terminal."""
        told, bare = self._told(command), re.sub(r"^[A-Z_]+=\S+ ", "", command)
        for begin, line in BEFORE.items():
            if command.startswith(begin):
                self._type(line)
                if line == CALL:  # the lines of calls that went well are written late
                    wait_for(lambda: re.search(r"\bID\b", self._front_doors_log.read_text()))
        if bare.startswith(STACK):
            self._start(told)
        elif bare.startswith(tuple(READY)) and "--dry-run" not in command:
            _stop(self._begin(told), self._log)
        elif bare.startswith(BECOMES):
            self._run(told)
        elif command.startswith("kernelport "):
            code = next((code for begin, code in CODES.items() if command.startswith(begin)), 0)
            called(*shlex.split(told)[1:], expect=code, **self._environment)
        else:
            if command.startswith("tar "):  # a backup is made of a stack that has stopped
                self.stop()
            self._run(told)

    def _told(self, command: str) -> str:
        """A command with what its capitals stand for, and with addresses that are there and free."""
        running = find_running(self._home / ".local" / "state" / "kernelport")
        if running is None:
            return command
        command = command.replace("127.0.0.1:8000", self._environment["KERNELPORT_HTTP_LISTEN"])
        command = command.replace("127.0.0.1:50051", self._environment["KERNELPORT_LISTEN"])
        command = re.sub(r"\bNAME\b", NAME, command)
        command = command.replace("redis://host:6379/0", running.redis_url)
        command = command.replace("https://example.com/hook", f"http://127.0.0.1:{free_port()}/hook")
        command = command.replace("--metrics-listen 127.0.0.1:9464", "--metrics-listen 127.0.0.1:0")
        if re.search(r"\bJOB\b", command):
            with Client(running.target, api_key=self._environment.get("KERNELPORT_API_KEY")) as client:
                command = re.sub(r"\bJOB\b", next(client.jobs.list()).id, command)
        return command

    def _run(self, command: str) -> None:
        """Runs a command in a shell, which keeps what it exports."""
        told = subprocess.run(
            ["bash", "-ec", f"{command}\nenv -0 >&2"], env=self._environment, capture_output=True, timeout=TIMEOUT_S
        )
        assert told.returncode == 0, told.stdout + told.stderr
        self._environment = dict(line.split("=", 1) for line in told.stderr.decode().rstrip("\0").split("\0"))

    def _start(self, command: str) -> None:
        if self._stack is None or self._stack[0] != command:
            self.stop()
            self._stack = (command, self._begin(command))

    def _begin(self, command: str) -> "subprocess.Popen[bytes]":
        """Runs a command that goes on; returns when it is ready."""
        word = next(word for begin, word in READY.items() if begin in command)
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                ["bash", "-c", f"exec env {command}"], env=self._environment, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            wait_for(lambda: word in self._log.read_text() or process.poll() is not None, TIMEOUT_S, command)
            assert word in self._log.read_text(), self._log.read_text()
        except BaseException:
            process.kill()
            process.wait()
            raise
        return process

    def _whole_program(self, code: str) -> str:
        """What the page leaves out of a program, and where the front door is."""
        target = self._environment["KERNELPORT_LISTEN"]
        code = code.replace("127.0.0.1:50051", target)
        code = code.replace("127.0.0.1:8000", self._environment["KERNELPORT_HTTP_LISTEN"])
        if "async with" in code:
            code = f"import asyncio\nasync def main():\n{textwrap.indent(code, '  ')}\nasyncio.run(main())"
        return f'import kernelport\ntexts = ["One.", "Two."]\n{code}'

    def _bury_a_dead_letter(self) -> None:
        """Leaves a dead letter of the id ID."""
        running = find_running(self._home / ".local" / "state" / "kernelport")
        assert running is not None
        inputs = to_tensors({"x": np.zeros((1, 1, 2, 2), np.float32)})
        request = inference_pb2.InferRequest(model=NAME, inputs=inputs)
        letter = dead_letter_pb2.DeadLetter(id="ID", deployment=NAME, request=request.SerializeToString())
        with Redis.from_url(running.redis_url) as redis:
            redis.hset(keys.dead_letters(NAME), "ID", letter.SerializeToString())


def _stop(process: "subprocess.Popen[bytes]", log: Path) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT_S) == 0, log.read_text()


def _deployments_file(home: Path) -> Path:
    """One in which the autoscaler has something to do."""
    scaled = {"backend": "helion", "kernel": "a:b", "on_no_worker": "wait", "scaling": {"min": 0, "max": 1}}
    path = home / "deployments.yaml"
    path.write_text(yaml.safe_dump({"include": str(bundled_deployments()), "deployments": {"scaled": scaled}}))
    return path


def _page_folder(folder: Path) -> Path:
    """The files that a reader of the pages has."""
    folder.mkdir(parents=True)
    (folder / "chapter.txt").write_text("Down, down, down.\n")
    (folder / "book.txt").write_text("Down, down, down.\n" + (UNSPEAKABLE + "\n") * (folder.name in ("README", "jobs")))
    onnx.save(onnx.parser.parse_model(DOUBLED), folder / "model.onnx")
    npz.write(folder / "input.npz", {"x": np.ones(3, np.float32)})
    npz.write(folder / "out.npz", {"t": np.array([b"a", b"b"])})
    tone = np.sin(np.arange(24_000, dtype=np.float32) / 20) / 2
    write_audio(folder / "anna.wav", tone, 24_000)
    return folder


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    reader = Reader(tmp_path_factory.mktemp("home"))
    try:
        yield reader
    finally:
        reader.stop()


def test_the_readme_leads_to_every_page() -> None:
    assert set(PAGES) == {"README.md", *(f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md"))}


def test_every_block_says_what_it_is_and_nothing_is_listed_that_no_page_has() -> None:
    every = [block for page in PAGES for block in blocks(page)]
    assert {block.language for block in every} <= LANGUAGES
    commands = [command for block in every for command in block.commands]
    for begin in (*ELSEWHERE, *BEFORE, *CODES):
        assert any(command.startswith(begin) for command in commands), begin


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run(reader: Reader, page: str) -> None:
    reader.read(page)
