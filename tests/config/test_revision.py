"""A deployment's revision changes with what its answers depend on, and with nothing else."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from kernelport import revision
from kernelport.deployments import load_deployments
from kernelport.revision import revision_of


def of(folder: Path, **entry: Any) -> str:
    """The revision of a deployment of the model in the folder."""
    known = {"backend": "onnx", "image": "i", "manifest": "manifest.yaml", **entry}
    (folder / "deployments.yaml").write_text(yaml.safe_dump({"deployments": {"a": known}}))
    return revision_of(load_deployments(folder / "deployments.yaml")["a"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    manifest = {"id": "m", "source": {"kind": "local", "path": "."}, "format": "onnx", "backend": "onnx"}
    (tmp_path / "manifest.yaml").write_text(yaml.safe_dump({**manifest, "files": {"model": "model.onnx"}}))
    (tmp_path / "model.onnx").write_bytes(b"weights" * 1000)
    return tmp_path


def test_a_revision_stays_while_nothing_changes_that_answers(folder: Path) -> None:
    first = of(folder)
    assert of(folder) == first
    assert of(folder, limits={"max_attempts": 1}, timeouts={"request_s": 1}) == first


def test_a_revision_changes_with_entry_manifest_model_and_code(folder: Path) -> None:
    seen = {of(folder), of(folder, device="cpu"), of(folder, image="j")}
    manifest = folder / "manifest.yaml"
    manifest.write_text(manifest.read_text() + "options: {steps: 4}\n")
    seen.add(of(folder))
    (folder / "model.onnx").write_bytes(b"WEIGHTS" * 1000)
    seen.add(of(folder))
    seen |= {of(folder, pipeline="tests.stack.models:Journal"), of(folder, pipeline="tests.e2e.models:Fragile")}
    assert len(seen) == 7


@pytest.mark.parametrize("place", [0, 3500, 6999])
def test_of_a_large_file_pieces_are_read_from_end_to_end(
    folder: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    monkeypatch.setattr(revision, "_READ_BYTES", 1000)
    monkeypatch.setattr(revision, "_PIECE_BYTES", 100)
    before = of(folder)
    data = bytearray(b"weights" * 1000)
    data[max(0, place - 700) : place + 700] = bytes(len(data[max(0, place - 700) : place + 700]))
    (folder / "model.onnx").write_bytes(data)
    assert of(folder) != before
