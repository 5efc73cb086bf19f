"""Zero-shot voice cloning with the LuxTTS engine."""

import hashlib
import io
import itertools
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import cached_property, partial
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import soundfile

from kernelport.broker.connections import connect
from kernelport.config.deployments import Deployment
from kernelport.config.manifests import ModelFilesError
from kernelport.config.settings import Settings
from kernelport.errors import InternalError, KernelPortError, UnavailableError, in_words, install_hint
from kernelport.telemetry import logs
from kernelport.tensors import Array
from kernelport.text import NO_LEXICON, Lexicon, LexiconError, Locale, locale_named
from kernelport_workers.backends.base import LoadError, Outputs, Request
from kernelport_workers.backends.stepped import Frame, SteppedBackend, Utterance, from_index
from kernelport_workers.luxtts.config import OUTPUT_SAMPLE_RATE
from kernelport_workers.luxtts.errors import (
    CheckpointError,
    DependencyError,
    InvalidInputError,
    LuxTTSError,
    NotHeardError,
    SynthesisError,
)
from kernelport_workers.pipelines.luxtts.inputs import FORMATS, MAX_PROMPT_TEXT, SIGNATURE, flag, invalid, number, text
from kernelport_workers.pipelines.luxtts.options import COMPUTE_OPTIONS, Options, choose_compute, choose_device
from kernelport_workers.pipelines.luxtts.references import References, Wanted
from kernelport_workers.speech import lexicons
from kernelport_workers.speech.spans import SPANS, SPOKEN, Spans

if TYPE_CHECKING:
    from kernelport_workers.luxtts import Audio, Pipeline, Voice
    from kernelport_workers.luxtts import Utterance as EngineUtterance
    from kernelport_workers.luxtts.synthesis import Pass

log = logging.getLogger(__name__)

REDIS_TIMEOUT_S = 3.0


class LuxTTSPipeline(SteppedBackend):
    """Speaks UTF-8 text in the voice of a short recording.

    The manifest's files lie as in the published repository. On a GPU the role `model` runs on PyTorch. On the CPU the
    int8 graphs run on ONNX Runtime where the manifest names them, else PyTorch, else the float32 graphs. The manifest's
    `options` are those of `kernelport_workers.pipelines.luxtts.options`.
    """

    requirements: ClassVar[Mapping[str, str]] = dict.fromkeys(("torch", "safetensors"), install_hint("luxtts"))
    compute_options = COMPUTE_OPTIONS
    outputs_stay = True
    signature = SIGNATURE
    joined = frozenset({"audio", "audio_file", SPOKEN, SPANS})

    def __init__(
        self,
        engine: "Pipeline",
        device: str,
        compute_path: str,
        references: References,
        locale: Locale = "en-US",
        lexicon: Lexicon = NO_LEXICON,
    ) -> None:
        self._engine = engine
        self._locale = locale
        self._lexicon = lexicon
        self._references = references
        self.device = device
        self.compute_path = compute_path
        self.pieces_a_step = engine.passes_at_once
        self._owners = itertools.count()

    @classmethod
    def load(cls, deployment: Deployment) -> Self:
        """Loads the checkpoint and runs one short pass.

        Raises:
            LoadError: a file is missing or malformed, a package or the phonemizer is missing, an option is wrong, or
                the device cannot be used.
        """
        try:
            return cls._load(deployment)
        except (ModelFilesError, CheckpointError, DependencyError, SynthesisError) as error:
            raise LoadError(str(error)) from error

    @classmethod
    def _load(cls, deployment: Deployment) -> Self:
        import torch

        from kernelport_workers.luxtts import Pipeline

        if deployment.manifest is None:
            raise LoadError("luxtts needs a manifest")
        files = deployment.manifest.resolve()
        if "config" not in files:
            raise LoadError("the manifest names no file of role `config`")
        options = Options(deployment.manifest.options)
        device = choose_device(deployment.device, files)
        compute = choose_compute(device, files, options.precision)
        precision = "float32" if device == "cpu" else options.precision
        phonemize = options.load_phonemizer()
        engine = Pipeline.load(
            files["config"].parent,
            device=device,
            dtype=getattr(torch, precision),
            compute=compute,
            transcriber=options.load_transcriber(deployment.manifest, device),
            phonemize=phonemize,
            tune_kernels=options.kernels,
        )
        engine.warm_up()
        identity = [engine.tokenizer.digest, options.phonemizer, options.transcriber]
        redis = connect(Settings.from_environment().redis_url, REDIS_TIMEOUT_S)
        references = References(engine, redis, hashlib.sha256(json.dumps(identity).encode()).hexdigest())
        parts = [device, compute, precision if compute == "torch" else ""]
        parts.append("tuned kernels" if device != "cpu" and options.kernels else "")
        try:
            lexicon = lexicons.deployed(deployment.manifest.options, engine.tokenizer.phonemes)
        except LexiconError as error:
            raise LoadError(f"options.lexicon: {error}") from error
        return cls(engine, device, ", ".join(filter(None, parts)), references, options.locale, lexicon)

    def for_job(self, job: str) -> Self:
        references = self._references.for_job(job)
        return type(self)(self._engine, self.device, self.compute_path, references, self._locale, self._lexicon)

    def open(self, request: Request, first: int = 0) -> Utterance:
        """Gets ready to speak a text. Its voice and its words are read with its first step, which may take a while.

        Raises:
            InvalidArgumentError: when `audio_format` is none of those there are.
        """
        begin = partial(self._begin, request)
        return _Spoken(request, first, next(self._owners), _format_of(request.inputs), begin)

    def step(self, utterances: Sequence[Utterance]) -> list[Frame | KernelPortError]:
        """Speaks the next piece of each, in passes of several that are about equally long."""
        spoken = [each for each in utterances if isinstance(each, _Spoken)]
        failed: dict[int, KernelPortError] = {}
        due: dict[int, Pass | None] = {}
        for index, each in enumerate(spoken):
            try:
                due[index] = self._due(each)
            except KernelPortError as error:
                failed[index] = error
            except LuxTTSError as error:
                failed[index] = _error(error, "text")
            except Exception as error:
                # A phonemizer or transcriber may raise anything, and only over one request.
                log.exception("a request cannot be prepared", extra=logs.WITHOUT_TEXT)
                failed[index] = InternalError(f"luxtts failed: {in_words(error)}")

        def tick() -> None:
            for each in spoken:
                each.request.tick()

        passes = {index: item for index, item in due.items() if item is not None}
        sounds = dict(zip(passes, self._engine.speak(list(passes.values()), tick), strict=True))
        return [
            failed[index] if index in failed else _frame(each, passes.get(index), sounds.get(index))
            for index, each in enumerate(spoken)
        ]

    def _due(self, spoken: "_Spoken") -> "Pass | None":
        """The pass that makes the next piece; None when all of them have been sent before."""
        if spoken.coming is None:
            plan = self._engine.plan(self._read(spoken), spoken.owner)
            spoken.coming = from_index(plan, spoken.next_index)
            spoken.following = next(spoken.coming, None)
        due, spoken.following = spoken.following, next(spoken.coming, None)
        return due

    def _read(self, spoken: "_Spoken") -> "EngineUtterance":
        from kernelport_workers.luxtts import Utterance as EngineUtterance

        inputs = spoken.request.inputs
        upstream = flag(inputs, "upstream")
        smooth = flag(inputs, "return_smooth")
        try:
            wanted = EngineUtterance(
                text=text(inputs, "text") or "",
                voice=spoken.voice.result(),
                seed=int(inputs["seed"].item()) if "seed" in inputs else 0,
                num_steps=int(number(inputs, "num_steps", 4)),
                t_shift=number(inputs, "t_shift", 0.9),
                speed=number(inputs, "speed", 1.0),
                return_smooth=smooth,
                upstream=upstream,
                locale=self._locale_of(inputs),
                lexicon=self._lexicon_of(inputs),
            )
            wanted.validate()
        except LuxTTSError as error:
            raise _error(error, "prompt_text") from error
        return wanted

    def _locale_of(self, inputs: Mapping[str, Array]) -> Locale:
        name = text(inputs, "locale")
        if name is None:
            return self._locale
        try:
            return locale_named(name)
        except ValueError as error:
            raise invalid("locale", str(error)) from error

    def _lexicon_of(self, inputs: Mapping[str, Array]) -> Lexicon:
        try:
            return lexicons.given(inputs, self._lexicon, self._engine.tokenizer.phonemes)
        except LexiconError as error:
            raise invalid(lexicons.LEXICON, str(error)) from error

    def _begin(self, request: Request) -> "Future[Voice]":
        """The voice of a request, which may take a while to be encoded."""
        try:
            return self._references.begin(_wanted(request))
        except KernelPortError as error:
            failed: Future[Voice] = Future()
            failed.set_exception(error)
            return failed


class _Spoken(Utterance):
    """A text on its way to speech.

    Attributes:
        owner: its number among the utterances of this backend.
        coming: the passes behind `following`; None until its first step.
        following: the pass of the next piece.
        file: what its sound is written to, if it is to come as a file.
        spans: of its pieces.
    """

    def __init__(
        self,
        request: Request,
        first: int,
        owner: int,
        audio_format: str | None,
        begin: Callable[[], "Future[Voice]"],
    ) -> None:
        # A file is written from its beginning, and so are places counted: what was sent before is made again.
        super().__init__(request, first if audio_format is None and SPANS not in request.outputs else 0)
        self.spans = Spans(request.outputs)
        self.owner = owner
        self.coming: Iterator[Pass] | None = None
        self.following: Pass | None = None
        self.file = None if audio_format is None else _File(audio_format)
        self._begin = begin

    @cached_property
    def voice(self) -> "Future[Voice]":
        """What it is spoken with: asked for when somebody looks."""
        return self._begin()

    @property
    def is_ready(self) -> bool:
        return self.voice.done()

    @property
    def kept_bytes(self) -> int:
        return 0 if self.file is None else self.file.size


class _File:
    """A file of speech that is written as it is made."""

    def __init__(self, audio_format: str) -> None:
        container, encoding = FORMATS[audio_format]
        self._bytes = io.BytesIO()
        self._file = soundfile.SoundFile(self._bytes, "w", OUTPUT_SAMPLE_RATE, 1, encoding, format=container)

    def write(self, samples: Array) -> None:
        """Adds samples, F32[S]."""
        # In pieces: some encoders put on the stack what they are given at once.
        for start in range(0, len(samples), OUTPUT_SAMPLE_RATE):
            self._file.write(samples[start : start + OUTPUT_SAMPLE_RATE])

    @property
    def size(self) -> int:
        """How many bytes have been written so far."""
        return self._bytes.getbuffer().nbytes

    def finish(self) -> Array:
        """The bytes of the whole file, U8[B]."""
        self._file.close()
        return np.frombuffer(self._bytes.getvalue(), np.uint8)


def _frame(spoken: _Spoken, item: "Pass | None", sound: "Audio | LuxTTSError | None") -> Frame | KernelPortError:
    """A piece as its caller gets it, as samples; or else as a file, which comes with the last.

    Args:
        item, sound: None where nothing is left to say.
    """
    if isinstance(sound, LuxTTSError):
        return _error(sound, "text")
    samples = np.empty(0, np.float32) if sound is None else sound.samples
    for warning in () if sound is None else sound.warnings:
        spoken.request.warn(warning)
    index, spoken.next_index, spoken.is_done = spoken.next_index, spoken.next_index + 1, spoken.following is None
    outputs: Outputs = {"audio": samples, "sample_rate": np.array([OUTPUT_SAMPLE_RATE], np.int32)}
    if item is not None:
        behind = "" if spoken.is_done else "\n" if item.ends_paragraph else " "
        outputs |= spoken.spans.of(item.text, behind, samples.size)
    if spoken.file is not None:
        spoken.file.write(samples)
        encoded = spoken.file.finish() if spoken.is_done else np.empty(0, np.uint8)
        outputs |= {"audio": np.empty(0, np.float32), "audio_file": encoded}
    return Frame(index, outputs, samples.size / OUTPUT_SAMPLE_RATE, spoken.is_done)


def _wanted(request: Request) -> Wanted:
    """The voice that a request asks for."""
    inputs = request.inputs
    parameters = (number(inputs, "rms", 0.01), number(inputs, "ref_duration", 5), flag(inputs, "upstream"))
    name, transcript = text(inputs, "voice"), text(inputs, "prompt_text")
    if name is not None:
        for other in ("prompt_audio", "prompt_text"):
            if other in inputs:
                raise invalid(other, "expected none beside `voice`, which has a recording and a transcript")
        return Wanted(*parameters, tenant=request.tenant, name=name)
    if "prompt_audio" not in inputs:
        raise invalid("prompt_audio", "expected a recording, or else `voice`, the name of a registered one")
    if transcript is not None and len(transcript) > MAX_PROMPT_TEXT:
        raise invalid("prompt_text", f"expected at most {MAX_PROMPT_TEXT} characters, got {len(transcript)}")
    return Wanted(*parameters, audio=inputs["prompt_audio"].tobytes(), transcript=transcript)


def _format_of(inputs: Mapping[str, Array]) -> str | None:
    audio_format = text(inputs, "audio_format")
    if audio_format is not None and audio_format not in FORMATS:
        raise invalid("audio_format", f"expected one of {', '.join(FORMATS)}, got {audio_format!r}")
    return audio_format


def _error(error: LuxTTSError, field: str) -> KernelPortError:
    """The engine's error as its caller sees it; inputs are named alike on both sides.

    Args:
        field: the input at fault where the error does not say: what needs a package that is not installed.
    """
    if isinstance(error, InvalidInputError):
        return invalid(error.field, error.reason)
    if isinstance(error, DependencyError):
        return invalid(field, f"this worker lacks a package: {error}")
    if isinstance(error, NotHeardError):
        return UnavailableError(str(error))
    return InternalError(f"luxtts failed: {error}")
