"""The plain eager model behind the interface of the paths: the baseline of the bench."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from kernelport_workers.luxtts.acoustic import Check, Generate, Job, Schedule
from kernelport_workers.luxtts.batching import batch_bytes
from kernelport_workers.luxtts.checkpoint import CheckpointFiles, read_state_dict
from kernelport_workers.luxtts.reference import ReferenceModel
from kernelport_workers.luxtts.solver import solve, timesteps
from kernelport_workers.luxtts.text_encoder import align


class PlainAcousticModel:
    """Jobs one by one through :class:`ReferenceModel`, in float32."""

    max_batch = 1
    streams = 1

    def __init__(self, files: CheckpointFiles, device: torch.device) -> None:
        weights = next(p for p in (files.root / "model.safetensors", files.root / "model.pt") if p.is_file())
        state = {name: tensor.to(device) for name, tensor in read_state_dict(weights).items()}
        self._model = ReferenceModel(files.config, state)
        self._device = device

    def for_stream(self) -> PlainAcousticModel:
        """See :meth:`AcousticModel.for_stream`."""
        return self

    def batch_bytes(self, jobs: int, frames: int) -> int:
        """See :meth:`AcousticModel.batch_bytes`."""
        return batch_bytes(self._model.config.fm_decoder, jobs, frames)

    def prepare(self, jobs: Sequence[Job]) -> Generate:
        """See :meth:`AcousticModel.prepare`."""
        return functools.partial(self.generate, jobs)

    @torch.inference_mode()
    def generate(self, jobs: Sequence[Job], schedule: Schedule, check: Check | None = None) -> list[Tensor]:
        """See :meth:`AcousticModel.generate`."""
        return [self._generate(job, schedule, check) for job in jobs]

    def _generate(self, job: Job, schedule: Schedule, check: Check | None) -> Tensor:
        ids = torch.tensor([[*job.voice.tokens, *job.tokens]], device=self._device)
        text = align(self._model.encode_text(ids)[0], ids.shape[1], job.frames)[None]
        speech = torch.zeros_like(text)
        speech[0, : job.prompt_frames] = torch.from_numpy(job.voice.features)
        times = timesteps(schedule.num_steps, schedule.t_shift)
        guidance = torch.tensor(schedule.guidance_scale, device=self._device)

        def velocity(x: Tensor, step: int) -> Tensor:
            return self._model.velocity(torch.tensor(times[step], device=self._device), x, text, speech, guidance)

        noise = job.noise(text.shape[2]).to(self._device)
        return solve(velocity, noise[None], times, check)[0, job.prompt_frames :]
