"""A deployment's revision changes with what decides its numbers, and with nothing else."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml

from kernelport.config.deployments import load_deployments
from kernelport_workers.backends import revisions
from kernelport_workers.backends.revisions import revision_of


def write_manifest(folder: Path, **changes: Any) -> None:
    manifest = {"id": "m", "source": {"kind": "local", "path": "."}, "format": "onnx", "backend": "onnx", **changes}
    (folder / "manifest.yaml").write_text(yaml.safe_dump({"files": {"model": "model.onnx"}, **manifest}))


def of(folder: Path, compute_options: tuple[str, ...] = (), **entry: Any) -> str:
    """The revision of a deployment of the model in the folder."""
    known = {"backend": "onnx", "image": "i", "manifest": "manifest.yaml", **entry}
    (folder / "deployments.yaml").write_text(yaml.safe_dump({"deployments": {"a": known}}))
    return revision_of(load_deployments(folder / "deployments.yaml")["a"], compute_options)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = tmp_path / "model"
    found.mkdir()
    write_manifest(found)
    (found / "model.onnx").write_bytes(b"weights" * 1000)
    return found


def test_a_revision_stays_while_nothing_changes_the_numbers(folder: Path) -> None:
    first = of(folder)
    assert of(folder, limits={"max_attempts": 1}, timeouts={"request_s": 1}, batching={"max_batch": 1}) == first
    assert of(folder, device="cpu") == of(folder, image="j") == first


def test_a_revision_changes_with_model_options_and_code(folder: Path) -> None:
    seen = [
        of(folder),
        of(folder, pipeline="tests.stack.models:Journal"),
        of(folder, pipeline="tests.e2e.models:Fragile"),
    ]
    write_manifest(folder, options={"steps": 4})
    seen.append(of(folder))
    write_manifest(folder, batch_axes="none")
    seen.append(of(folder))
    write_manifest(folder)
    (folder / "model.onnx").write_bytes(b"WEIGHTS" * 1000)
    seen.append(of(folder))
    assert len(set(seen)) == len(seen)


def test_where_a_model_lies_and_how_it_is_computed_is_no_part_of_its_revision(folder: Path, tmp_path: Path) -> None:
    first = of(folder)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(folder, elsewhere)
    (elsewhere / "model.onnx").rename(elsewhere / "renamed.onnx")
    write_manifest(
        elsewhere,
        id="other",
        files={"model": "renamed.onnx"},
        options={"precision": "float16"},
        onnx={"intra_op_threads": 1, "providers": [{"name": "CPUExecutionProvider"}]},
    )
    assert of(elsewhere, ("precision", "kernels")) == first
    assert of(elsewhere) != first, "of a pipeline that does not call it a compute option"


def test_the_data_of_an_onnx_model_that_lies_beside_it_counts(folder: Path) -> None:
    def save(weight: float) -> None:
        weights = onnx.numpy_helper.from_array(np.full((300, 300), weight, np.float32), "w")
        value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [300, 300])
        result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [300, 300])
        graph = onnx.helper.make_graph(
            [onnx.helper.make_node("Add", ["x", "w"], ["y"])], "g", [value], [result], [weights]
        )
        location = f"{'long' * 50}.data"
        (folder / location).unlink(missing_ok=True)  # onnx appends
        onnx.save(onnx.helper.make_model(graph), folder / "model.onnx", save_as_external_data=True, location=location)

    save(1.0)
    first, graph = of(folder), (folder / "model.onnx").read_bytes()
    save(2.0)
    assert (folder / "model.onnx").read_bytes() == graph
    assert of(folder) != first


def test_a_large_file_is_read_again_only_when_it_has_changed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revisions, "_KEPT_FROM_BYTES", 1000)
    model = folder / "model.onnx"
    first, before = of(folder), model.stat()
    with model.open("r+b") as file:
        file.write(b"W")
    os.utime(model, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert of(folder) == first, "nothing tells that it has changed: it is not read"
    os.utime(model, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert of(folder) != first


@pytest.mark.parametrize("damage", ["nothing", '{"sha256": 3}', "[]"])
def test_a_damaged_digest_is_made_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, damage: str, tmp_path: Path
) -> None:
    monkeypatch.setattr(revisions, "_KEPT_FROM_BYTES", 1000)
    first = of(folder)
    for kept in (tmp_path / "cache").rglob("*.json"):
        kept.write_text(damage)
    assert of(folder) == first
