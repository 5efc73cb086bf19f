"""Run planned passes: in padded batches on a GPU, in parallel streams on a CPU, and through the vocoder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kernelport.text import Aligned
from kernelport_workers.luxtts.acoustic import AcousticModel, Check, Generate, Job, Schedule
from kernelport_workers.luxtts.batching import plan_batches
from kernelport_workers.luxtts.config import FEATURE_SCALE, ModelConfig
from kernelport_workers.luxtts.errors import LuxTTSError, SynthesisError
from kernelport_workers.luxtts.streams import in_streams
from kernelport_workers.luxtts.transfers import Transfers
from kernelport_workers.luxtts.utterance import Utterance
from kernelport_workers.luxtts.vocoder import Vocoder

Outcome = NDArray[np.float32] | LuxTTSError

VOCODED_TOGETHER = 16
"""Most utterances that a GPU's vocoder decodes at a time; a CPU decodes each alone."""

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

    Attributes:
        transfers: How audio comes from where it is computed.
    """

    def __init__(self, config: ModelConfig, model: AcousticModel, vocoder: Vocoder, memory_budget: int) -> None:
        self.model = model
        self.vocoder = vocoder
        self._config = config
        self._budget = memory_budget
        self.transfers = Transfers(vocoder.device)

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
            items = [item for item in batch if item.owner not in failed]
            return list(self._finished(self._begin(items, model, None, guard), failed, guard))

        streams = min(self.model.streams, self._affordable(passes))
        if streams > 1 and len(batches) >= streams:
            model = self.model.for_stream()
            for finished in in_streams([lambda batch=batch: work(batch, model) for batch in batches], streams):  # type: ignore[misc]
                yield from finished
        elif self.transfers.overlap:
            yield from self._overlapped(batches, failed, guard)
        else:
            for batch in batches:
                yield from work(batch, self.model)

    def _overlapped(
        self, batches: Sequence[Sequence[Pass]], failed: set[int], guard: _Guard
    ) -> Iterator[tuple[Pass, Outcome]]:
        """Run batches on a GPU: while it computes one, the next is prepared and the last one's audio is fetched."""
        with ThreadPoolExecutor(1) as threads:

            def prepared(index: int) -> Future[Generate] | None:
                jobs = [item.job for item in batches[index]] if index < len(batches) else []
                return threads.submit(self.model.prepare, jobs) if jobs else None

            coming, begun = prepared(0), None
            for index, batch in enumerate(batches):
                ready, coming = coming, prepared(index + 1)
                following = self._begin(batch, self.model, ready, guard)
                if begun is not None:
                    yield from self._finished(begun, failed, guard)
                begun = following
            if begun is not None:
                yield from self._finished(begun, failed, guard)

    def _affordable(self, passes: Sequence[Pass]) -> int:
        """How many of the longest pass fit the memory budget at a time."""
        longest = max((item.job.frames for item in passes), default=1)
        return self._budget // self.model.batch_bytes(self.model.max_batch, longest)

    def _batches(self, passes: Sequence[Pass]) -> list[list[Pass]]:
        """Passes that run together; those with the longest run first, so that streams end at about the same time."""
        by_schedule: dict[Schedule, list[Pass]] = {}
        for item in passes:
            by_schedule.setdefault(item.utterance.schedule, []).append(item)

        def fits(jobs: int, frames: int) -> bool:
            return self.model.batch_bytes(jobs, frames) <= self._budget

        batches = []
        for group in by_schedule.values():
            lengths = [item.job.frames for item in group]
            plan = plan_batches(lengths, self._config.fm_decoder, fits, self.model.max_batch)
            batches += [[group[index] for index in batch] for batch in plan]
        return sorted(batches, key=lambda batch: -batch[0].job.frames * batch[0].utterance.num_steps)

    def _begin(
        self, items: Sequence[Pass], model: AcousticModel, ready: Future[Generate] | None, guard: _Guard
    ) -> _Begun:
        """Have a batch computed; on a GPU this returns while it goes on."""
        found = self._generated(items, model, ready, guard)
        audible = [(item, each) for item, each in found if isinstance(each, Tensor)]
        heard = dict(zip((id(item) for item, _ in audible), self._decoded(audible), strict=True))
        sounds = [heard.get(id(item), each) for item, each in found]
        tensors, wait = self.transfers.to_host([sound for sound in sounds if isinstance(sound, Tensor)])
        copies = iter(tensors)
        sounds = [next(copies) if isinstance(sound, Tensor) else sound for sound in sounds]
        return _Begun(list(items), sounds, wait)

    def _finished(self, begun: _Begun, failed: set[int], guard: _Guard) -> Iterator[tuple[Pass, Outcome]]:
        """Wait for a batch, and yield what became of it."""
        begun.wait()
        for item, sound in zip(begun.items, begun.sounds, strict=True):
            if item.owner in failed:
                continue
            outcome = sound if isinstance(sound, LuxTTSError) else _checked(sound)
            if isinstance(outcome, LuxTTSError):
                failed.add(item.owner)
            yield item, outcome
            guard()

    def _generated(
        self, items: Sequence[Pass], model: AcousticModel, ready: Future[Generate] | None, guard: _Guard
    ) -> list[tuple[Pass, Tensor | LuxTTSError]]:
        """Features of one batch; when it fails, its members run alone so that only the culprit fails."""
        if not items:
            return []
        try:
            generate = ready.result() if ready is not None else model.prepare([item.job for item in items])
            features = generate(items[0].utterance.schedule, guard)
        except Exception as error:
            guard.reraise()
            if len(items) > 1:
                return [pair for item in items for pair in self._generated([item], model, None, guard)]
            return [(items[0], as_error(error))]
        return list(zip(items, features, strict=True))

    def _decoded(self, found: Sequence[tuple[Pass, Tensor]]) -> list[Tensor | LuxTTSError]:
        """Audio of features, on their device: several at a time on a GPU, and alone where that fails."""
        together = VOCODED_TOGETHER if self.transfers.overlap else 1
        sounds: dict[int, Tensor | LuxTTSError] = {}
        for smooth in (False, True):
            chosen = [index for index, (item, _) in enumerate(found) if item.utterance.return_smooth == smooth]
            for start in range(0, len(chosen), together):
                part = chosen[start : start + together]
                sounds.update(zip(part, self._decoded_alike([found[index] for index in part], smooth), strict=True))
        return [sounds[index] for index in range(len(found))]

    def _decoded_alike(self, found: Sequence[tuple[Pass, Tensor]], smooth: bool) -> list[Tensor | LuxTTSError]:
        try:
            return list(self.decode([features for _, features in found], [item.utterance for item, _ in found], smooth))
        except Exception as error:
            if len(found) > 1:
                return [each for pair in found for each in self._decoded_alike([pair], smooth)]
            return [as_error(error)]

    @torch.inference_mode()
    def decode(self, features: Sequence[Tensor], utterances: Sequence[Utterance], smooth: bool) -> list[Tensor]:
        """Features (L, F) each to audio (n,) at 48 kHz, limited to [-1, 1] and at the loudness of the reference.

        The last frame is repeated because the vocoder loses one frame; the original engine does not do so.
        """
        mels = []
        for each, utterance in zip(features, utterances, strict=True):
            mel = each.float().T / FEATURE_SCALE
            mels.append(mel if utterance.upstream else torch.cat([mel, mel[:, -1:]], dim=-1))
        sounds = self.vocoder.batch(mels, smooth)
        return [
            sound.clamp(-1.0, 1.0).mul_(utterance.gain) for sound, utterance in zip(sounds, utterances, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class _Begun:
    """A batch that has been asked for: the audio of each item will be in its tensor once ``wait`` has returned."""

    items: list[Pass]
    sounds: list[Tensor | LuxTTSError]
    wait: Callable[[], None]


def _checked(sound: Tensor) -> Outcome:
    samples: NDArray[np.float32] = sound.numpy()
    if not np.isfinite(samples).all():
        return SynthesisError("the network produced numbers that are not finite")
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
