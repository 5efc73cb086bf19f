"""What people hand in at the command line ends in a result or in a sentence that says what to do."""

import gzip
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from kernelport.cli import main
from kernelport.supervisor.stack import Stack
from tests.cli.running import called, kernelport


@pytest.mark.parametrize(
    "command", ["kernelport_api", "kernelport_workers -A kernelport_workers.app worker", "kernelport.cli doctor"]
)
def test_a_setting_out_of_range_ends_every_process_at_its_start(command: str) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", *command.split()],
        env={**os.environ, "KERNELPORT_LEASE_S": "nan"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert finished.returncode == (2 if "cli" in command else 1)
    assert finished.stderr.splitlines()[-1].endswith(
        "KERNELPORT_LEASE_S: expected seconds from 0.1 to 315,360,000, got 'nan'"
    )
    assert "Traceback" not in finished.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["up", "--listen", "127.0.0.1:99999"], "'--listen'"),
        (["up", "--listen", "[::1:0"], "expected host:port"),
        (["up", "--metrics-listen", "host:"], "'--metrics-listen'"),
        (["flower", "--listen", "here"], "expected host:port"),
        (["deployments", "list", "--target", "nowhere"], "expected host:port"),
        (["deployments", "list", "--target", "127.0.0.1:99999"], "a port of at most 65535"),
        (["doctor", "--redis-url", "localhost:6379"], "expected a URL such as redis://"),
        (["say", "Hi.", "--timeout", "nan"], "expected a number of seconds above 0"),
        (["jobs", "list", "--limit", "9" * 30], "not in the range"),
        (["jobs", "resume", "x", "--deadline", "9" * 30 + "d"], "expected a time"),
        (["jobs", "resume", "x", "--deadline", "0001-01-01"], "expected a time"),
    ],
)
def test_a_value_that_an_option_does_not_take_is_named(arguments: list[str], expected: str) -> None:
    assert expected in called(*arguments, expect=2).stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["deployments", "reload"], "no stack runs on here: `kernelport up` starts one"),
        (["restart"], "no stack runs on here: `kernelport up` starts one"),
        (["backup", "copy"], "no stack runs on here: name its Redis"),
        (["restore", "no-such"], "no-such is no whole backup"),
    ],
)
def test_a_folder_that_is_not_what_a_command_needs_is_a_mistake(
    arguments: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert expected in called(*arguments, "--state-dir", "here", expect=2).stderr


FILES = {
    "latin.txt": ("caf\xe9.\n".encode("latin-1"), "latin.txt:1: expected UTF-8 text, got the byte 0xe9"),
    "utf32.txt": ("Hi.\n".encode("utf-32"), "utf32.txt:1: expected UTF-8 or UTF-16 text"),
    "cut.txt.gz": (gzip.compress(b"Hi.\n")[:-4], "cut.txt.gz cannot be read"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_text_that_cannot_be_read_is_told_by_its_line(tmp_path: Path, name: str) -> None:
    content, expected = FILES[name]
    (tmp_path / name).write_bytes(content)
    result = called("say", "-f", tmp_path / name, expect=2)
    assert expected in result.stderr


def test_a_name_that_is_no_text_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["kernelport", "jobs", "show", "\udcff", "--target", "127.0.0.1:1"])
    with pytest.raises(SystemExit):
        main()
    assert 'expected Unicode text, got "\\udcff"' in capsys.readouterr().err


def test_closed_streams_and_those_of_another_encoding_are_no_obstacle() -> None:
    command = f"{sys.executable} -m kernelport.cli"
    closed = subprocess.run(f"{command} say <&-", shell=True, capture_output=True, text=True, check=False)  # noqa: S602
    assert "expected TEXTS, --file, or text on stdin" in closed.stderr
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    printed = subprocess.run(
        [*command.split(), "doctor"], env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert (printed.returncode, printed.stderr) == (0, "")


@pytest.mark.parametrize("damage", ["random", "cut", "changed"])
def test_a_damaged_archive_of_arrays_is_told(stack: Stack, tmp_path: Path, damage: str) -> None:
    np.savez_compressed(tmp_path / "in.npz", x=np.arange(1000.0))
    content = (tmp_path / "in.npz").read_bytes()
    damaged = {
        "random": os.urandom(400),
        "cut": content[:-30],
        "changed": content.replace(content[80:90], b"\xff" * 10),
    }
    (tmp_path / "in.npz").write_bytes(damaged[damage])
    result = called("infer", "identity-onnx", tmp_path / "in.npz", "--target", stack.target, expect=2)
    assert "expected an .npz file of arrays" in result.stderr


def test_what_infer_prints_is_json_whatever_the_numbers_are(stack: Stack) -> None:
    given = json.dumps({"x": [[[[float("nan"), float("inf"), -float("inf"), 0.5]]]]})
    printed = called("infer", "identity-onnx", "-", "--target", stack.target, stdin=given).stdout

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert json.loads(printed, parse_constant=refuse) == {"y": [[[["NaN", "Infinity", "-Infinity", 0.5]]]]}


def test_say_reads_utf_16_and_compressed_text(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "text.gz").write_bytes(gzip.compress("One.\r\n\r\nTwo.\r\n".encode("utf-16")))
    called("say", "-f", tmp_path / "text.gz", "-o", tmp_path / "out", "--target", stack.target)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0001.wav", "0002.wav"]


@pytest.mark.parametrize("name", ["text", "self", "timeout_s", "sped"])
def test_say_names_the_inputs_that_there_are(stack: Stack, name: str) -> None:
    result = called("say", "Hi.", "--set", f"{name}=1", "--target", stack.target, expect=2)
    assert f"--set {name}: expected one of speed, locale, seed" in result.stderr


def test_a_job_is_made_of_a_pipe(stack: Stack, tmp_path: Path) -> None:
    pipe = tmp_path / "items.csv.gz"
    os.mkfifo(pipe)
    table = gzip.compress(b"ID,Text,\na,One.,\nb,Two.,\n")
    writer = threading.Thread(target=pipe.write_bytes, args=(table,))
    writer.start()
    kernelport("jobs", "submit", pipe, "-o", tmp_path / "out", "--target", stack.target)
    writer.join()
    assert {path.name for path in (tmp_path / "out").glob("*.wav")} == {"a.wav", "b.wav"}


def test_limits_of_the_deployment_are_told_by_line_before_anything_is_queued(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "items.csv"
    file.write_text(f"text,speed\nHi.,1\nHi.,2.5\n{'a' * 100_001},1\n")
    result = called("jobs", "submit", file, "--target", stack.target, expect=2)
    assert f"{file}:3: speed: expected 0.5 to 2.0, got 2.5" in result.stderr
    assert f"{file}:4: text: expected at most 100,000 characters, got 100,001" in result.stderr


def test_a_row_without_an_id_does_not_take_that_of_another(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "items.jsonl"
    file.write_text('{"text": "One."}\n{"id": "000001", "text": "Two."}\n')
    result = called("jobs", "submit", file, "--target", stack.target, expect=2)
    assert f'{file}:2: id: expected ids that differ, got "000001" as in line 1' in result.stderr
    result = called("jobs", "submit", file, "--column", "text=id", "--target", stack.target, expect=2)
    assert "expected a column of its own for each input, got id for two" in result.stderr
