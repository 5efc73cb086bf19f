"""From tokens and a voice to log-mel features: the interface of both paths, and the PyTorch one."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from kernelport_workers.luxtts.attention import Frames
from kernelport_workers.luxtts.batching import batch_bytes
from kernelport_workers.luxtts.config import ModelConfig
from kernelport_workers.luxtts.decoder import FlowDecoder
from kernelport_workers.luxtts.graphs import GraphedSteps
from kernelport_workers.luxtts.kernels import Kernels
from kernelport_workers.luxtts.prompt import Voice
from kernelport_workers.luxtts.solver import solve, timesteps
from kernelport_workers.luxtts.streams import one_thread
from kernelport_workers.luxtts.text_encoder import TextModel, pad_tokens, token_rows
from kernelport_workers.luxtts.transfers import Transfers

Check = Callable[[], None]
Velocity = Callable[[Tensor, Sequence[Tensor]], Tensor]
Steps = Callable[[Tensor, Tensor], Velocity]


@dataclass(frozen=True, slots=True)
class Schedule:
    """Solver settings; only items with equal settings share a batch."""

    num_steps: int
    t_shift: float
    guidance_scale: float


@dataclass(frozen=True, slots=True)
class Job:
    """One pass through the network.

    Attributes:
        voice: The reference.
        tokens: Token ids of the text.
        frames: Frames of reference and speech together.
        seed: Seed of this job's own noise.
    """

    voice: Voice
    tokens: tuple[int, ...]
    frames: int
    seed: int

    @property
    def prompt_frames(self) -> int:
        """Frames of the reference, which come first."""
        return len(self.voice.features)

    def noise(self, feat_dim: int) -> Tensor:
        """Initial state float32 (frames, feat_dim), drawn on the CPU so that every device starts from the same one."""
        generator = torch.Generator().manual_seed(self.seed)
        return torch.randn(1, self.frames, feat_dim, generator=generator)[0]


class Generate(Protocol):
    """Generates the features of prepared jobs."""

    def __call__(self, schedule: Schedule, check: Check | None = None) -> list[Tensor]:
        """As :meth:`AcousticModel.generate`."""


class AcousticModel(Protocol):
    """Generates features for a batch of jobs that share one schedule."""

    max_batch: int
    """Most jobs that one call may take."""

    streams: int
    """How many calls at a time make the most of the machine; 1 where a single one does."""

    def for_stream(self) -> AcousticModel:
        """Return the model as each of ``streams`` threads should use it. Results are the same to the last bit."""

    def batch_bytes(self, jobs: int, frames: int) -> int:
        """Estimate the peak memory in bytes of ``jobs`` jobs of ``frames`` frames at a time."""

    def prepare(self, jobs: Sequence[Job]) -> Generate:
        """Do what needs no device, on any thread, and return what generates the jobs' features."""

    def generate(self, jobs: Sequence[Job], schedule: Schedule, check: Check | None = None) -> list[Tensor]:
        """Return for every job the generated features float32 (frames - prompt_frames, feat_dim) on the CPU or GPU.

        ``check`` is called before every solver step and may raise.
        """


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What a batch of jobs starts from, padded to B rows of N frames, in the CPU's memory.

    Attributes:
        noise: float32 (B, N, F).
        speech: Features of the references, float32 (B, Np, F).
        ids: Tokens (B, S), and ``masked`` (B, S) as :func:`pad_tokens` gives them.
        rows: Which token each frame takes, int64 (B, N).
        lengths: Real frames of each row, int64 (B,).
    """

    noise: Tensor
    speech: Tensor
    ids: Tensor
    masked: Tensor
    rows: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, jobs: Sequence[Job], size: int, frames: int, config: ModelConfig) -> _Inputs:
        """Inputs of ``jobs`` in ``size`` rows; rows that are nobody's count as real."""
        noise = torch.zeros(size, frames, config.feat_dim)
        speech = torch.zeros(size, max(job.prompt_frames for job in jobs), config.feat_dim)
        rows = torch.zeros(size, frames, dtype=torch.int64)
        lengths = torch.full((size,), frames)
        for row, job in enumerate(jobs):
            noise[row, : job.frames] = job.noise(config.feat_dim)
            speech[row, : job.prompt_frames] = torch.from_numpy(job.voice.features)
            rows[row, : job.frames] = token_rows(len(job.voice.tokens) + len(job.tokens), job.frames)
            lengths[row] = job.frames
        tokens = [[*job.voice.tokens, *job.tokens] for job in jobs]
        ids, masked = pad_tokens([*tokens, *([[]] * (size - len(jobs)))], config.pad_id)
        return cls(noise, speech, ids, masked, rows, lengths)

    def tensors(self) -> tuple[Tensor, ...]:
        """In the order of the attributes."""
        return self.noise, self.speech, self.ids, self.masked, self.rows, self.lengths


class TorchAcousticModel:
    """The PyTorch path. Padded batches give each job its run-alone result, to rounding.

    Args:
        config: Dimensions.
        text: Text encoder.
        decoder: Flow decoder on the same device and of the same type.
        max_batch: Most jobs per batch. With 1, a job's result does not depend on others to the last bit.
        streams: Calls at a time that make the most of a CPU; above 1 only for a decoder whose bits are the same on any
            number of threads.

    Attributes:
        decoder: The velocity network.
        graphs: Replays recorded decoder steps when set; batches are then padded to the sizes of the recordings.
        kernels: Which kernels a batch of so many jobs and frames runs with.
    """

    def __init__(
        self, config: ModelConfig, text: TextModel, decoder: FlowDecoder, max_batch: int, streams: int = 1
    ) -> None:
        self.max_batch = max_batch
        self.streams = streams
        self._config = config
        self._text = text
        self.decoder = decoder
        self.graphs: GraphedSteps | None = None
        self.kernels = Kernels()
        self._transfers = Transfers(decoder.in_proj.weight.device)
        self._vectors = functools.lru_cache(maxsize=64)(self._time_vectors)

    def for_stream(self) -> TorchAcousticModel:
        """See :meth:`AcousticModel.for_stream`."""
        return self

    def batch_bytes(self, jobs: int, frames: int) -> int:
        """See :meth:`AcousticModel.batch_bytes`."""
        fused = self.kernels.of(jobs, frames).attention is not None
        item_size = self.decoder.in_proj.weight.element_size()
        return batch_bytes(self._config.fm_decoder, jobs, frames, item_size, fused=fused)

    def use_kernels(self, jobs: int, frames: int) -> None:
        """Run with the kernels for a batch of this size from now on."""
        self.decoder.use(self.kernels.of(jobs, frames))

    def prepare(self, jobs: Sequence[Job]) -> Generate:
        """See :meth:`AcousticModel.prepare`."""
        size, longest = len(jobs), max(job.frames for job in jobs)
        graphed = self.graphs.bucket(size, longest) if self.graphs is not None else None
        inputs = _Inputs.of(jobs, *(graphed or (size, longest)), self._config)
        is_padded = bool((inputs.lengths < inputs.noise.shape[1]).any())
        tensors = [self._transfers.locked(tensor) for tensor in inputs.tensors()]

        @torch.inference_mode()
        def generate(schedule: Schedule, check: Check | None = None) -> list[Tensor]:
            moved = _Inputs(*self._transfers.to_device(tensors))
            steps = self._graphed_steps if graphed else functools.partial(self._eager_steps, is_padded=is_padded)
            state = self._solved(moved, schedule, steps, check)
            return [state[row, job.prompt_frames : job.frames] for row, job in enumerate(jobs)]

        return generate

    def generate(self, jobs: Sequence[Job], schedule: Schedule, check: Check | None = None) -> list[Tensor]:
        """See :meth:`AcousticModel.generate`."""
        return self.prepare(jobs)(schedule, check)

    def _solved(self, inputs: _Inputs, schedule: Schedule, steps: Steps, check: Check | None) -> Tensor:
        """States (B, N, F) at the end of the schedule."""
        dtype, frames = self.decoder.in_proj.weight.dtype, inputs.noise.shape[1]
        with one_thread() if self.streams > 1 else contextlib.nullcontext():
            encoded = self._text.encode(inputs.ids, inputs.masked)
        text = encoded.gather(1, inputs.rows[..., None].expand(-1, -1, encoded.shape[2]))
        speech = F.pad(inputs.speech.to(dtype), (0, 0, 0, frames - inputs.speech.shape[1]))
        condition = self.decoder.project_condition(text, speech)
        mask = torch.arange(frames, device=condition.device) >= inputs.lengths[:, None]
        times, vectors = self._vectors(schedule)
        velocity = steps(condition, mask)
        return solve(lambda x, step: velocity(x, vectors[step]), inputs.noise, times, check)

    def _graphed_steps(self, condition: Tensor, mask: Tensor) -> Velocity:
        assert self.graphs is not None  # noqa: S101
        return self.graphs.begin(condition, mask)

    def _eager_steps(self, condition: Tensor, mask: Tensor, *, is_padded: bool) -> Velocity:
        jobs, length, _ = condition.shape
        self.use_kernels(jobs, length)
        frames = Frames.of(condition, length, self._config.fm_decoder.pos_dim, mask if is_padded else None)

        def velocity(x: Tensor, times: Sequence[Tensor]) -> Tensor:
            result: Tensor = self.decoder(x, condition, times, frames)
            return result

        return velocity

    def _time_vectors(self, schedule: Schedule) -> tuple[list[float], list[list[Tensor]]]:
        times = timesteps(schedule.num_steps, schedule.t_shift)
        return times, self.decoder.time_vectors(times[:-1], schedule.guidance_scale)
