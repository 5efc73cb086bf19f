"""Time every path at the real dimensions: ``python -m kernelport_workers.luxtts.bench``.

Without a model directory a random checkpoint of the published shape is made, exported and quantised, so that speed can
be measured where no weights can be had. Every path is compared with the engine's own plain eager float32 model in the
same run.
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch
import yaml
from torch import Tensor

from kernelport_workers.luxtts import onnx_export, prompt
from kernelport_workers.luxtts.acoustic import AcousticModel, Check, Job, Schedule, TorchAcousticModel
from kernelport_workers.luxtts.checkpoint import CheckpointFiles, load_acoustic_model, load_vocoder, read_state_dict
from kernelport_workers.luxtts.config import (
    FEATURE_SCALE,
    HOP_LENGTH,
    SAMPLE_RATE,
    ModelConfig,
    VocoderConfig,
    ZipformerConfig,
)
from kernelport_workers.luxtts.decoder import FlowDecoder
from kernelport_workers.luxtts.onnx_path import OnnxAcousticModel
from kernelport_workers.luxtts.prompt import Voice
from kernelport_workers.luxtts.reference import ReferenceModel
from kernelport_workers.luxtts.solver import solve, timesteps
from kernelport_workers.luxtts.text_encoder import TextModel, align
from kernelport_workers.luxtts.vocoder import Vocoder

PATHS = ("plain", "torch", "onnx", "onnx-int8")

_TOKENS_PER_SECOND = 14
_MODEL = {
    "fm_decoder_downsampling_factor": [1, 2, 4, 2, 1],
    "fm_decoder_num_layers": [2, 2, 4, 4, 4],
    "fm_decoder_cnn_module_kernel": [31, 15, 7, 15, 31],
    "fm_decoder_feedforward_dim": 1536,
    "fm_decoder_num_heads": 4,
    "fm_decoder_dim": 512,
    "text_encoder_num_layers": 4,
    "text_encoder_feedforward_dim": 512,
    "text_encoder_cnn_module_kernel": 9,
    "text_encoder_num_heads": 4,
    "text_encoder_dim": 192,
    "query_head_dim": 32,
    "value_head_dim": 12,
    "pos_head_dim": 4,
    "pos_dim": 48,
    "time_embed_dim": 192,
    "text_embed_dim": 192,
    "feat_dim": 100,
}
_VOCODER = {
    "backbone": {"input_channels": 100, "dim": 512, "intermediate_dim": 1536, "num_layers": 8},
    "head": {"dim": 512, "n_fft": 1024, "hop_length": 256},
    "upsampler": {"in_channels": 512, "upsample_factors": [2, 1], "kernel_sizes": [8, 8]},
    "head_48k": {"dim": 512, "n_fft": 1024, "hop_length": 256},
}


@dataclass(frozen=True, slots=True)
class Workload:
    """What is timed: ``batch`` utterances of ``seconds`` each, from a reference of ``reference`` seconds."""

    seconds: float = 15.0
    reference: float = 5.0
    steps: int = 4
    batch: int = 1


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement, best of several runs; times in seconds for the whole batch."""

    path: str
    batch: int
    text: float
    step: float
    vocoder: float
    total: float
    audio_seconds: float
    gflops: float

    @property
    def real_time_factor(self) -> float:
        """Seconds of work per second of audio."""
        return self.total / self.audio_seconds


class PlainAcousticModel:
    """The plain eager model behind the interface of the paths: the baseline."""

    max_batch = 1

    def __init__(self, files: CheckpointFiles) -> None:
        weights = next(p for p in (files.root / "model.safetensors", files.root / "model.pt") if p.is_file())
        self._model = ReferenceModel(files.config, read_state_dict(weights))

    @torch.inference_mode()
    def generate(self, jobs: Sequence[Job], schedule: Schedule, check: Check | None = None) -> list[Tensor]:
        """See :meth:`AcousticModel.generate`."""
        return [self._generate(job, schedule, check) for job in jobs]

    def _generate(self, job: Job, schedule: Schedule, check: Check | None) -> Tensor:
        ids = torch.tensor([[*job.voice.tokens, *job.tokens]])
        text = align(self._model.encode_text(ids)[0], ids.shape[1], job.frames)[None]
        speech = torch.zeros_like(text)
        speech[0, : job.prompt_frames] = torch.from_numpy(job.voice.features)
        times = timesteps(schedule.num_steps, schedule.t_shift)
        guidance = torch.tensor(schedule.guidance_scale)

        def velocity(x: Tensor, step: int) -> Tensor:
            return self._model.velocity(torch.tensor(times[step]), x, text, speech, guidance)

        return solve(velocity, job.noise(text.shape[2])[None], times, check)[0, job.prompt_frames :]


def random_checkpoint(root: Path, graphs: bool = True) -> Path:
    """Write a random checkpoint at the published dimensions, laid out as published; about 1.2 GB with the graphs."""
    config = ModelConfig.from_mapping({"model": _MODEL, "feature": {"sampling_rate": SAMPLE_RATE}}, vocab_size=360)
    with torch.device("meta"):
        text, decoder = TextModel(config), FlowDecoder(config.fm_decoder)
        vocoder = Vocoder(VocoderConfig.from_mapping({k: {"init_args": v} for k, v in _VOCODER.items()}))
    state = text.state_dict() | {f"fm_decoder.{name}": tensor for name, tensor in decoder.state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    (root / "vocoder").mkdir(parents=True, exist_ok=True)
    (root / "config.json").write_text(json.dumps({"model": _MODEL, "feature": {"sampling_rate": SAMPLE_RATE}}))
    (root / "tokens.txt").write_text("".join(f"token{index}\t{index}\n" for index in range(360)), encoding="utf-8")
    blocks = {name: {"class_path": name, "init_args": arguments} for name, arguments in _VOCODER.items()}
    (root / "vocoder" / "config.yaml").write_text(yaml.safe_dump(blocks))
    torch.save({"model": {name: _random(name, t, generator) for name, t in state.items()}}, root / "model.pt")
    weights = {name: _random(name, t, generator) for name, t in vocoder.state_dict().items()}
    torch.save(weights, root / "vocoder" / "vocos.bin")
    if graphs:
        onnx_export.export(root)
    return root


def _random(name: str, like: Tensor, generator: torch.Generator) -> Tensor:
    fan_in = like[0].numel() if like.dim() > 1 else 1
    values = torch.randn(like.shape, generator=generator) * (0.5 / fan_in**0.5 if like.dim() > 1 else 0.05)
    return values.abs() + 0.5 if name.endswith(("bypass_scale", "alpha")) else values


def decoder_flops(config: ZipformerConfig, frames: int) -> float:
    """Multiply-adds, times two, of one decoder step on one item of ``frames`` frames (matrix products only)."""
    dim, hidden, heads = config.dim, config.feedforward_dim, config.num_heads
    nonlin = 3 * dim // 4
    scores = heads * (2 * config.query_head_dim + config.pos_head_dim)
    values = heads * config.value_head_dim
    per_frame = 2 * dim * (hidden * 3 // 4 + hidden + hidden * 5 // 4) + dim * scores + 4 * dim * values
    per_frame += 4 * dim * nonlin + 2 * 3 * dim * dim
    per_pair = heads * (config.query_head_dim + 2 * config.pos_head_dim) + 2 * values + nonlin
    total = 0.0
    for factor, layers, kernel in zip(config.downsampling, config.num_layers, config.conv_kernels, strict=True):
        length = -(-frames // factor)
        total += layers * (length * (per_frame + 2 * dim * kernel) + length * length * per_pair)
    return 2.0 * (total + frames * dim * (config.in_dim + config.out_dim))


def jobs_of(workload: Workload, feat_dim: int) -> list[Job]:
    """Random jobs of the workload's exact length, with about as many tokens as speech of that length has."""
    generator = np.random.default_rng(0)
    prompt_frames, frames = (int(s * SAMPLE_RATE) // HOP_LENGTH for s in (workload.reference, workload.seconds))

    def tokens(seconds: float) -> tuple[int, ...]:
        return tuple(generator.integers(4, 158, max(1, int(seconds * _TOKENS_PER_SECOND))).tolist())

    features = generator.standard_normal((prompt_frames, feat_dim)).astype(np.float32) * 0.3 - 0.3
    voice = Voice(tokens(workload.reference), features, 0.1, 0.01, "")
    return [Job(voice, tokens(workload.seconds), prompt_frames + frames, seed) for seed in range(workload.batch)]


def measure(
    path: str, model: AcousticModel, vocoder: Vocoder, config: ModelConfig, workload: Workload, repeat: int
) -> Row:
    """Time one path on one workload; the first run warms up and does not count."""
    jobs = jobs_of(workload, config.feat_dim)
    runs = [_timed_run(model, vocoder, jobs, workload.steps) for _ in range(repeat + 1)][1:]
    text, steps, decode = min(runs, key=sum)
    step = steps / workload.steps
    flops = workload.batch * decoder_flops(config.fm_decoder, jobs[0].frames)
    audio = workload.batch * (jobs[0].frames - jobs[0].prompt_frames - 1) * HOP_LENGTH / SAMPLE_RATE
    return Row(path, workload.batch, text, step, decode, text + steps + decode, audio, flops / step / 1e9)


def _timed_run(
    model: AcousticModel, vocoder: Vocoder, jobs: Sequence[Job], num_steps: int
) -> tuple[float, float, float]:
    """Seconds before the first step, in all steps, and in the vocoder; the check between steps marks the time."""
    text = steps = decode = 0.0
    for start in range(0, len(jobs), model.max_batch):
        marks: list[float] = []
        began = time.perf_counter()
        batch = jobs[start : start + model.max_batch]
        features = model.generate(batch, Schedule(num_steps, 0.9, 3.0), partial(_mark, marks))
        ended = time.perf_counter()
        with torch.inference_mode():
            for item in features:
                vocoder(item.T[None] / FEATURE_SCALE)
        decode += time.perf_counter() - ended
        text += marks[0] - began
        steps += ended - marks[0]
    return text, steps, decode


def _mark(marks: list[float]) -> None:
    marks.append(time.perf_counter())


def prompt_seconds(reference: float) -> tuple[float, float]:
    """Seconds to encode a stereo 44.1 kHz recording (without text), and to reuse the encoded voice from a cache."""
    t = np.arange(int(reference * 44_100)) / 44_100
    wave = np.repeat((0.3 * np.sin(2 * np.pi * 140 * t))[:, None], 2, axis=1)
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, 44_100, format="WAV")
    audio = buffer.getvalue()
    voice = Voice((1,) * 70, prompt.prepare(prompt.decode(audio), reference, 0.01)[1], 0.1, 0.01, "")
    stored = voice.to_bytes()

    def encode() -> None:
        prompt.prepare(prompt.decode(audio), reference, 0.01)

    def reuse() -> None:
        prompt.voice_key(audio, None, 0.01, reference)
        Voice.from_bytes(stored)

    return _best(encode), _best(reuse)


def _best(work: Callable[[], None], runs: int = 5) -> float:
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def run(root: Path, workloads: Sequence[Workload], paths: Sequence[str] = PATHS, repeat: int = 2) -> Iterator[Row]:
    """Measure every path on every workload, loading one path at a time.

    On the CPU the ``torch`` path is timed with padded batches here, although the pipeline runs items one by one.

    Raises:
        ValueError: A path is unknown.
        CheckpointError: The model directory lacks a file that a path needs.
    """
    files = CheckpointFiles.open(root)
    device = torch.device("cpu")
    vocoder = load_vocoder(files.root / "vocoder", device)
    largest = max(workload.batch for workload in workloads)
    for path in paths:
        model: AcousticModel
        if path == "plain":
            model = PlainAcousticModel(files)
        elif path == "torch":
            model = TorchAcousticModel(files.config, *load_acoustic_model(files, device), max_batch=largest)
        elif path in ("onnx", "onnx-int8"):
            model = OnnxAcousticModel(files, int8=path == "onnx-int8")
        else:
            raise ValueError(f"path: {path!r}, expected one of {', '.join(PATHS)}")
        for workload in workloads:
            yield measure(path, model, vocoder, files.config, workload, repeat)


def report(rows: Sequence[Row], workload: Workload) -> str:
    """Format measurements as a table; the last column compares with the plain path at batch 1."""
    baseline = next((row.real_time_factor for row in rows if row.path == "plain" and row.batch == 1), None)
    lines = [
        f"{workload.seconds:g} s of speech, {workload.reference:g} s reference, {workload.steps} steps, random "
        f"weights, {platform.machine()}, {torch.get_num_threads()} threads",
        f"{'path':<10} {'batch':>5} {'text s':>8} {'step s':>8} {'vocoder s':>9} {'total s':>8} {'RTF':>6} "
        f"{'audio s/s':>9} {'GFLOP/s':>8} {'vs plain':>8}",
    ]
    for row in rows:
        gain = f"{baseline / row.real_time_factor:.2f}x" if baseline else "-"
        lines.append(
            f"{row.path:<10} {row.batch:>5} {row.text:>8.3f} {row.step:>8.3f} {row.vocoder:>9.3f} {row.total:>8.3f} "
            f"{row.real_time_factor:>6.3f} {1 / row.real_time_factor:>9.2f} {row.gflops:>8.0f} {gain:>8}"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line entry."""
    parser = argparse.ArgumentParser(prog="bench luxtts", description="Time every path at the real dimensions.")
    parser.add_argument("--model", type=Path, help="model directory; a random one is made when absent")
    parser.add_argument("--paths", nargs="+", choices=PATHS, default=list(PATHS))
    parser.add_argument("--batch", nargs="+", type=int, default=[1])
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--reference", type=float, default=5.0)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--repeat", type=int, default=2)
    options = parser.parse_args(arguments)
    workloads = [Workload(options.seconds, options.reference, options.steps, batch) for batch in options.batch]
    with tempfile.TemporaryDirectory() as temporary:
        graphs = any(path.startswith("onnx") for path in options.paths)
        root = options.model or random_checkpoint(Path(temporary), graphs)
        rows = list(run(root, workloads, options.paths, options.repeat))
    encode, reuse = prompt_seconds(options.reference)
    print(report(rows, workloads[0]))
    print(f"reference: encoding {1e3 * encode:.1f} ms, cached {1e3 * reuse:.2f} ms")
    print(f"peak memory of this run: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
