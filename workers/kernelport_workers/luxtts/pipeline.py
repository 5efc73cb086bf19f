"""The public entry: load a model directory, encode references, speak batches of utterances."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from kernelport.errors import install_hint
from kernelport.growing import GrowingArray
from kernelport.text import Aligned, passages_of
from kernelport_workers.luxtts import prompt
from kernelport_workers.luxtts.acoustic import AcousticModel, Check, Job, TorchAcousticModel
from kernelport_workers.luxtts.checkpoint import CheckpointFiles, load_acoustic_model, load_vocoder
from kernelport_workers.luxtts.chunking import Chunk, chunks
from kernelport_workers.luxtts.config import HOP_LENGTH, OUTPUT_SAMPLE_RATE, SAMPLE_RATE, ModelConfig
from kernelport_workers.luxtts.cpu_layers import CPU_PATHS, adapt, streams_for
from kernelport_workers.luxtts.errors import InvalidInputError, LuxTTSError, TextError
from kernelport_workers.luxtts.onnx_path import OnnxAcousticModel
from kernelport_workers.luxtts.prompt import Voice
from kernelport_workers.luxtts.synthesis import Outcome, Pass, Synthesizer, as_error
from kernelport_workers.luxtts.text_encoder import frame_count
from kernelport_workers.luxtts.tokenizer import Phonemizer, Tokenizer
from kernelport_workers.luxtts.transcribe import TRANSCRIBER_RATE, Transcriber
from kernelport_workers.luxtts.tuning import tune
from kernelport_workers.luxtts.utterance import Audio, Utterance
from kernelport_workers.luxtts.vocoder import Vocoder
from kernelport_workers.speech.joins import AUDIBLE, joinable, silence

ComputePath = Literal["torch", "torch-bf16", "torch-int8", "onnx", "onnx-int8"]

PATHS: tuple[ComputePath, ...] = get_args(ComputePath)

MAX_FRAMES = 12_000
"""Longest single pass, reference included (128 s); only a transcript that does not match its recording gets there."""

MAX_TOKENS = 4_000
"""Most tokens of one pass, transcript included: the text encoder's memory grows with their square."""

MAX_HOURS = 3
"""Most speech of one utterance, which is what an answer carries; only slow speech of a long text gets there."""

_UPSTREAM_SPEED = 1.3
_LEAST_SPEECH_FRAMES = 24
_CPU_BUDGET = 2 << 30
_GPU_BATCH = 64


class Pipeline:
    """A loaded model. Not thread-safe: one call at a time.

    On the CPU every job runs alone, so that the same seed gives the same bytes whatever else is in the batch; several
    jobs share the cores in streams. On a GPU jobs of similar length share padded batches and equal their run-alone
    result to rounding; ``max_batch=1`` buys bitwise equality there too.
    """

    def __init__(
        self,
        config: ModelConfig,
        tokenizer: Tokenizer,
        model: AcousticModel,
        vocoder: Vocoder,
        transcriber: Transcriber | None = None,
        memory_budget: int = _CPU_BUDGET,
    ) -> None:
        self.tokenizer = tokenizer
        self.transcriber = transcriber
        self._config = config
        self._synthesizer = Synthesizer(config, model, vocoder, memory_budget)

    @classmethod
    def load(
        cls,
        path: str | Path,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        compute: ComputePath = "torch",
        *,
        transcriber: Transcriber | None = None,
        phonemize: Phonemizer | None = None,
        max_batch: int | None = None,
        memory_budget: int | None = None,
        threads: int = 0,
        tune_kernels: bool = False,
    ) -> Pipeline:
        """Load a model directory laid out as published.

        Args:
            path: Directory with config.json, tokens.txt, the weights or graphs of the chosen path, and vocoder/.
            device: Where the PyTorch path and the vocoder run.
            dtype: Type of the acoustic model on the PyTorch path; the vocoder is always float32.
            compute: ``torch``; on the CPU also with linear layers in fewer bits, ``torch-bf16`` or ``torch-int8``, or
                the published graphs: ``onnx`` (float32) or ``onnx-int8``.
            transcriber: Used by :meth:`encode_prompt` when no transcript is given.
            phonemize: English text to phonemes; espeak by default.
            max_batch: Most jobs per batch on the PyTorch path; default 1 on the CPU, 64 elsewhere.
            memory_budget: Bytes one batch may take; default 2 GiB on the CPU, half of the free memory on a GPU.
            threads: Threads of the ONNX paths, 0 for all cores.
            tune_kernels: On a GPU, measure fused kernels and CUDA graphs and use those that are faster.

        Raises:
            CheckpointError: A file is absent or malformed; the message names the file or tensor.
            DependencyError: A package for the chosen path is not installed.
            InvalidInputError: ``compute`` is none of these paths, or the device cannot run it.
        """
        files = CheckpointFiles.open(path)
        target = torch.device(device)
        vocoder = load_vocoder(files.root / "vocoder", target)
        model: AcousticModel
        if compute == "torch" or (compute in CPU_PATHS and target.type == "cpu"):
            batch = max_batch or (1 if target.type == "cpu" else _GPU_BATCH)
            text, decoder = load_acoustic_model(files, target, dtype)
            streams = 1
            if target.type == "cpu" and dtype == torch.float32:
                adapt(decoder, CPU_PATHS[compute])
                streams = streams_for(CPU_PATHS[compute])
            model = TorchAcousticModel(files.config, text, decoder, batch, streams)
            if tune_kernels and target.type == "cuda":
                tune(model)
        elif compute in ("onnx", "onnx-int8"):
            model = OnnxAcousticModel(files, int8=compute == "onnx-int8", threads=threads)
        else:
            raise InvalidInputError("compute", f"is {compute!r} on {device}, expected one of {', '.join(PATHS)}")
        if memory_budget is None:
            memory_budget = _CPU_BUDGET if target.type == "cpu" else torch.cuda.mem_get_info(target)[0] // 2
        tokenizer = Tokenizer(files.tokens, phonemize)
        return cls(files.config, tokenizer, model, vocoder, transcriber, memory_budget)

    def encode_prompt(
        self,
        audio: bytes,
        text: str | None = None,
        *,
        seconds: float = 5.0,
        rms: float = 0.01,
        upstream: bool = False,
    ) -> Voice:
        """Encode a reference recording.

        With a transcript the whole trimmed recording, at most 30 s, is used, because the transcript describes all of
        it; without one, at most ``seconds`` of it are used and transcribed.

        Args:
            audio: Bytes of a WAV, FLAC, OGG or MP3 file, any rate and channel count.
            text: What the recording says; None asks the transcriber.
            seconds: Longest part to use, 0.5 to 30.
            rms: Level to which a quieter recording is raised, over 0 to 1.
            upstream: Reproduce the original engine: hard cut at ``seconds``, no trimming, original tokenizer.

        Raises:
            InvalidInputError: ``prompt_audio``, ``prompt_text``, ``ref_duration`` or ``rms`` cannot be used.
            DependencyError: A package for transcription or for the transcript's language is not installed.
        """
        _in_range("ref_duration", seconds, prompt.MIN_SECONDS, prompt.MAX_SECONDS)
        _in_range("rms", rms, 1e-6, 1.0)
        decoded = prompt.decode(audio, is_transcribed=text is not None, upstream=upstream)
        limit = None if text is not None and not upstream else seconds
        used, features, level = prompt.prepare(decoded, limit, rms, upstream)
        if text is None:
            text = self._heard(used)
        try:
            tokens = self.tokenizer.encode(text, upstream)
        except TextError as error:
            raise TextError(f"{error.reason} (transcript {text!r})", field="prompt_text") from error
        if not tokens:
            raise TextError(f"gives no tokens (transcript {text!r})", field="prompt_text")
        return Voice(tuple(tokens), features, level, rms, text)

    def _heard(self, wave: NDArray[np.float32]) -> str:
        """What is said in audio (n,) at 24 kHz."""
        if self.transcriber is None:
            hint = install_hint("luxtts-transcribe")
            described = f"expected what the recording says, since no transcriber is configured; for one, {hint}"
            raise InvalidInputError("prompt_text", described)
        text = self.transcriber.transcribe(prompt.resample(wave, SAMPLE_RATE, TRANSCRIBER_RATE))
        if not any(map(str.isalnum, text)):
            raise InvalidInputError("prompt_audio", "expected speech, got none that can be understood")
        return text

    def synthesize(self, utterances: Sequence[Utterance], check: Check | None = None) -> list[Audio | LuxTTSError]:
        """Speak a batch; utterances may differ in everything.

        Args:
            utterances: What to say; an invalid one does not disturb the others.
            check: Called between solver steps and between batches. What it raises ends the call and propagates.

        Returns:
            One entry per utterance, in order: its audio, or the error that stopped it.
        """
        results: dict[int, Audio | LuxTTSError] = {}
        passes: list[Pass] = []
        for owner, utterance in enumerate(utterances):
            try:
                passes += list(self.plan(utterance, owner))
            except Exception as error:
                results[owner] = as_error(error)
        wholes: dict[int, _Whole] = {}
        sounds = deque(self.speak(passes, check))
        for item in passes:
            # What is in the whole is let go of: nothing is there twice.
            wholes.setdefault(item.owner, _Whole()).append(sounds.popleft())
        results |= {owner: whole.result() for owner, whole in wholes.items()}
        return [results[owner] for owner in range(len(utterances))]

    def plan(self, utterance: Utterance, owner: int = 0) -> Iterator[Pass]:
        """Cut one utterance into passes, each with its own seed, and phonemise each as it is asked for.

        Args:
            owner: Tells the utterance from others that are spoken together with it.

        Raises:
            TextError: Before the first pass: there is nothing to say. Before another: there is too much of it.
            InvalidInputError: A value is out of range, or makes too long a pass.
        """
        utterance.validate()
        if utterance.seed is None:
            utterance = replace(utterance, seed=secrets.randbits(62))
        warning, left = None, MAX_HOURS * 3600 * SAMPLE_RATE // HOP_LENGTH
        if utterance.upstream:
            tokens = tuple(self.tokenizer.encode(utterance.text, upstream=True))
            found = iter([Chunk(tokens, 0.0, Aligned.of(utterance.text))])
        else:
            reading = passages_of(utterance.text, chinese=True)
            warning = f"text: {reading.warning}" if reading.warning else None
            found = chunks(self.tokenizer, reading, locale=utterance.locale, lexicon=utterance.lexicon)
        part = -1
        for part, chunk in enumerate(found):
            if not chunk.tokens:
                raise TextError("gives no tokens: there is nothing to say")
            job = Job(utterance.voice, chunk.tokens, self._frames(utterance, chunk), _seed_of(utterance, part))
            left -= job.frames - len(utterance.voice.features)
            if left < 0:
                raise TextError(f"makes more than {MAX_HOURS} hours of speech")
            left_out = None if part else warning
            yield Pass(owner, part, utterance, job, chunk.pause, left_out, chunk.text, chunk.ends_paragraph, chunk.lead)
        if part < 0:
            raise TextError("gives no tokens: there is nothing to say")

    def speak(self, passes: Sequence[Pass], check: Check | None = None) -> list[Audio | LuxTTSError]:
        """Speak passes together: those that have come of one plan or of several, with an owner each.

        Args:
            passes: What to say; one that fails disturbs only those of the same owner.
            check: As in :meth:`synthesize`.

        Returns:
            One entry per pass, in order: its audio, behind which that of the next pass goes on, or its error.
        """
        found = {(item.owner, item.part): _sound(item, each) for item, each in self._synthesizer.run(passes, check)}
        failed = {owner: sound for (owner, _), sound in found.items() if isinstance(sound, LuxTTSError)}
        return [found.get((item.owner, item.part)) or failed[item.owner] for item in passes]

    @property
    def passes_at_once(self) -> int:
        """How many passes make the most of the machine when they are spoken together."""
        return max(self._synthesizer.model.max_batch, self._synthesizer.model.streams)

    def warm_up(self) -> None:
        """Run one short pass in a made-up voice, so that the first request is as fast as the next.

        Raises:
            SynthesisError: It gave numbers that are not finite.
        """
        features = np.zeros((_LEAST_SPEECH_FRAMES, self._config.feat_dim), dtype=np.float32)
        voice = Voice((1, 1), features, 0.1, 0.1, "")
        utterance = Utterance("", voice, num_steps=1)
        job = Job(voice, (1, 1), 2 * len(features), seed=0)
        ((_, outcome),) = self._synthesizer.run([Pass(0, 0, utterance, job, 0.0)])
        if isinstance(outcome, LuxTTSError):
            raise outcome

    def _frames(self, utterance: Utterance, chunk: Chunk) -> int:
        voice, speed = utterance.voice, utterance.speed * (_UPSTREAM_SPEED if utterance.upstream else 1.0)
        prompt_frames = len(voice.features)
        tokens = len(voice.tokens) + len(chunk.tokens)
        if tokens > MAX_TOKENS:
            field = "text" if len(chunk.tokens) > len(voice.tokens) else "prompt_text"
            raise InvalidInputError(field, f"makes a pass of {tokens} tokens, expected at most {MAX_TOKENS}")
        frames = frame_count(prompt_frames, len(voice.tokens), len(chunk.tokens), speed)
        least = prompt_frames + (2 if utterance.upstream else _LEAST_SPEECH_FRAMES)
        if frames > MAX_FRAMES:
            raise InvalidInputError(
                "text" if utterance.upstream else "prompt_text",
                f"{len(chunk.tokens)} tokens to speak, and {len(voice.tokens)} tokens for {prompt_frames} frames of "
                f"reference, make a pass of {frames} frames, expected at most {MAX_FRAMES}",
            )
        return max(frames, least)


def _sound(item: Pass, outcome: Outcome) -> Audio | LuxTTSError:
    """What is heard of a pass: its sound, and its pause behind it; in upstream mode all that the network gave."""
    if isinstance(outcome, LuxTTSError):
        return outcome
    utterance, loudest = item.utterance, float(np.abs(outcome).max(initial=0.0))
    warnings = [item.warning] if item.warning else []
    if loudest >= np.float32(utterance.gain):
        warnings.append("audio: clipped where it was louder than full scale")
    if not utterance.upstream:
        # A quiet voice is heard as far below its own level.
        outcome = joinable(outcome, item.pause, OUTPUT_SAMPLE_RATE, AUDIBLE * min(1.0, loudest))
        if item.lead:
            outcome = np.concatenate([silence(item.lead, OUTPUT_SAMPLE_RATE), outcome])
    return Audio(outcome, OUTPUT_SAMPLE_RATE, utterance.seed or 0, tuple(warnings))


class _Whole:
    """The audio of an utterance as its parts come, or the first error among them."""

    def __init__(self) -> None:
        self._samples = GrowingArray()
        self._seed = 0
        self._warnings: dict[str, None] = {}
        self._error: LuxTTSError | None = None

    def append(self, sound: Audio | LuxTTSError) -> None:
        if isinstance(sound, LuxTTSError):
            self._error = self._error or sound
            return
        self._samples.append(sound.samples)
        self._seed = sound.seed
        self._warnings |= dict.fromkeys(sound.warnings)

    def result(self) -> Audio | LuxTTSError:
        if self._error is not None:
            return self._error
        return Audio(self._samples.array(), OUTPUT_SAMPLE_RATE, self._seed, tuple(self._warnings))


def _seed_of(utterance: Utterance, part: int) -> int:
    """Seed of a chunk, independent of how many there are."""
    seed = utterance.seed or 0
    return seed if part == 0 else int(np.random.SeedSequence([seed, part]).generate_state(1, np.uint64)[0] >> 2)


def _in_range(field: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise InvalidInputError(field, f"is {value}, expected {low:g} to {high:g}")
