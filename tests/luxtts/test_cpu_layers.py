"""Linear layers of fewer bits on a CPU: close to float32 in numbers, and alike to the ear."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from kernelport_workers.luxtts import Audio, Pipeline, Utterance, Voice, cpu_layers, features
from kernelport_workers.luxtts.acoustic import Schedule, TorchAcousticModel
from kernelport_workers.luxtts.bench.random_checkpoint import MODEL
from kernelport_workers.luxtts.bench.workload import mixed_jobs, mixed_lengths
from kernelport_workers.luxtts.checkpoint import CheckpointFiles, load_acoustic_model
from kernelport_workers.luxtts.config import SAMPLE_RATE, ModelConfig
from kernelport_workers.luxtts.cpu_layers import Int8Linear, adapt
from kernelport_workers.luxtts.decoder import FlowDecoder
from kernelport_workers.luxtts.solver import solve, timesteps
from kernelport_workers.luxtts.text_encoder import TextModel
from tests.luxtts.conftest import Arrays, audio_file, relative_error, spell, tone
from tests.luxtts.test_golden_acoustic import frames_of, tensor

SCHEDULE = Schedule(4, 0.9, 3.0)
TEXT = "A few words are enough to compare what two paths make of them."
INT8 = pytest.param("int8", 4e-2, marks=pytest.mark.skipif(not cpu_layers.has_int8(), reason="torch has no int8 here"))


def adapted(tiny: Path, precision: cpu_layers.CpuPrecision) -> FlowDecoder:
    _, decoder = load_acoustic_model(CheckpointFiles.open(tiny), torch.device("cpu"))
    adapt(decoder, precision)
    return decoder


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 2e-5), ("bfloat16", 1e-2), INT8])
@pytest.mark.parametrize("item", [0, 1, None])
@torch.inference_mode()
def test_the_golden_arrays_come_out(
    golden: Callable[[str], Arrays],
    tiny: Path,
    precision: cpu_layers.CpuPrecision,
    tolerance: float,
    item: int | None,
) -> None:
    decoder = adapted(tiny, precision)
    name = "model_single" if item is None else "model_batch"
    g, alone = golden(name), golden("model_batch_run_alone")
    text, speech, noise = (tensor(g[each]) for each in ("text_condition", "speech_condition", "noise"))
    condition = decoder.project_condition(text, speech)
    times = timesteps(int(g["num_step"]), float(g["t_shift"]))
    vectors = decoder.time_vectors(times[:-1], float(g["guidance_scale"]))
    frames = frames_of(text.shape[1], None if item is None else tensor(g["padding_mask"]))
    state = solve(lambda x, step: decoder(x, condition, vectors[step], frames), noise, times)
    if item is None:
        assert relative_error(state, g["sample_full"]) < tolerance
    else:
        length = int(g["features_lens"][item])
        assert relative_error(state[item : item + 1, :length], alone[f"sample_full_item{item}"]) < tolerance


def test_every_row_of_weights_has_its_own_scale() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(64, 48, generator=generator) * torch.logspace(-3, 1, 64)[:, None]
    x, bias = torch.randn(200, 48, generator=generator), torch.randn(64, generator=generator)
    if not cpu_layers.has_int8():
        pytest.skip("torch has no int8 here")
    found, expected = Int8Linear(weight, bias)(x) - bias, x @ weight.T
    assert ((found - expected).norm(dim=0) / expected.norm(dim=0)).max() < 0.02


@pytest.mark.skipif(not cpu_layers.has_int8(), reason="torch has no int8 here")
@pytest.mark.parametrize("instructions", ["DEFAULT", "AVX2"])
def test_large_numbers_come_out_right_on_every_cpu(instructions: str) -> None:
    """Two products of bytes do not fit into the 16 bits in which older instructions add them."""
    program = """
import torch
from kernelport_workers.luxtts.cpu_layers import Int8Linear
generator = torch.Generator().manual_seed(0)
weight, x = (0.9 + 0.1 * torch.rand(size, 512, generator=generator) for size in (64, 200))
expected = x @ weight.T
print(float(((Int8Linear(weight, torch.zeros(64))(x) - expected) / expected).abs().max()))
"""
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": instructions}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert float(ended.stdout) < 5e-3


@pytest.mark.skipif(not cpu_layers.has_int8(), reason="torch has no int8 here")
def test_numbers_that_are_no_numbers_stay_so_and_the_smallest_are_nothing() -> None:
    layer = Int8Linear(torch.ones(3, 4), torch.arange(3.0))
    for bad in (torch.nan, torch.inf, -torch.inf):
        assert layer(torch.tensor([[1.0, 2.0, bad, 4.0]])).isnan().all()
    for little in (0.0, 1e-44):
        assert layer(torch.full((2, 4), little)).tolist() == [[0.0, 1.0, 2.0]] * 2


@pytest.mark.skipif(not cpu_layers.has_int8(), reason="torch has no int8 here")
@torch.inference_mode()
def test_threads_leave_int8_alone() -> None:
    """At the published sizes, which are what matters here, with a layer in each stack."""
    layers = {"fm_decoder_num_layers": [1] * 5, "text_encoder_num_layers": 1}
    config = ModelConfig.from_mapping({"model": MODEL | layers, "feature": {"sampling_rate": SAMPLE_RATE}}, 360)
    text, decoder = TextModel(config), FlowDecoder(config.fm_decoder)
    generator = torch.Generator().manual_seed(0)
    for parameter in (*text.parameters(), *decoder.parameters()):
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5 / max(parameter.shape or [1]) ** 0.5)
    adapt(decoder, "int8")
    model = TorchAcousticModel(config, text, decoder, 1, cpu_layers.streams_for("int8") + 1)
    jobs = mixed_jobs(mixed_lengths(4, 10, "even"), 2, 100)
    found: list[list[Tensor]] = []
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append([model.generate([job], Schedule(1, 0.9, 3.0))[0] for job in jobs])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for others in found[1:] for one, other in zip(found[0], others, strict=True))


def test_a_cpu_without_int8_products_says_so(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_layers, "has_int8", lambda: False)
    with pytest.raises(RuntimeError, match="no int8 products on this CPU"):
        adapted(tiny, "int8")


def contours(sound: NDArray[np.float32]) -> tuple[Tensor, NDArray[np.float64], NDArray[np.float64]]:
    """Log-mel energies (frames, 100) in dB, and for every 20 ms the energy in dB and the pitch in semitones."""
    mel = features.log_mel(torch.from_numpy(soxr.resample(sound, 48_000, 24_000))) * (20 / np.log(10))
    frames = sound[: len(sound) // 960 * 960].reshape(-1, 960).astype(np.float64)
    energy = 10 * np.log10((frames**2).mean(axis=1) + 1e-10)
    windows = np.lib.stride_tricks.sliding_window_view(sound.astype(np.float64), 1_920)[::960]
    spectra = np.abs(np.fft.rfft(windows, 4_096)) ** 2
    shape = np.fft.irfft(spectra)[:, 120:800]  # lags of 400 down to 60 Hz
    return mel, energy, 12 * np.log2(48_000 / (120 + shape.argmax(axis=1)))


@pytest.mark.parametrize(("compute", "most_db"), [("torch-bf16", 0.02), ("torch-int8", 0.05), ("onnx-int8", 0.2)])
def test_fewer_bits_are_not_heard(tiny: Path, tiny_onnx: Path, compute: str, most_db: float) -> None:
    """The last is the published way, one scale for a whole matrix."""
    if compute == "torch-int8" and not cpu_layers.has_int8():
        pytest.skip("torch has no int8 here")

    def speak(root: Path, path: str) -> tuple[Tensor, NDArray[np.float64], NDArray[np.float64]]:
        pipeline = Pipeline.load(root, compute=path, phonemize=spell)  # type: ignore[arg-type]
        voice: Voice = pipeline.encode_prompt(audio_file(tone(2.0)), "Hello there, this is me.")
        result = pipeline.synthesize([Utterance(TEXT, voice, seed=1)])[0]
        assert isinstance(result, Audio)
        return contours(result.samples)

    (mel, energy, pitch), (exact_mel, exact_energy, exact_pitch) = speak(tiny_onnx, compute), speak(tiny, "torch")
    count = min(len(energy), len(exact_energy), len(pitch), len(exact_pitch))
    frames = min(len(mel), len(exact_mel))
    mel_db = float((mel[:frames] - exact_mel[:frames]).abs().mean())
    energy_db = float(np.abs(energy[:count] - exact_energy[:count]).mean())
    same_pitch = float((np.abs(pitch[:count] - exact_pitch[:count]) < 0.5).mean())
    assert mel_db < most_db
    assert energy_db < most_db
    assert same_pitch > 0.95
