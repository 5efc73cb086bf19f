"""From tokens and a voice to log-mel features: the interface of both paths, and the PyTorch one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from kernelport_workers.luxtts.config import ModelConfig
from kernelport_workers.luxtts.decoder import FlowDecoder
from kernelport_workers.luxtts.graphs import GraphedSteps, bucket
from kernelport_workers.luxtts.prompt import Voice
from kernelport_workers.luxtts.solver import solve, timesteps
from kernelport_workers.luxtts.text_encoder import TextModel, align
from kernelport_workers.luxtts.zipformer import Frames

Check = Callable[[], None]


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


class AcousticModel(Protocol):
    """Generates features for a batch of jobs that share one schedule."""

    max_batch: int
    """Most jobs that one call may take."""

    streams: int
    """How many calls at a time make the most of the machine; 1 where a single one does."""

    def for_stream(self) -> AcousticModel:
        """Return the model as each of ``streams`` threads should use it. Results are the same to the last bit."""

    def generate(self, jobs: Sequence[Job], schedule: Schedule, check: Check | None = None) -> list[Tensor]:
        """Return for every job the generated features float32 (frames - prompt_frames, feat_dim) on the CPU or GPU.

        ``check`` is called before every solver step and may raise.
        """


class TorchAcousticModel:
    """The PyTorch path. Padded batches give each job its run-alone result, to rounding.

    Args:
        config: Dimensions.
        text: Text encoder.
        decoder: Flow decoder on the same device and of the same type.
        max_batch: Most jobs per batch. With 1, a job's result does not depend on others to the last bit.

    Attributes:
        decoder: The velocity network.
        graphs: Replays recorded decoder steps when set; batches are then padded to the sizes of the recordings.
    """

    # A small matrix product of PyTorch has other bits on another number of threads, as in a stream.
    streams = 1

    def __init__(self, config: ModelConfig, text: TextModel, decoder: FlowDecoder, max_batch: int) -> None:
        self.max_batch = max_batch
        self._config = config
        self._text = text
        self.decoder = decoder
        self.graphs: GraphedSteps | None = None
        self._vectors = functools.lru_cache(maxsize=64)(self._time_vectors)

    def for_stream(self) -> TorchAcousticModel:
        """See :meth:`AcousticModel.for_stream`."""
        return self

    @torch.inference_mode()
    def generate(self, jobs: Sequence[Job], schedule: Schedule, check: Check | None = None) -> list[Tensor]:
        """See :meth:`AcousticModel.generate`."""
        parameter = self.decoder.in_proj.weight
        like = {"device": parameter.device, "dtype": parameter.dtype}
        size, longest = len(jobs), max(job.frames for job in jobs)
        if self.graphs is not None:
            size, longest = bucket(size, longest)
        shape = (size, longest, self._config.feat_dim)
        noise, speech = torch.zeros(shape), torch.zeros(shape)
        text = torch.zeros(shape, **like)  # type: ignore[call-overload]
        mask = torch.zeros(shape[:2], dtype=torch.bool)
        encoded = self._text([[*job.voice.tokens, *job.tokens] for job in jobs])
        for row, job in enumerate(jobs):
            noise[row, : job.frames] = job.noise(self._config.feat_dim)
            speech[row, : job.prompt_frames] = torch.from_numpy(job.voice.features)
            text[row, : job.frames] = align(encoded[row], len(job.voice.tokens) + len(job.tokens), job.frames)
            mask[row, job.frames :] = True
        condition = self.decoder.project_condition(text, speech.to(**like))  # type: ignore[call-overload]
        times, vectors = self._vectors(schedule)
        velocity = self._steps(condition, mask)
        state = solve(lambda x, step: velocity(x, vectors[step]), noise.to(parameter.device), times, check)
        return [state[row, job.prompt_frames : job.frames] for row, job in enumerate(jobs)]

    def _steps(self, condition: Tensor, mask: Tensor) -> Callable[[Tensor, Sequence[Tensor]], Tensor]:
        """The velocity of a state given the time vectors."""
        if self.graphs is not None:
            return self.graphs.begin(condition, mask.to(condition.device))
        padded = mask.to(condition.device) if bool(mask.any()) else None
        frames = Frames.of(condition, condition.shape[1], self._config.fm_decoder.pos_dim, padded)

        def velocity(x: Tensor, times: Sequence[Tensor]) -> Tensor:
            result: Tensor = self.decoder(x, condition, times, frames)
            return result

        return velocity

    def _time_vectors(self, schedule: Schedule) -> tuple[list[float], list[list[Tensor]]]:
        times = timesteps(schedule.num_steps, schedule.t_shift)
        return times, self.decoder.time_vectors(times[:-1], schedule.guidance_scale)
