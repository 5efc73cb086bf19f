"""Run planned passes: in padded batches on a GPU, in parallel streams on a CPU, and through the vocoder."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kernelport.text import Aligned
from kernelport_workers.luxtts.acoustic import AcousticModel, Check, Job, Schedule
from kernelport_workers.luxtts.batching import batch_bytes, plan_batches
from kernelport_workers.luxtts.config import FEATURE_SCALE, ModelConfig
from kernelport_workers.luxtts.errors import LuxTTSError, SynthesisError
from kernelport_workers.luxtts.streams import in_streams
from kernelport_workers.luxtts.utterance import Utterance
from kernelport_workers.luxtts.vocoder import Vocoder

Outcome = NDArray[np.float32] | LuxTTSError


_NO_TEXT = Aligned.of("")


@dataclass(frozen=True, slots=True)
class Pass:
    """One chunk of one utterance, ready to run.

    Attributes:
        owner: Which utterance of the call it belongs to.
        part: Which chunk of that utterance it is.
        utterance: The utterance.
        job: What the acoustic model is to do.
        pause: Seconds of silence after its audio.
        lead: Seconds of silence before it.
        warning: What was left out of the utterance's text; told with its first chunk.
        text: What it says, aligned with the utterance's text.
        ends_paragraph: Whether a paragraph ends with it.
    """

    owner: int
    part: int
    utterance: Utterance
    job: Job
    pause: float
    warning: str | None = None
    text: Aligned = _NO_TEXT
    ends_paragraph: bool = False
    lead: float = 0.0


class Synthesizer:
    """Acoustic model and vocoder together.

    Args:
        config: Dimensions.
        model: Acoustic model.
        vocoder: Vocoder.
        memory_budget: Bytes that one batch, or all streams together, may take.
    """

    def __init__(self, config: ModelConfig, model: AcousticModel, vocoder: Vocoder, memory_budget: int) -> None:
        self.model = model
        self.vocoder = vocoder
        self._config = config
        self._budget = memory_budget

    def run(self, passes: Sequence[Pass], check: Check | None = None) -> Iterator[tuple[Pass, Outcome]]:
        """Yield the audio of every pass as it is finished.

        Once a pass of an utterance has failed, what is left of that utterance is not run.

        Args:
            passes: What to run.
            check: Called between solver steps and between batches. What it raises ends the run and propagates.
        """
        guard = _Guard(check)
        batches = self._batches(passes)
        failed: set[int] = set()

        def work(batch: Sequence[Pass], model: AcousticModel) -> list[tuple[Pass, Outcome]]:
            finished = []
            items = [item for item in batch if item.owner not in failed]
            for item, features in self._generate(items, model, guard):
                outcome = self._finish(features, item.utterance)
                if isinstance(outcome, LuxTTSError):
                    failed.add(item.owner)
                finished.append((item, outcome))
                guard()
            return finished

        streams = min(self.model.streams, self._affordable(passes))
        if streams > 1 and len(batches) >= streams:
            model = self.model.for_stream()
            for finished in in_streams([lambda batch=batch: work(batch, model) for batch in batches], streams):  # type: ignore[misc]
                yield from finished
        else:
            for batch in batches:
                yield from work(batch, self.model)

    def _affordable(self, passes: Sequence[Pass]) -> int:
        """How many of the longest pass fit the memory budget at a time."""
        longest = max((item.job.frames for item in passes), default=1)
        return self._budget // batch_bytes(self._config.fm_decoder, self.model.max_batch, longest)

    def _batches(self, passes: Sequence[Pass]) -> list[list[Pass]]:
        """Passes that run together; those with the longest run first, so that streams end at about the same time."""
        by_schedule: dict[Schedule, list[Pass]] = {}
        for item in passes:
            by_schedule.setdefault(item.utterance.schedule, []).append(item)
        batches = []
        for group in by_schedule.values():
            lengths = [item.job.frames for item in group]
            plan = plan_batches(lengths, self._config.fm_decoder, self._budget, self.model.max_batch)
            batches += [[group[index] for index in batch] for batch in plan]
        return sorted(batches, key=lambda batch: -batch[0].job.frames * batch[0].utterance.num_steps)

    def _generate(
        self, items: Sequence[Pass], model: AcousticModel, guard: _Guard
    ) -> list[tuple[Pass, Tensor | LuxTTSError]]:
        """Run one batch; when it fails, run its members alone so that only the culprit fails."""
        if not items:
            return []
        try:
            features = model.generate([item.job for item in items], items[0].utterance.schedule, guard)
        except Exception as error:
            guard.reraise()
            if len(items) > 1:
                return [pair for item in items for pair in self._generate([item], model, guard)]
            return [(items[0], as_error(error))]
        return list(zip(items, features, strict=True))

    def _finish(self, outcome: Tensor | LuxTTSError, utterance: Utterance) -> Outcome:
        if isinstance(outcome, LuxTTSError):
            return outcome
        try:
            return self.decode(outcome, utterance)
        except Exception as error:
            return as_error(error)

    @torch.inference_mode()
    def decode(self, features: Tensor, utterance: Utterance) -> NDArray[np.float32]:
        """Features (L, F) to audio at 48 kHz, limited to [-1, 1] and at the loudness of the reference.

        The last frame is repeated because the vocoder loses one frame; the original engine does not do so.

        Raises:
            SynthesisError: The audio has numbers that are not finite.
        """
        mel = features.float().T[None] / FEATURE_SCALE
        if not utterance.upstream:
            mel = torch.cat([mel, mel[..., -1:]], dim=-1)
        audio = self.vocoder(mel, smooth=utterance.return_smooth)[0].clamp_(-1.0, 1.0)
        samples: NDArray[np.float32] = (audio * utterance.gain).cpu().numpy()
        if not np.isfinite(samples).all():
            raise SynthesisError("the network produced numbers that are not finite")
        return samples


def as_error(error: Exception) -> LuxTTSError:
    """Keep the engine's own errors and wrap any other, so that one item's failure is a value and not an end."""
    if isinstance(error, LuxTTSError):
        return error
    wrapped = SynthesisError(f"failed with {type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped


class _Guard:
    """A caller's check for several streams: one at a time, and what it raised once is raised everywhere."""

    def __init__(self, check: Check | None) -> None:
        self._check = check
        self._lock = threading.Lock()
        self._interruption: BaseException | None = None

    def __call__(self) -> None:
        with self._lock:
            self.reraise()
            try:
                if self._check is not None:
                    self._check()
            except BaseException as error:
                self._interruption = error
                raise

    def reraise(self) -> None:
        """Raise what the check has raised, if it has."""
        if self._interruption is not None:
            raise self._interruption
