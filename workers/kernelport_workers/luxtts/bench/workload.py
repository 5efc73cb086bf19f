"""What is timed, and the arithmetic it takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from kernelport_workers.luxtts.acoustic import Job
from kernelport_workers.luxtts.config import HOP_LENGTH, SAMPLE_RATE
from kernelport_workers.luxtts.prompt import Voice

_TOKENS_PER_SECOND = 14

VOCODER_FLOPS = 3.2e9
"""Of the published vocoder, per second of audio."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What is timed: ``batch`` utterances of ``seconds`` each, from a reference of ``reference`` seconds."""

    seconds: float = 15.0
    reference: float = 5.0
    steps: int = 4
    batch: int = 1


def jobs_of(workload: Workload, feat_dim: int) -> list[Job]:
    """Random jobs of the workload's exact length, with about as many tokens as speech of that length has."""
    generator = np.random.default_rng(0)
    prompt_frames, frames = (int(s * SAMPLE_RATE) // HOP_LENGTH for s in (workload.reference, workload.seconds))

    def tokens(seconds: float) -> tuple[int, ...]:
        return tuple(generator.integers(4, 158, max(1, int(seconds * _TOKENS_PER_SECOND))).tolist())

    features = generator.standard_normal((prompt_frames, feat_dim)).astype(np.float32) * 0.3 - 0.3
    voice = Voice(tokens(workload.reference), features, 0.1, 0.01, "")
    return [Job(voice, tokens(workload.seconds), prompt_frames + frames, seed) for seed in range(workload.batch)]


def mixed_lengths(items: int, longest: float, mix: str) -> list[float]:
    """Seconds of speech of each of ``items`` items, in ascending order.

    Args:
        items: How many.
        longest: Seconds of the longest.
        mix: ``even``, from a fifth of ``longest`` to ``longest``; or ``short``, a log-normal distribution between a
            fifteenth of ``longest`` and ``longest`` around a median of 4/15 of it, as single sentences have.

    Raises:
        ValueError: ``mix`` is neither.
    """
    ranks = [(index + 0.5) / items for index in range(items)]
    if mix == "even":
        return [longest * (0.2 + 0.8 * rank) for rank in ranks]
    if mix == "short":
        values = (4 / 15 * math.exp(0.6 * NormalDist().inv_cdf(rank)) for rank in ranks)
        return [longest * min(1.0, max(1 / 15, value)) for value in values]
    raise ValueError(f"mix: {mix!r}, expected even or short")


def mixed_jobs(lengths: Sequence[float], reference: float, feat_dim: int) -> list[Job]:
    """Jobs of the given seconds of speech, in random order."""
    order = np.random.default_rng(0).permutation(len(lengths))
    return [jobs_of(Workload(lengths[index], reference), feat_dim)[0] for index in order]


def audio_seconds(job: Job) -> float:
    """Seconds of speech that a job gives."""
    return (job.frames - job.prompt_frames) * HOP_LENGTH / SAMPLE_RATE
