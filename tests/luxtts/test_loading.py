"""A deployment that cannot run says what is wrong before it takes work."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from kernelport.config.deployments import Deployment, load_deployments
from kernelport.config.settings import bundled_deployments
from kernelport_workers.backends.base import LoadError
from kernelport_workers.luxtts import cpu_layers
from kernelport_workers.pipelines.luxtts import LuxTTSPipeline
from kernelport_workers.pipelines.luxtts.options import Options, choose_compute, choose_device
from tests.luxtts.conftest import deployment_of

GRAPHS = ("text_encoder", "fm_decoder")
INT8 = ("text_encoder_int8", "fm_decoder_int8")


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "model"))


def load(folder: Path, **changes: Any) -> LuxTTSPipeline:
    return LuxTTSPipeline.load(deployment_of(folder, **changes))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"transcribe": "base.en"}, "options: expected one of transcriber, phonemizer, precision, kernels"),
        ({"precision": "float64"}, "options.precision: expected one of float32, float16, bfloat16, int8"),
        ({"kernels": "yes"}, "options.kernels: expected true or false"),
        ({"transcriber": 1}, "options.transcriber: expected a text"),
        ({"transcriber": "nowhere:Nothing"}, "cannot import 'nowhere:Nothing'"),
        ({"phonemizer": "nowhere:nothing"}, "cannot import 'nowhere:nothing'"),
        ({"phonemizer": "builtins:len"}, "expected a function that returns phonemes, got 6"),
        ({"phonemizer": "builtins:int"}, "the phonemizer does not work: ValueError"),
    ],
)
def test_options_are_checked(copy: Path, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(LoadError) as refused:
        load(copy, options=options)
    assert complaint in str(refused.value)


def test_without_an_english_phonemizer_it_does_not_load(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "piper_phonemize", None)
    with pytest.raises(LoadError, match=r"luxtts-english.*or name options.phonemizer"):
        load(copy)
    assert load(copy, options={"phonemizer": "tests.luxtts.conftest:spell"}).device == "cpu"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x02}q", b"junk" * 100])
def test_a_damaged_checkpoint_is_named(copy: Path, content: bytes) -> None:
    (copy / "model.pt").write_bytes(content)
    with pytest.raises(LoadError, match=r"^model\.pt: "):
        load(copy)


def test_a_file_the_manifest_does_not_name_is_not_loaded(copy: Path) -> None:
    with pytest.raises(LoadError, match="the manifest names no weights"):
        load(copy, without=["model"])


@pytest.mark.parametrize(
    ("roles", "device", "path"),
    [
        (("model",), "cpu", "torch"),
        (GRAPHS, "cpu", "onnx"),
        (("model", *GRAPHS), "cpu", "torch"),
        (("model", *GRAPHS, *INT8), "cpu", "onnx-int8"),
        (("model", *INT8), "cuda:0", "torch"),
    ],
)
def test_the_fastest_path_with_files_is_taken(roles: tuple[str, ...], device: str, path: str) -> None:
    assert choose_compute(device, {role: Path(role) for role in roles}) == path


@pytest.mark.parametrize(
    ("precision", "roles", "path"),
    [
        ("int8", ("model",), "torch-int8"),
        ("int8", ("model", *INT8), "torch-int8"),
        ("int8", INT8, "onnx-int8"),
        ("bfloat16", ("model",), "torch-bf16"),
        ("float16", ("model",), "torch"),
    ],
)
def test_a_cpu_multiplies_in_fewer_bits_where_it_is_asked_to_and_can(
    monkeypatch: pytest.MonkeyPatch, precision: Any, roles: tuple[str, ...], path: str
) -> None:
    files = {role: Path(role) for role in roles}
    for has in (True, False):
        monkeypatch.setattr(cpu_layers, "has_bfloat16", lambda has=has: has)
        monkeypatch.setattr(cpu_layers, "has_int8", lambda has=has: has)
        expected = path if has or not path.startswith("torch-") else ("onnx-int8" if INT8[0] in roles else "torch")
        assert choose_compute("cpu", files, precision) == expected


def test_a_gpu_runs_no_int8() -> None:
    with pytest.raises(LoadError, match="int8 is for a CPU"):
        choose_compute("cuda:0", {"model": Path("model")}, "int8")


@pytest.mark.parametrize(
    ("name", "gpus", "roles", "device"),
    [
        ("cpu", 2, ("model",), "cpu"),
        ("auto", 0, ("model",), "cpu"),
        ("auto", 1, ("model",), "cuda:0"),
        ("auto", 1, INT8, "cpu"),
        ("cuda", 1, ("model",), "cuda:0"),
        ("cuda:1", 2, ("model",), "cuda:1"),
        ("cuda:1", 1, ("model",), None),
        ("cuda", 0, ("model",), None),
        ("cuda", 1, INT8, None),
    ],
)
def test_the_device_is_one_that_is_there(
    monkeypatch: pytest.MonkeyPatch, name: str, gpus: int, roles: tuple[str, ...], device: str | None
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    files = {role: Path(role) for role in roles}
    if device is None:
        with pytest.raises(LoadError, match=f"device {name}: "):
            choose_device(name, files)
    else:
        assert choose_device(name, files) == device


@pytest.mark.parametrize("name", ["luxtts", "luxtts-cpu"])
def test_the_bundled_manifests_fetch_what_their_path_needs_and_check_it(name: str) -> None:
    deployment: Deployment = load_deployments(bundled_deployments())[name]
    manifest = deployment.manifest
    assert manifest is not None
    assert manifest.source.kind == "huggingface"
    assert len(manifest.source.revision) == 40
    large = {path for path in manifest.files.values() if path.endswith((".onnx", ".pt", ".bin"))}
    assert large <= manifest.source.sha256.keys() <= set(manifest.files.values())
    assert Options(manifest.options).transcriber == "base.en"
    wanted = "onnx-int8" if name == "luxtts-cpu" else "torch"
    assert choose_compute("cpu", {role: Path(path) for role, path in manifest.files.items()}) == wanted
