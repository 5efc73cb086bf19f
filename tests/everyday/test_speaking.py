"""`say` of a long text, when something comes in its way."""

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernelport.config.settings import bundled_deployments
from kernelport.supervisor.ports import free_port
from kernelport.supervisor.stack import Stack
from tests.cli.running import called
from tests.conftest import serving_stack, stack_settings
from tests.everyday.conftest import text_file
from tests.waiting import wait_for

LINE = "The river turned slowly past the old mills, and nobody counted the boats. " * 2


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose front door may be killed."""
    with serving_stack(stack_settings(bundled_deployments()), ["hibari-en"], tmp_path_factory.mktemp("own")) as running:
        yield running


def _say(stack: Stack, *arguments: object) -> "subprocess.Popen[str]":
    """`say` in a process, which has spoken the first lines into `out`."""
    # Tests that run in the background of a shell have Ctrl-C ignored, and children inherit that.
    run = (
        "import signal, kernelport.cli; signal.signal(signal.SIGINT, signal.default_int_handler); kernelport.cli.main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", run, "say", *map(str, arguments), "--target", stack.target],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: Path("out/0002.wav").exists() or process.poll() is not None, 60)
    return process


def test_a_front_door_that_is_away_for_a_while_costs_no_line(own: Stack, tmp_path: Path) -> None:
    saying = _say(own, "-f", text_file(tmp_path / "chapter.txt", *[LINE] * 16), "-o", "out/")
    pid = own.children["front-door"].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    told, complaints = saying.communicate(timeout=100)
    assert "16 of 16 spoken" in told, complaints
    assert "trying again: " in complaints


def test_ctrl_c_ends_it_as_shells_expect(own: Stack, tmp_path: Path) -> None:
    saying = _say(own, "-f", text_file(tmp_path / "chapter.txt", *[LINE] * 200), "-o", "out/")
    saying.send_signal(signal.SIGINT)
    told, complaints = saying.communicate(timeout=20)
    assert saying.returncode == 130
    assert "Traceback" not in complaints
    assert "out has what was spoken so far; a job goes on after a break: kernelport jobs submit" in complaints
    assert "spoken" not in told
    assert not list(Path("out").glob(".*.part")), "what was being written"


def test_ctrl_c_before_anything_is_spoken_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken_off(*_: object) -> Iterator[object]:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(importlib.import_module("kernelport.cli.say"), "speak", broken_off)
    assert "nothing was spoken; a job goes on" in called("say", "One.", "-o", "none/", expect=130).stderr
    assert not Path("none").exists()


@pytest.mark.parametrize("command", [["say", "One.", "Two."], ["infer", "hibari-en", "--input", "text=One."]])
def test_without_a_front_door_a_command_ends_with_one_line_that_says_so(command: list[str]) -> None:
    address = f"127.0.0.1:{free_port()}"
    printed = called(*command, "--target", address, expect=1)
    (line,) = printed.stderr.splitlines()
    assert line.startswith(f"error: cannot connect to {address}")
    assert printed.stdout == ""
