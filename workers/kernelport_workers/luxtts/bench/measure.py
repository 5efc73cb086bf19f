"""Timing the paths, one loaded at a time."""

from __future__ import annotations

import gc
import hashlib
import io
import re
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from kernelport_workers.luxtts import ops, prompt
from kernelport_workers.luxtts.acoustic import AcousticModel, Job, Schedule, TorchAcousticModel
from kernelport_workers.luxtts.batching import step_flops
from kernelport_workers.luxtts.bench.workload import (
    VOCODER_FLOPS,
    Workload,
    audio_seconds,
    jobs_of,
    mixed_jobs,
    mixed_lengths,
)
from kernelport_workers.luxtts.checkpoint import CheckpointFiles, load_acoustic_model, load_vocoder
from kernelport_workers.luxtts.config import FEATURE_SCALE
from kernelport_workers.luxtts.cpu_layers import CPU_PATHS, adapt, streams_for
from kernelport_workers.luxtts.onnx_path import OnnxAcousticModel
from kernelport_workers.luxtts.plain_path import PlainAcousticModel
from kernelport_workers.luxtts.prompt import Voice
from kernelport_workers.luxtts.streams import stream_count
from kernelport_workers.luxtts.synthesis import VOCODED_TOGETHER, Pass, Synthesizer
from kernelport_workers.luxtts.tuning import tune
from kernelport_workers.luxtts.utterance import Utterance
from kernelport_workers.luxtts.vocoder import Vocoder

PATHS = ("plain", "torch", "torch-tuned", "torch-bf16", "torch-int8", "onnx", "onnx-int8")
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_BUDGET = 4 << 30
_SINGLES = 6
_CPU_CALL = 50


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement, best of several runs; times in seconds for the whole batch, memory in bytes.

    Attributes:
        text: Seconds before the first step.
        step: Seconds of one solver step.
        flops: Arithmetic of the whole batch.
    """

    path: str
    batch: int
    text: float
    step: float
    vocoder: float
    total: float
    audio_seconds: float
    flops: float
    memory: int

    @property
    def real_time_factor(self) -> float:
        """Seconds of work per second of audio."""
        return self.total / self.audio_seconds


@dataclass(frozen=True, slots=True)
class Round:
    """One call of items of mixed length, between two runs of the best of them alone; times in seconds.

    Attributes:
        items: Items of the call.
        seconds: Time of the call.
        audio_seconds: Speech of its items.
        best: Real-time factor of the best single item, alone on all cores: mean of just before and just after.
    """

    items: int
    seconds: float
    audio_seconds: float
    best: float

    @property
    def real_time_factor(self) -> float:
        """Seconds of work per second of audio in the call."""
        return self.seconds / self.audio_seconds

    @property
    def ratio(self) -> float:
        """What a second of audio costs in the call, over what it costs in the best single item."""
        return self.real_time_factor / self.best


@dataclass(frozen=True, slots=True)
class Mixed:
    """Items of mixed length, and the best of them alone.

    Attributes:
        rounds: Each is a call; together they have every item once.
        best_seconds: Speech of the best single item.
        arithmetic: Operations per second of speech, of all items over the item that needs fewest.
        memory: Peak, in bytes.
    """

    path: str
    mix: str
    rounds: tuple[Round, ...]
    best_seconds: float
    arithmetic: float
    memory: int

    @property
    def ratio(self) -> float:
        """Median over the rounds: a round's neighbours in time tell how fast the machine was just then."""
        return statistics.median(each.ratio for each in self.rounds)


class Bench:
    """Measures one model directory on one device.

    Args:
        root: Model directory.
        device: Where PyTorch runs.
        dtype: Element type of the paths ``torch`` and ``torch-tuned``; ``plain`` is always float32.
    """

    def __init__(self, root: Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        self._files = CheckpointFiles.open(root)
        self._device = torch.device(device)
        self._dtype = dtype
        self.config = self._files.config

    def rows(self, workloads: Sequence[Workload], paths: Sequence[str] = PATHS, repeat: int = 2) -> Iterator[Row]:
        """Measure every path on every workload.

        Raises:
            ValueError: A path is unknown.
            CheckpointError: The model directory lacks a file that a path needs.
        """
        largest = max(workload.batch for workload in workloads)
        for path in paths:
            gc.collect()
            reset_peak_memory(self._device)
            vocoder = self._vocoder()
            model = self.model(path, largest)
            for workload in workloads:
                yield self._measure(path, model, vocoder, workload, repeat)
            del model, vocoder

    def mixed(
        self, items: int, workload: Workload, path: str, mix: str, done: Callable[[Round], None] = lambda _: None
    ) -> Mixed:
        """Time items of mixed length, and the best of them alone before and after every call.

        A GPU gets them in one call. On a CPU a call has fifty or fewer: the speed of machines drifts.

        Args:
            done: Called after every round.
        """
        gc.collect()
        reset_peak_memory(self._device)
        batch, call = (1, _CPU_CALL) if self._device.type == "cpu" else (64, items)
        synthesizer = self.synthesizer(path, batch)
        lengths = mixed_lengths(items, workload.seconds, mix)
        passes = []
        for owner, job in enumerate(mixed_jobs(lengths, workload.reference, self.config.feat_dim)):
            utterance = Utterance("", job.voice, num_steps=workload.steps)
            passes.append(Pass(owner, 0, utterance, job, 0.0))
        list(synthesizer.run(passes[: max(2, stream_count())]))  # loads what streams need

        def seconds(*chosen: Pass) -> float:
            return self._seconds(lambda: list(synthesizer.run(chosen)))

        def real_time_factor(item: Pass) -> float:
            return seconds(item) / audio_seconds(item.job)

        by_length = sorted(passes, key=lambda item: item.job.frames)
        count = min(items, _SINGLES)
        singles = [by_length[(index + 1) * items // count - 1] for index in range(count)]
        best = min(singles, key=lambda item: min(real_time_factor(item) for _ in range(2)))
        rounds = []
        before = real_time_factor(best)
        for start in range(0, items, call):
            chosen = passes[start : start + call]
            together = seconds(*chosen)
            after = real_time_factor(best)
            audio = sum(audio_seconds(item.job) for item in chosen)
            rounds.append(Round(len(chosen), together, audio, (before + after) / 2))
            done(rounds[-1])
            before = after
        return Mixed(
            path, mix, tuple(rounds), audio_seconds(best.job), self._arithmetic(passes), peak_memory(self._device)
        )

    def _arithmetic(self, passes: Sequence[Pass]) -> float:
        flops = [step_flops(self.config.fm_decoder, item.job.frames) for item in passes]
        audio = [audio_seconds(item.job) for item in passes]
        return sum(flops) / sum(audio) / min(work / length for work, length in zip(flops, audio, strict=True))

    def matrix_flops(self, repeat: int, size: int | None = None) -> float:
        """Float operations per second of a large matrix product in the paths' element type: the machine's limit.

        Args:
            size: Rows and columns of the matrices; by default what keeps the device busy.
        """
        size = size or (2048 if self._device.type == "cpu" else 8192)
        left, right = (torch.randn(size, size).to(self._device, self._dtype) for _ in range(2))

        def multiply() -> None:
            ops.linear(left, right)

        with torch.inference_mode():
            return 2.0 * size**3 / min(self._seconds(multiply) for _ in range(4 * repeat))

    def synthesizer(self, path: str, max_batch: int, memory_budget: int = _BUDGET) -> Synthesizer:
        """Load a path with the vocoder, as requests are served with it.

        Raises:
            As :meth:`model`.
        """
        return Synthesizer(self.config, self.model(path, max_batch), self._vocoder(), memory_budget)

    def model(self, path: str, max_batch: int = 1) -> AcousticModel:
        """Load the acoustic model of one path.

        Raises:
            ValueError: The path is unknown, or needs a GPU.
            CheckpointError: The model directory lacks a file that the path needs.
        """
        if path == "plain":
            return PlainAcousticModel(self._files, self._device)
        if path in ("torch-tuned", *CPU_PATHS):
            cpu = self._device.type == "cpu"
            if path != "torch" and cpu == (path == "torch-tuned"):
                raise ValueError(f"path: {path} needs a {'GPU' if cpu else 'CPU'}")
            text, decoder = load_acoustic_model(self._files, self._device, self._dtype)
            streams = 1
            if cpu and self._dtype == torch.float32:
                adapt(decoder, CPU_PATHS[path])
                streams = streams_for(CPU_PATHS[path])
            model = TorchAcousticModel(self.config, text, decoder, max_batch, streams)
            if path == "torch-tuned":
                tune(model)
            return model
        if path in ("onnx", "onnx-int8"):
            return OnnxAcousticModel(self._files, int8=path == "onnx-int8")
        raise ValueError(f"path: {path!r}, expected one of {', '.join(PATHS)}")

    def _vocoder(self) -> Vocoder:
        return load_vocoder(self._files.root / "vocoder", self._device)

    def _measure(self, path: str, model: AcousticModel, vocoder: Vocoder, workload: Workload, repeat: int) -> Row:
        jobs = jobs_of(workload, self.config.feat_dim)
        runs = [self._timed_run(model, vocoder, jobs, workload.steps) for _ in range(repeat + 1)][1:]
        text, steps, decode = min(runs, key=sum)
        audio = sum(map(audio_seconds, jobs))
        flops = len(jobs) * workload.steps * step_flops(self.config.fm_decoder, jobs[0].frames)
        flops += VOCODER_FLOPS * audio
        memory = peak_memory(self._device)
        step = steps / workload.steps
        return Row(path, workload.batch, text, step, decode, text + steps + decode, audio, flops, memory)

    def _timed_run(
        self, model: AcousticModel, vocoder: Vocoder, jobs: Sequence[Job], num_steps: int
    ) -> tuple[float, float, float]:
        """Seconds before the first step, in all steps, and in the vocoder; the check between steps marks the time."""
        text = steps = decode = 0.0
        for start in range(0, len(jobs), model.max_batch):
            marks: list[float] = []
            began = self._now()
            batch = jobs[start : start + model.max_batch]
            features = model.generate(batch, Schedule(num_steps, 0.9, 3.0), lambda: marks.append(self._now()))  # noqa: B023
            ended = self._now()
            with torch.inference_mode():
                _vocode(vocoder, [item.to(self._device) for item in features])
            decode += self._now() - ended
            text += marks[0] - began
            steps += ended - marks[0]
        return text, steps, decode

    def _seconds(self, work: Callable[[], object]) -> float:
        began = self._now()
        work()
        return self._now() - began

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


def _vocode(vocoder: Vocoder, features: Sequence[Tensor]) -> None:
    together = VOCODED_TOGETHER if vocoder.device.type == "cuda" else 1
    for start in range(0, len(features), together):
        vocoder.batch([item.float().T / FEATURE_SCALE for item in features[start : start + together]])


def prompt_seconds(reference: float) -> tuple[float, float, float]:
    """Seconds of prompt work for a stereo 44.1 kHz recording, its text left out.

    Returns:
        To encode it; to find it in the worker's own cache; to read it from what Redis keeps.
    """
    t = np.arange(int(reference * 44_100)) / 44_100
    wave = np.repeat((0.3 * np.sin(2 * np.pi * 140 * t))[:, None], 2, axis=1)
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, 44_100, format="WAV")
    audio = buffer.getvalue()
    voice = Voice((1,) * 70, prompt.prepare(prompt.decode(audio), reference, 0.01)[1], 0.1, 0.01, "")
    stored = voice.to_bytes()

    def look_up() -> None:
        hashlib.sha256(audio).hexdigest()
        prompt.encoding_key("", None, 0.01, reference)

    def encode() -> None:
        prompt.prepare(prompt.decode(audio), reference, 0.01)

    return _best(encode), _best(look_up), _best(lambda: Voice.from_bytes(stored))


def _best(work: Callable[[], object], runs: int = 5) -> float:
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def reset_peak_memory(device: torch.device) -> None:
    """Forget earlier peaks. Only Linux can for a process; elsewhere the peak is that of the whole run."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif _CLEAR.exists():
        _CLEAR.write_text("5")


def peak_memory(device: torch.device) -> int:
    """Bytes in use at most since the last :func:`reset_peak_memory`."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if _STATUS.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())
        if found:
            return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
