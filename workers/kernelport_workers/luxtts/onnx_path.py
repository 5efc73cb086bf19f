"""The published ONNX graphs, float32 or int8, on ONNX Runtime: the same interface as the PyTorch path."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kernelport_workers.luxtts.acoustic import Check, Generate, Job, Schedule
from kernelport_workers.luxtts.batching import batch_bytes
from kernelport_workers.luxtts.checkpoint import CheckpointFiles
from kernelport_workers.luxtts.errors import CheckpointError, DependencyError, SynthesisError
from kernelport_workers.luxtts.solver import solve, timesteps
from kernelport_workers.luxtts.streams import stream_count, threads_per_stream

_INPUTS = {
    "text_encoder": ("tokens", "prompt_tokens", "prompt_features_len", "speed"),
    "fm_decoder": ("t", "x", "text_condition", "speech_condition", "guidance_scale"),
}


class OnnxAcousticModel:
    """Text encoder and decoder graphs of one model directory.

    Jobs run one by one: the decoder graph has no padding mask, and the int8 graph scales its activations over the
    whole batch, so that batch mates would change each other's result.

    Args:
        files: Model directory.
        int8: Use the quantised graphs.
        threads: Threads of one run; 0 lets the runtime take every core.
        providers: ONNX Runtime execution providers.

    Raises:
        CheckpointError: A graph is absent, unreadable, or has other inputs than the published one.
        DependencyError: ``onnxruntime`` is not installed.
    """

    max_batch = 1

    def __init__(
        self,
        files: CheckpointFiles,
        int8: bool,
        threads: int = 0,
        providers: Sequence[str] = ("CPUExecutionProvider",),
    ) -> None:
        # The float32 graph's sums depend on the number of threads: a stream would give other bits than a lone run.
        self.streams = stream_count() if int8 and not threads else 1
        self._load = functools.partial(OnnxAcousticModel, files, int8, providers=providers)
        self._config = files.config
        self._text = _session(files.graph("text_encoder", int8), "text_encoder", threads, providers)
        self._decoder = _session(files.graph("fm_decoder", int8), "fm_decoder", threads, providers)

    def for_stream(self) -> OnnxAcousticModel:
        """See :meth:`AcousticModel.for_stream`: sessions of few threads, loaded when first needed, for all streams."""
        return self if self.streams == 1 else self._with_few_threads

    @functools.cached_property
    def _with_few_threads(self) -> OnnxAcousticModel:
        return self._load(threads=threads_per_stream())

    def batch_bytes(self, jobs: int, frames: int) -> int:
        """See :meth:`AcousticModel.batch_bytes`."""
        return batch_bytes(self._config.fm_decoder, jobs, frames)

    def prepare(self, jobs: Sequence[Job]) -> Generate:
        """See :meth:`AcousticModel.prepare`."""
        return functools.partial(self.generate, jobs)

    def generate(self, jobs: Sequence[Job], schedule: Schedule, check: Check | None = None) -> list[Tensor]:
        """See :meth:`AcousticModel.generate`."""
        return [self._generate(job, schedule, check) for job in jobs]

    def _generate(self, job: Job, schedule: Schedule, check: Check | None) -> Tensor:
        times = timesteps(schedule.num_steps, schedule.t_shift)
        text = self._text_condition(job)
        speech = np.zeros_like(text)
        speech[0, : job.prompt_frames] = job.voice.features
        guidance = np.array(schedule.guidance_scale, dtype=np.float32)

        def velocity(x: Tensor, step: int) -> Tensor:
            feed = (np.array(times[step], dtype=np.float32), x.numpy(), text, speech, guidance)
            return torch.from_numpy(_run(self._decoder, "fm_decoder", feed))

        state = solve(velocity, job.noise(self._config.feat_dim)[None], times, check)
        return state[0, job.prompt_frames :]

    def _text_condition(self, job: Job) -> Any:
        """Frame-aligned text (1, frames, F) of exactly ``job.frames`` frames.

        The graph computes ceil(Lp / P * (P + T) / speed) frames, which would divide the reference by the speed too;
        the speed that gives half a frame less than wanted makes it round up to the wanted length.
        """
        prompt, text = len(job.voice.tokens), len(job.tokens)
        speed = job.prompt_frames / prompt * (prompt + text) / (job.frames - 0.5)
        feed = (
            np.array([job.tokens], dtype=np.int64),
            np.array([job.voice.tokens], dtype=np.int64),
            np.array(job.prompt_frames, dtype=np.int64),
            np.array(speed, dtype=np.float32),
        )
        condition = _run(self._text, "text_encoder", feed)
        if condition.shape[1] != job.frames:
            raise SynthesisError(f"text_encoder graph: gave {condition.shape[1]} frames, expected {job.frames}")
        return condition


def _session(path: Path, kind: str, threads: int, providers: Sequence[str]) -> Any:
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as state
    except ImportError as error:
        raise DependencyError("the onnx paths need the package onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    arena = {"arena_extend_strategy": "kSameAsRequested"}
    chosen = [(name, arena) if name == "CUDAExecutionProvider" else name for name in providers]
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=chosen)
    except (state.Fail, state.InvalidProtobuf, state.InvalidGraph, state.NoSuchFile, state.InvalidArgument) as error:
        raise CheckpointError(f"{path.name}: cannot be loaded by ONNX Runtime: {error}") from error
    names = tuple(argument.name for argument in session.get_inputs())
    if len(names) != len(_INPUTS[kind]):
        raise CheckpointError(f"{path.name}: has inputs {list(names)}, expected {list(_INPUTS[kind])}")
    return session


def _run(session: Any, kind: str, feed: tuple[Any, ...]) -> Any:
    names = [argument.name for argument in session.get_inputs()]
    if set(names) == set(_INPUTS[kind]):
        names = list(_INPUTS[kind])
    return session.run(None, dict(zip(names, feed, strict=True)))[0]
