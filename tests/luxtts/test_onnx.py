"""The ONNX path: published graph semantics, torch lengths, and agreement with the PyTorch path."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from kernelport_workers.luxtts.acoustic import Job, Schedule, TorchAcousticModel
from kernelport_workers.luxtts.checkpoint import CheckpointFiles, read_state_dict
from kernelport_workers.luxtts.decoder import FlowDecoder
from kernelport_workers.luxtts.errors import CheckpointError
from kernelport_workers.luxtts.onnx_path import OnnxAcousticModel
from kernelport_workers.luxtts.prompt import Voice
from kernelport_workers.luxtts.reference import ReferenceModel
from kernelport_workers.luxtts.text_encoder import TextModel, frame_count
from tests.luxtts.conftest import Arrays, relative_error

ort = pytest.importorskip("onnxruntime")
SCHEDULE = Schedule(3, 0.7, 3.0)


@pytest.fixture
def voice(golden: Callable[[str], Arrays]) -> Voice:
    g = golden("model_single")
    return Voice(tuple(g["prompt_tokens"][0].tolist()), g["prompt_features"][0], 0.05, 0.01, "")


def job(voice: Voice, tokens: tuple[int, ...], speed: float, seed: int = 1) -> Job:
    return Job(voice, tokens, frame_count(len(voice.features), len(voice.tokens), len(tokens), speed), seed)


def torch_model(tiny: Path, acoustic: tuple[TextModel, FlowDecoder]) -> TorchAcousticModel:
    return TorchAcousticModel(CheckpointFiles.open(tiny).config, *acoustic, max_batch=8)


def test_exported_text_graph_has_the_published_semantics(golden: Callable[[str], Arrays], tiny_onnx: Path) -> None:
    g = golden("onnx_semantics")
    session = ort.InferenceSession(str(tiny_onnx / "text_encoder.onnx"), providers=["CPUExecutionProvider"])
    for tokens, speed, name in (
        ("tokens", 1.0, "text_condition_speed1.0"),
        ("tokens", 1.3, "text_condition_speed1.3"),
        ("short_tokens", 1.3, "short_text_condition_speed1.3"),
    ):
        feed = {
            "tokens": g[tokens],
            "prompt_tokens": g["prompt_tokens"],
            "prompt_features_len": g["prompt_features_len"],
            "speed": np.array(speed, dtype=np.float32),
        }
        assert relative_error(session.run(None, feed)[0], g[name]) < 2e-5


def test_reference_model_reproduces_the_velocity(golden: Callable[[str], Arrays], tiny: Path) -> None:
    g = golden("model_single")
    model = ReferenceModel(CheckpointFiles.open(tiny).config, read_state_dict(tiny / "model.pt"))
    t, x, text, speech, guidance = (
        torch.from_numpy(g[name]) for name in ("fm_t", "noise", "text_condition", "speech_condition", "guidance_scale")
    )
    assert relative_error(model.velocity(t, x, text, speech, guidance), g["fm_v"]) < 2e-5


@pytest.mark.parametrize("speed", [0.5, 1.0, 1.3, 3.7])
@pytest.mark.parametrize("length", [1, 2, 13, 90])
def test_onnx_path_equals_the_torch_path_at_every_speed_and_length(
    voice: Voice, tiny: Path, tiny_onnx: Path, acoustic: tuple[TextModel, FlowDecoder], length: int, speed: float
) -> None:
    tokens = tuple(np.random.default_rng(length).integers(4, 360, length).tolist())
    jobs = [job(voice, tokens, speed)]
    onnx = OnnxAcousticModel(CheckpointFiles.open(tiny_onnx), int8=False).generate(jobs, SCHEDULE)[0]
    expected = torch_model(tiny, acoustic).generate(jobs, SCHEDULE)[0]
    assert relative_error(onnx, expected) < 2e-5


def test_int8_path_stays_close_and_ignores_batch_mates(voice: Voice, tiny_onnx: Path) -> None:
    files = CheckpointFiles.open(tiny_onnx)
    jobs = [job(voice, tuple(range(20, 20 + n)), 1.0, seed=n) for n in (5, 30)]
    int8 = OnnxAcousticModel(files, int8=True)
    together = int8.generate(jobs, SCHEDULE)
    exact = OnnxAcousticModel(files, int8=False).generate(jobs, SCHEDULE)
    for item, features, reference in zip(jobs, together, exact, strict=True):
        assert 1e-6 < relative_error(features, reference) < 0.1
        assert torch.equal(int8.generate([item], SCHEDULE)[0], features)


def test_missing_foreign_and_damaged_graphs_are_named(tiny: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"text_encoder\.onnx not found"):
        OnnxAcousticModel(CheckpointFiles.open(tiny), int8=False)
    shutil.copytree(tiny_onnx, tmp_path / "model")
    graph = tmp_path / "model" / "text_encoder.onnx"
    shutil.copy(tiny_onnx / "fm_decoder.onnx", graph)
    with pytest.raises(CheckpointError, match=r"text_encoder\.onnx: has inputs .* expected"):
        OnnxAcousticModel(CheckpointFiles.open(tmp_path / "model"), int8=False)
    graph.write_bytes(b"not a graph")
    with pytest.raises(CheckpointError, match=r"text_encoder\.onnx: cannot be loaded"):
        OnnxAcousticModel(CheckpointFiles.open(tmp_path / "model"), int8=False)
