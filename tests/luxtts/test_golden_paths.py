"""Every path reproduces the golden samples of the original code, each item alone and in the company of longer ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from kernelport_workers.kernels import environment
from kernelport_workers.luxtts.acoustic import AcousticModel, Job, Schedule, TorchAcousticModel
from kernelport_workers.luxtts.checkpoint import CheckpointFiles, load_acoustic_model
from kernelport_workers.luxtts.cpu_layers import CPU_PATHS, adapt, has_int8
from kernelport_workers.luxtts.kernels import Fused, Kernels
from kernelport_workers.luxtts.onnx_path import OnnxAcousticModel
from kernelport_workers.luxtts.prompt import Voice
from tests.luxtts.conftest import Arrays, relative_error

Golden = Callable[[str], Arrays]
TOLERANCES = {
    "torch": 2e-5,
    "helion": 2e-5,
    "bfloat16": 0.05,
    "torch-bf16": 0.01,
    "torch-int8": 0.04,
    "onnx": 2e-5,
    "onnx-int8": 0.1,
}


@dataclass(frozen=True, slots=True)
class GoldenJob(Job):
    """A pass that starts from the noise of the golden arrays."""

    golden: Tensor = field(default_factory=lambda: torch.empty(0))

    def noise(self, feat_dim: int) -> Tensor:
        return self.golden


def jobs_of(g: Arrays) -> list[Job]:
    """The items of some golden arrays."""
    found: list[Job] = []
    for row, frames in enumerate(g["features_lens"]):
        prompt_frames = int(g["prompt_features_lens"][row])
        prompt, tokens = (tuple(int(t) for t in g[key][row] if t >= 0) for key in ("prompt_tokens", "tokens"))
        voice = Voice(prompt, np.ascontiguousarray(g["speech_condition"][row, :prompt_frames]), 0.1, 0.1, "")
        noise = torch.from_numpy(g["noise"][row, :frames].copy())
        found.append(GoldenJob(voice, tokens, int(frames), 0, noise))
    return found


def schedule_of(g: Arrays) -> Schedule:
    return Schedule(int(g["num_step"]), float(g["t_shift"]), float(g["guidance_scale"]))


@pytest.fixture(scope="module", params=TOLERANCES)
def path(request: pytest.FixtureRequest, tiny: Path, tiny_onnx: Path) -> tuple[str, AcousticModel]:
    name = str(request.param)
    if name.startswith("onnx"):
        return name, OnnxAcousticModel(CheckpointFiles.open(tiny_onnx), int8=name == "onnx-int8")
    files, dtype = CheckpointFiles.open(tiny), torch.bfloat16 if name == "bfloat16" else torch.float32
    if name == "torch-int8" and not has_int8():
        pytest.skip("torch has no int8 here")
    text, decoder = load_acoustic_model(files, torch.device("cpu"), dtype)
    if name in ("torch-bf16", "torch-int8"):
        adapt(decoder, CPU_PATHS[name])
    model = TorchAcousticModel(files.config, text, decoder, max_batch=8)
    if name == "helion":
        environment.prepare(gpu=False)
        from kernelport_workers.luxtts.kernels import helion_kernels

        fused = Fused(**{each: getattr(helion_kernels, each) for each in Fused.__dataclass_fields__})
        model.kernels = Kernels({(1, 100): fused})
    return name, model


def test_one_utterance(path: tuple[str, AcousticModel], golden: Golden) -> None:
    name, model = path
    g = golden("model_single")
    (features,) = model.generate(jobs_of(g), schedule_of(g))
    assert relative_error(features.float(), g["sample"][0]) < TOLERANCES[name]


@pytest.mark.parametrize("together", [False, True], ids=["alone", "together"])
def test_utterances_of_mixed_lengths(path: tuple[str, AcousticModel], golden: Golden, together: bool) -> None:
    name, model = path
    g, alone = golden("model_batch"), golden("model_batch_run_alone")
    jobs, schedule = jobs_of(g), schedule_of(g)
    assert len({job.frames for job in jobs}) == len(jobs)
    if together:
        generated = model.generate(jobs, schedule)
    else:
        generated = [features for job in jobs for features in model.generate([job], schedule)]
    for row, (job, features) in enumerate(zip(jobs, generated, strict=True)):
        expected = alone[f"sample_full_item{row}"][0, job.prompt_frames :]
        assert relative_error(features.float(), expected) < TOLERANCES[name]


# Elsewhere padded batches are equal to rounding.
@pytest.mark.parametrize("path", ["onnx", "onnx-int8"], indirect=True)
def test_on_a_graph_batch_mates_change_no_bit(path: tuple[str, AcousticModel], golden: Golden) -> None:
    _, model = path
    g = golden("model_batch")
    jobs, schedule = jobs_of(g), schedule_of(g)
    together = model.generate(jobs, schedule)
    assert all(torch.equal(model.generate([job], schedule)[0], each) for job, each in zip(jobs, together, strict=True))
