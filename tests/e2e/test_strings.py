"""Strings are bytes of any value: what a model gives is what files, listings and JSON show."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml

from kernelport import Client, load_outputs, npz
from kernelport.supervisor.stack import Stack
from kernelport.v1 import job_pb2
from tests.cli.running import called
from tests.conftest import serving_stack, stack_settings
from tests.workers.onnx_models import parse

GIVEN = [b"ab\0", b"\0\0", "grün".encode(), b""]


@pytest.fixture(scope="module")
def strings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose one deployment gives back the strings that it is given."""
    folder = tmp_path_factory.mktemp("strings")
    onnx.save(parse("g (string[N] text) => (string[N] t) { t = Identity(text) }"), folder / "model.onnx")
    source = {"kind": "local", "path": "."}
    manifest = {"id": "m", "source": source, "format": "onnx", "backend": "onnx", "files": {"model": "model.onnx"}}
    (folder / "m.yaml").write_text(yaml.safe_dump(manifest))
    entry = {"manifest": "m.yaml", "backend": "onnx", "image": "test", "device": "cpu"}
    (folder / "deployments.yaml").write_text(yaml.safe_dump({"deployments": {"strings": entry}}))
    with serving_stack(stack_settings(folder / "deployments.yaml"), ["strings"], folder / "state") as stack:
        yield stack


@pytest.fixture(autouse=True)
def target(strings: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNELPORT_TARGET", strings.target)


@pytest.mark.parametrize("given", [GIVEN, np.array(GIVEN, object)], ids=["list", "array"])
def test_calls(given: object, strings: Stack) -> None:
    with Client(strings.target, timeout_s=30) as client:
        assert client.infer("strings", {"text": given})["t"].tolist() == GIVEN


def test_files_that_go_in_and_come_out(tmp_path: Path) -> None:
    npz.write(tmp_path / "in.npz", {"text": np.array(GIVEN, object)})
    called("infer", "strings", tmp_path / "in.npz", "-o", tmp_path / "out.npz")
    assert npz.read(tmp_path / "out.npz")["t"].tolist() == GIVEN
    np.savez(tmp_path / "plain.npz", text=np.array(["grün", "b"]))
    called("infer", "strings", tmp_path / "plain.npz", "-o", tmp_path / "out.npz", "--overwrite")
    assert npz.read(tmp_path / "out.npz")["t"].tolist() == ["grün".encode(), b"b"]


def test_json_shows_text() -> None:
    for text in ('["grün", "b"]', '["[1]", "b"]'):
        printed = called("infer", "strings", "-", stdin=f'{{"text": {text}}}').stdout
        assert json.loads(printed) == {"t": json.loads(text)}


def test_a_damaged_file_is_one_clear_line(tmp_path: Path) -> None:
    for name in ("in.npz", "in.npy", "in.json"):
        (tmp_path / name).write_bytes(b"\x93NUMPY and noise")
        assert f"{tmp_path / name}: " in called("infer", "strings", tmp_path / name, expect=2).stderr


def test_jobs_keep_them_and_list_them_as_text(strings: Stack, tmp_path: Path) -> None:
    with Client(strings.target, timeout_s=30) as client:
        items = {"a": GIVEN, "b": ["grün", "and blue"]}
        job = client.jobs.wait(client.jobs.submit("strings", [(key, {"text": each}) for key, each in items.items()]).id)
        assert job.state == job_pb2.JOB_STATE_SUCCEEDED
        assert [item.text for item in client.jobs.items(job.id)][1] == "grün and blue"
    called("jobs", "fetch", job.id, "-o", tmp_path)
    assert npz.read(tmp_path / "a.npz")["t"].tolist() == GIVEN
    assert [each.decode() for each in load_outputs(tmp_path / "b.npz")["t"]] == items["b"]
