"""The command line, run as its user runs it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import soundfile
from onnx import TensorProto, helper

from kernelport.cli import demo
from kernelport.supervisor.ports import free_port
from kernelport.supervisor.stack import Stack
from tests.cli.running import called, kernelport
from tests.everyday.conftest import UNSPEAKABLE
from tests.waiting import descendants, is_running, wait_for

X = np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)


def test_infer_reads_and_writes_npz_npy_and_json(stack: Stack, tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", x=X)
    np.save(tmp_path / "in.npy", X)
    (tmp_path / "in.json").write_text(json.dumps({"x": X.tolist()}))
    where = ("-o", tmp_path / "out.npz", "--target", stack.target)
    for source in ("in.npz", "in.npy", "in.json"):
        called("infer", "identity-onnx", tmp_path / source, *where, "--overwrite")
        with np.load(tmp_path / "out.npz") as outputs:
            assert outputs["y"].dtype == np.float32
            assert np.array_equal(outputs["y"], X)
    assert "out.npz is there already" in called("infer", "identity-onnx", tmp_path / "in.npz", *where, expect=2).stderr


def test_infer_takes_stdin_single_inputs_and_its_target_from_the_environment(stack: Stack, tmp_path: Path) -> None:
    where = {"KERNELPORT_TARGET": stack.target}
    printed = kernelport("infer", "identity-onnx", "-", stdin=json.dumps({"x": X.tolist()}), **where)
    assert json.loads(printed.stdout) == {"y": X.tolist()}
    assert "backend" in printed.stderr
    np.save(tmp_path / "x.npy", X)
    printed = called("infer", "identity-onnx", "--input", f"x=@{tmp_path / 'x.npy'}", **where)
    assert json.loads(printed.stdout) == {"y": X.tolist()}
    printed = called("infer", "hibari-en", "--input", "text=Yes.", "--input", "speed=2", **where)
    assert json.loads(printed.stdout)["sample_rate"] == [24000]


def test_say_writes_one_text_as_wav_flac_or_ogg(stack: Stack, tmp_path: Path) -> None:
    seconds = set()
    for name in ("one.wav", "one.flac", "one.ogg"):
        called("say", "Good morning.", "--set", "seed=7", "-o", tmp_path / name, "--target", stack.target)
        info = soundfile.info(str(tmp_path / name))
        assert info.format == name.rpartition(".")[2].upper()
        assert (info.samplerate, info.channels) == (24000, 1)
        seconds.add(round(info.frames / info.samplerate, 1))
    assert len(seconds) == 1
    assert seconds.pop() > 0.5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.flac", "one.ogg", "one.wav"]


def test_say_speaks_many_lines_from_a_file_or_stdin_into_a_folder(stack: Stack, tmp_path: Path) -> None:
    text = "First line.\n\nSecond line.\nThird line.\n"
    (tmp_path / "text.txt").write_text(text)
    called("say", "-f", tmp_path / "text.txt", "-o", tmp_path / "a", "--target", stack.target)
    printed = kernelport("say", "-o", tmp_path / "b", "--target", stack.target, stdin=text)
    assert "3 of 3 spoken" in printed.stdout
    for folder in ("a", "b"):
        assert sorted(path.name for path in (tmp_path / folder).iterdir()) == ["0001.wav", "0002.wav", "0003.wav"]


def test_say_reports_the_lines_that_failed_and_writes_the_rest(stack: Stack, tmp_path: Path) -> None:
    printed = called("say", "Hello.", UNSPEAKABLE, "-o", tmp_path, "--target", stack.target, expect=1)
    assert "1 of 2 spoken" in printed.stdout
    assert "argument 2: " in printed.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["0001.wav"]


def test_deployments_list_and_show(stack: Stack) -> None:
    listed = called("deployments", "list", "--target", stack.target).stdout
    assert all(name in listed for name in ("identity-onnx", "helion-demo", "hibari-en"))
    assert "F32[1]" in listed
    shown = called("deployments", "show", "hibari-en", "--target", stack.target).stdout
    assert "hibari-en: serving" in shown
    assert "speed: F32[1] (optional) 0.5 to 2.0, default 1" in shown
    assert "text: U8[bytes] at most 100,000 characters" in shown
    as_json = json.loads(called("deployments", "show", "identity-onnx", "--json", "--target", stack.target).stdout)
    assert as_json["live_workers"] == 1
    assert as_json["signature"]["inputs"][0]["dtype"] == "F32"
    assert as_json["signature"]["row_independence"] == "proven"


def test_deployments_show_says_whether_requests_share_a_run_and_why(stack: Stack) -> None:
    def stacking(name: str) -> str:
        shown = called("deployments", "show", name, "--target", stack.target).stdout
        return next(line for line in shown.splitlines() if line.startswith("  stacking"))

    assert "stacked, proven" in stacking("identity-onnx")
    assert "along axes: x 0, y 0" in stacking("identity-onnx")
    assert "stacked, declared" in stacking("helion-demo")
    assert "left to the pipeline" in stacking("hibari-en")


@pytest.mark.parametrize(
    ("node", "verdict", "says"),
    [
        ("y = Relu(x)", "proven", ["x: rows along axis 0", "requests are stacked"]),
        ("y = CumSum(x, rows)", "refuted", ["CumSum", "one by one; the manifest cannot declare these axes"]),
        ("s = SequenceConstruct(x) y = SequenceAt(s, rows)", "unknown", ["Sequence", "unless the manifest says"]),
    ],
)
def test_deployments_check_says_it_of_a_file_without_a_server(
    node: str, verdict: str, says: list[str], tmp_path: Path
) -> None:
    graph = f"g (float[N, 2] x) => (float[N, 2] y) <int64 rows = {{0}}> {{ {node} }}"
    onnx.save(onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]>{graph}'), tmp_path / "m.onnx")
    told = called("deployments", "check", tmp_path / "m.onnx").stdout
    assert f"m.onnx: {verdict}: " in told
    assert all(words in told for words in says), told
    assert json.loads(called("deployments", "check", tmp_path / "m.onnx", "--json").stdout)["verdict"] == verdict


def test_deployments_check_of_a_model_without_a_free_axis_says_that_nothing_can_be_declared(tmp_path: Path) -> None:
    model = '<ir_version: 10, opset_import: ["" : 21]> g (float[1, 2] x) => (float[1, 2] y) { y = Relu(x) }'
    onnx.save(onnx.parser.parse_model(model), tmp_path / "m.onnx")
    assert (
        "one by one; the manifest cannot declare any axes" in called("deployments", "check", tmp_path / "m.onnx").stdout
    )


NO_MODEL = "expected an ONNX model"


@pytest.mark.parametrize(
    ("made", "complaint"),
    [
        (lambda file: file.write_text("backend: onnx\n"), NO_MODEL),
        (lambda file: file.write_bytes(b""), NO_MODEL),
        (lambda file: file.write_bytes(onnx.ModelProto(ir_version=10).SerializeToString()), NO_MODEL),
        (lambda file: file.write_bytes(bytes(1000)), NO_MODEL),
        (os.mkfifo, "expected a file, got something else"),
        (Path.mkdir, "expected a file, got a directory"),
        (lambda file: file.symlink_to("nowhere"), "expected a file, got none"),
        (lambda file: None, "expected a file, got none"),
    ],
    ids=["text", "empty", "graphless", "zeros", "fifo", "directory", "dangling", "missing"],
)
@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["words", "json"])
def test_deployments_check_refuses_what_is_no_model_file(
    made: Callable[[Path], object], complaint: str, as_json: list[str], tmp_path: Path
) -> None:
    made(tmp_path / "m.onnx")
    printed = called("deployments", "check", tmp_path / "m.onnx", *as_json, expect=2)
    assert printed.stderr.startswith(f"error: m.onnx: {complaint}")
    assert len(printed.stderr.splitlines()) == 1


def test_doctor_says_what_runs_here_and_why_not(tmp_path: Path) -> None:
    file = tmp_path / "deployments.yaml"
    file.write_text(
        "deployments: {here: {backend: onnx, image: i, pipeline: 'tests.stack.models:Sleeper'},"
        " elsewhere: {backend: onnx, image: i, pipeline: 'nowhere:Model'}}"
    )
    command = ["doctor", "--deployments-file", file, "--redis-url", f"redis://127.0.0.1:{free_port()}"]
    report = called(*command).stdout
    assert "cannot be reached" in report
    rows = {cells[0]: cells for line in report.splitlines() if len(cells := line.split("\t")) > 1}
    assert "yes" in rows["here"]
    assert "no" in rows["elsewhere"]
    assert any("nowhere" in cell for cell in rows["elsewhere"])
    told = json.loads(called(*command, "--json").stdout)
    assert told["packages"]["kernelport"]
    assert "cannot be reached" in told["acknowledged_work"]
    elsewhere, here = told["deployments"]
    assert here == {"name": "here", "runs_here": True, "why_not": None}
    assert "nowhere" in elsewhere["why_not"]


@pytest.mark.parametrize(
    ("shell", "typed", "completed"),
    [
        ("bash", "deploy", "plain,deployments"),
        ("bash", "deployments sh", "plain,show"),
        ("bash", "jobs list --js", "plain,--json"),
        ("zsh", "heal", "plain\nhealth\n"),
        ("fish", "heal", "plain,health"),
    ],
)
def test_the_shell_completes_commands_and_options(shell: str, typed: str, completed: str) -> None:
    words = f"kernelport {typed}"
    place = {"COMP_WORDS": words, "COMP_CWORD": words.split()[-1] if shell == "fish" else str(len(words.split()) - 1)}
    command = Path(sys.executable).with_name("kernelport")
    for asked in ("source", "complete"):
        environment = {**os.environ, **place, "_KERNELPORT_COMPLETE": f"{shell}_{asked}"}
        said = subprocess.run([command], env=environment, capture_output=True, text=True, check=True, timeout=60)
        assert said.stdout
    assert said.stdout.startswith(completed)


def test_serve_serves_any_onnx_file(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Add", ["a", "b"], ["sum"])],
        "adder",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["n"]) for name in "ab"],
        [helper.make_tensor_value_info("sum", TensorProto.INT64, ["n"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "my_Adder v2.onnx")
    port = free_port()
    command = ["serve", "--backend", "onnx", "--model-path", "my_Adder v2.onnx", "--state-dir", "state"]
    command += ["--batch-axes", "off", "--max-batch", "4", "--max-rows", "100"]
    server = subprocess.Popen(
        [sys.executable, "-m", "kernelport.cli", *command, "--listen", f"127.0.0.1:{port}"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    with server.stdout:
        assert server.stdout.readline() == "serving my_Adder-v2\n"
        assert "listens on" in server.stdout.readline()
        target = f"127.0.0.1:{port}"
        printed = called(
            "infer", "my_Adder-v2", "--input", "a=[1, 2]", "--input", "b=[10, 20]", "--target", target
        ).stdout
        shown = called("deployments", "show", "my_Adder-v2", "--target", target).stdout
        children = descendants(server.pid)
        server.terminate()
        assert server.wait(60) == 0
    assert json.loads(printed) == {"sum": [11, 22]}
    assert "batches of up to 4 requests, 100 rows" in shown
    assert "one by one: the deployment's batching.axes is off" in shown
    wait_for(lambda: not any(is_running(pid) for pid in children))


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["infer", "no-such"], 2, 'no deployment is named "no-such"'),
        (["infer", "identity-onnx", "--input", "x=[[1]]"], 2, "inputs[0].shape"),
        (["infer", "identity-onnx", "--input", "x=abc"], 2, 'inputs["x"]'),
        (["infer", "identity-onnx", "--input", "x"], 2, "expected name=value"),
        (["infer", "identity-onnx", "README.md"], 2, "expected an .npz or .npy file, or JSON such as"),
        (["say", "Hi.", "--deployment", "no-such"], 2, 'no deployment is named "no-such"'),
        (["infer", "identity-onnx", "-o", "out.csv"], 2, "--out"),
        (["say", "Hi.", "--set", "speed=fast"], 2, 'inputs["speed"]'),
        (["say", "Hi.", "-o", "speech.mp4"], 2, ".wav, .flac, .ogg"),
        (["say"], 2, "nothing to say"),
        (["deployments", "show", "no-such"], 2, 'no deployment is named "no-such"'),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_clear_line(stack: Stack, arguments: list[str], code: int, complaint: str) -> None:
    printed = called(*arguments, expect=code, KERNELPORT_TARGET=stack.target)
    assert complaint in printed.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["up", "--deployments", "nobody"], "no deployment is named 'nobody'"),
        (["worker", "nobody"], "no deployment is named 'nobody'"),
        (["serve"], "expected either --model-path or --manifest"),
        (
            ["serve", "--model-path", "pyproject.toml", "--name", "bad name"],
            "expected a name of letters, digits, dots,",
        ),
        (["deployments", "add", "bad name=pyproject.toml"], "expected a name of letters, digits, dots, dashes"),
        (["up", "--deployments-file", "pyproject.toml"], "pyproject.toml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_start_says_why(arguments: list[str], complaint: str) -> None:
    assert complaint in called(*arguments, expect=2).stderr


def test_a_setting_that_does_not_parse_is_named() -> None:
    assert (
        "KERNELPORT_MAX_MESSAGE_BYTES: expected a size"
        in called("up", "--deployments", "identity-onnx", expect=2, KERNELPORT_MAX_MESSAGE_BYTES="lots").stderr
    )


def test_the_demo_speaks_its_text_into_files_that_are_speech(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "demo.txt").write_text("Down, down, down.\nWould the fall never come to an end?\n")
    monkeypatch.setattr(demo, "resources", SimpleNamespace(files=lambda package: tmp_path))
    assert_spoken(called("demo", "--out", tmp_path / "out").stdout, tmp_path / "out", 2)


@pytest.mark.thorough
def test_the_demo_speaks_the_text_that_comes_with_it(tmp_path: Path) -> None:
    assert_spoken(kernelport("demo", "--out", tmp_path).stdout, tmp_path, 100)


def assert_spoken(printed: str, folder: Path, lines: int) -> None:
    """What the demo printed and wrote is speech for so many lines."""
    manifest = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    files = sorted(folder.glob("*.wav"))
    assert [row["file"] for row in manifest] == [file.name for file in files]
    assert len(files) == lines
    assert f"succeeded: {lines} of {lines} items" in printed
    assert "identity-onnx: x [1, 1, 2, 2] came back as y, unchanged" in printed
    for file in files:
        audio, rate = soundfile.read(file, dtype="float32")
        assert rate == 24000
        assert 0.8 < len(audio) / rate < 20
        assert 0.01 < np.sqrt(np.mean(audio**2)) < 0.5, f"{file.name} is neither silent nor noise"


@pytest.mark.parametrize(
    ("tried", "hint"),
    [
        ("stop", "No such command 'stop': Ctrl-C or SIGTERM to `kernelport up` stops it"),
        ("speak", "No such command 'speak': `kernelport say` speaks"),
        ("xyzzy", "No such command 'xyzzy'."),
    ],
)
def test_a_command_that_there_is_not_is_answered_with_the_one_that_is_meant(tried: str, hint: str) -> None:
    assert hint in called(tried, expect=2).stderr
