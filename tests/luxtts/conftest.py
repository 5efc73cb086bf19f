"""Fixtures: golden arrays and the tiny checkpoint laid out like the published repository."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import yaml
from numpy.typing import ArrayLike, NDArray
from safetensors.torch import load_file

from kernelport.config.deployments import Deployment, load_deployments
from kernelport_workers.luxtts.checkpoint import CheckpointFiles, load_acoustic_model, load_vocoder
from kernelport_workers.luxtts.decoder import FlowDecoder
from kernelport_workers.luxtts.onnx_export import export
from kernelport_workers.luxtts.text_encoder import TextModel
from kernelport_workers.luxtts.vocoder import Vocoder

GOLDEN = Path(__file__).parent / "golden"

Arrays = dict[str, NDArray[Any]]


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Arrays]:
    def load(name: str) -> Arrays:
        with np.load(GOLDEN / f"{name}.npz") as arrays:
            return dict(arrays)

    return load


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny random checkpoint as a directory with the published file names."""
    root = tmp_path_factory.mktemp("tiny")
    (root / "vocoder").mkdir()
    shutil.copy(GOLDEN / "tiny_config.json", root / "config.json")
    shutil.copy(GOLDEN / "tokens.txt", root / "tokens.txt")
    shutil.copy(GOLDEN / "tiny_vocoder_config.yaml", root / "vocoder" / "config.yaml")
    torch.save({"model": load_file(GOLDEN / "tiny_model.safetensors")}, root / "model.pt")
    torch.save(load_file(GOLDEN / "tiny_vocos.safetensors"), root / "vocoder" / "vocos.bin")
    return root


@pytest.fixture(scope="session")
def tiny_onnx(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint with its exported graphs, float32 and int8."""
    pytest.importorskip("onnx")
    root = tmp_path_factory.mktemp("graphs") / "model"
    shutil.copytree(tiny, root)
    export(root)
    return root


@pytest.fixture(scope="session")
def acoustic(tiny: Path) -> tuple[TextModel, FlowDecoder]:
    return load_acoustic_model(CheckpointFiles.open(tiny), torch.device("cpu"))


@pytest.fixture(scope="session")
def vocoder(tiny: Path) -> Vocoder:
    return load_vocoder(tiny / "vocoder", torch.device("cpu"))


def relative_error(actual: ArrayLike | torch.Tensor, expected: ArrayLike | torch.Tensor) -> float:
    """Largest absolute difference over the largest expected magnitude; infinite when shapes differ."""
    a, b = np.asarray(actual, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    return float(np.abs(a - b).max() / np.abs(b).max()) if a.shape == b.shape else float("inf")


def spell(text: str) -> str:
    """Stand-in for espeak that needs no package: letters as they are, which the token table mostly has."""
    return text.lower()


def tone(seconds: float, rate: int = 24_000, level: float = 0.3) -> NDArray[np.float32]:
    """A voice-like buzz (n,) with a slow beat, so that it is neither silent nor constant."""
    t = np.arange(int(seconds * rate)) / rate
    wave = np.sin(2 * np.pi * 140 * t) + 0.5 * np.sin(2 * np.pi * 910 * t) * np.sin(2 * np.pi * 3 * t)
    return np.asarray(level * wave / np.abs(wave).max(), dtype=np.float32)


def audio_file(wave: NDArray[np.float32], rate: int = 24_000, kind: str = "WAV", subtype: str | None = None) -> bytes:
    """Encode a waveform as the bytes of an audio file."""
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


FILES = {
    "config": "config.json",
    "tokens": "tokens.txt",
    "model": "model.pt",
    "vocoder_config": "vocoder/config.yaml",
    "vocoder": "vocoder/vocos.bin",
}


def write_deployment(folder: Path, model: Path, options: Mapping[str, Any], without: Sequence[str] = ()) -> Path:
    """Write a deployments file with `luxtts` on the CPU, and the manifest of a model directory beside it."""
    manifest = {
        "id": "tiny",
        "source": {"kind": "local", "path": str(model)},
        "format": "pytorch",
        "backend": "helion",
        "files": {role: path for role, path in FILES.items() if role not in without},
        "options": dict(options),
    }
    entry = {
        "manifest": "manifest.yaml",
        "backend": "helion",
        "image": "kernelport-luxtts:gpu",
        "pipeline": "kernelport_workers.pipelines.luxtts:LuxTTSPipeline",
        "device": "cpu",
    }
    (folder / "manifest.yaml").write_text(yaml.safe_dump(manifest))
    path = folder / "deployments.yaml"
    path.write_text(yaml.safe_dump({"deployments": {"luxtts": entry}}))
    return path


def deployment_of(model: Path, options: Mapping[str, Any] | None = None, without: Sequence[str] = ()) -> Deployment:
    """The deployment `luxtts` of a model directory."""
    return load_deployments(write_deployment(model, model, options or {}, without))["luxtts"]
