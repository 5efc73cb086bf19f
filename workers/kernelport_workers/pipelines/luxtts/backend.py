"""Zero-shot voice cloning with the LuxTTS engine."""

import hashlib
import io
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import soundfile

from kernelport.broker.connections import connect
from kernelport.config.deployments import Deployment
from kernelport.config.manifests import ModelFilesError
from kernelport.config.settings import Settings
from kernelport.errors import InternalError, KernelPortError, in_words, install_hint
from kernelport.telemetry import logs
from kernelport.tensors import Array
from kernelport.text import Locale, locale_named
from kernelport_workers.backends.base import Backend, LoadError, Outputs, Request
from kernelport_workers.luxtts.errors import (
    CheckpointError,
    DependencyError,
    InvalidInputError,
    LuxTTSError,
    SynthesisError,
)
from kernelport_workers.pipelines.luxtts.inputs import FORMATS, MAX_PROMPT_TEXT, SIGNATURE, flag, invalid, number, text
from kernelport_workers.pipelines.luxtts.options import COMPUTE_OPTIONS, Options, choose_compute, choose_device
from kernelport_workers.pipelines.luxtts.references import References

if TYPE_CHECKING:
    from kernelport_workers.luxtts import Audio, Pipeline, Utterance, Voice

log = logging.getLogger(__name__)

REDIS_TIMEOUT_S = 3.0


@dataclass(frozen=True)
class _Spoken:
    """What a request asks for, ready for the engine."""

    utterance: "Utterance"
    audio_format: str | None


class LuxTTSPipeline(Backend):
    """Speaks UTF-8 text in the voice of a short recording.

    The manifest's files lie as in the published repository. On a GPU the role `model` runs on PyTorch. On the CPU the
    int8 graphs run on ONNX Runtime where the manifest names them, else PyTorch, else the float32 graphs. The manifest's
    `options` are those of `kernelport_workers.pipelines.luxtts.options`.
    """

    requirements: ClassVar[Mapping[str, str]] = dict.fromkeys(("torch", "safetensors"), install_hint("luxtts"))
    compute_options = COMPUTE_OPTIONS
    signature = SIGNATURE

    def __init__(
        self, engine: "Pipeline", device: str, compute_path: str, references: References, locale: Locale = "en-US"
    ) -> None:
        self._engine = engine
        self._locale = locale
        self._references = references
        self.device = device
        self.compute_path = compute_path

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
        compute = choose_compute(device, files)
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
        return cls(engine, device, ", ".join(filter(None, parts)), references, options.locale)

    def for_job(self, job: str) -> Self:
        return type(self)(self._engine, self.device, self.compute_path, self._references.for_job(job), self._locale)

    def run(self, requests: Sequence[Request]) -> list[Outputs | KernelPortError]:
        """Speaks a batch together; requests may differ in everything. One that fails, or that nobody waits for any
        more, yields its error; the work ends early when nobody waits for any."""
        answers: dict[int, Outputs | KernelPortError] = {}
        spoken: dict[int, _Spoken] = {}
        for index, request in enumerate(requests):
            try:
                request.check()
                spoken[index] = self._read(request.inputs)
            except KernelPortError as error:
                answers[index] = error
            except Exception as error:
                # A phonemizer or transcriber may raise anything, and only over one request.
                log.exception("a request cannot be prepared", extra=logs.WITHOUT_TEXT)
                answers[index] = InternalError(f"luxtts failed: {in_words(error)}")
        gone: dict[int, KernelPortError] = {}

        def check() -> None:
            for index in spoken.keys() - gone.keys():
                try:
                    requests[index].check()
                except KernelPortError as error:
                    gone[index] = error
            if len(gone) == len(spoken):
                raise next(iter(gone.values()))

        try:
            results = self._engine.synthesize([each.utterance for each in spoken.values()], check)
            for (index, each), result in zip(spoken.items(), results, strict=True):
                if isinstance(result, LuxTTSError):
                    answers[index] = _error(result, "text")
                    continue
                answers[index] = _outputs(result, each)
                for warning in result.warnings:
                    requests[index].warn(warning)
        except KernelPortError:
            if len(gone) < len(spoken):
                raise
        return [gone.get(index) or answers[index] for index in range(len(requests))]

    def _read(self, inputs: Mapping[str, Array]) -> _Spoken:
        from kernelport_workers.luxtts import Utterance

        audio_format = text(inputs, "audio_format")
        if audio_format is not None and audio_format not in FORMATS:
            raise invalid("audio_format", f"expected one of {', '.join(FORMATS)}, got {audio_format!r}")
        upstream = flag(inputs, "upstream")
        smooth = flag(inputs, "return_smooth")
        try:
            utterance = Utterance(
                text=text(inputs, "text") or "",
                voice=self._voice(inputs, upstream),
                seed=int(inputs["seed"].item()) if "seed" in inputs else 0,
                num_steps=int(number(inputs, "num_steps", 4)),
                t_shift=number(inputs, "t_shift", 0.9),
                speed=number(inputs, "speed", 1.0),
                return_smooth=smooth,
                upstream=upstream,
                locale=self._locale_of(inputs),
            )
            utterance.validate()
        except LuxTTSError as error:
            raise _error(error, "prompt_text") from error
        return _Spoken(utterance, audio_format)

    def _locale_of(self, inputs: Mapping[str, Array]) -> Locale:
        name = text(inputs, "locale")
        if name is None:
            return self._locale
        try:
            return locale_named(name)
        except ValueError as error:
            raise invalid("locale", str(error)) from error

    def _voice(self, inputs: Mapping[str, Array], upstream: bool) -> "Voice":
        parameters = (number(inputs, "rms", 0.01), number(inputs, "ref_duration", 5), upstream)
        name, transcript = text(inputs, "voice"), text(inputs, "prompt_text")
        if name is not None:
            for other in ("prompt_audio", "prompt_text"):
                if other in inputs:
                    raise invalid(other, "expected none beside `voice`, which has a recording and a transcript")
            return self._references.registered(name, *parameters)
        if "prompt_audio" not in inputs:
            raise invalid("prompt_audio", "expected a recording, or else `voice`, the name of a registered one")
        if transcript is not None and len(transcript) > MAX_PROMPT_TEXT:
            raise invalid("prompt_text", f"expected at most {MAX_PROMPT_TEXT} characters, got {len(transcript)}")
        return self._references.given(inputs["prompt_audio"].tobytes(), transcript, *parameters)


def _outputs(result: "Audio", spoken: _Spoken) -> Outputs:
    """The speech as samples, or else as a file: both would pass the 4 MiB that gRPC clients take unless told more."""
    rate = np.array([result.sample_rate], np.int32)
    if spoken.audio_format is None:
        return {"audio": result.samples, "sample_rate": rate}
    container, encoding = FORMATS[spoken.audio_format]
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", result.sample_rate, 1, encoding, format=container) as file:
        # In pieces: some encoders put on the stack what they are given at once.
        for start in range(0, len(result.samples), result.sample_rate):
            file.write(result.samples[start : start + result.sample_rate])
    encoded = np.frombuffer(buffer.getvalue(), np.uint8)
    return {"audio": np.empty(0, np.float32), "sample_rate": rate, "audio_file": encoded}


def _error(error: LuxTTSError, field: str) -> KernelPortError:
    """The engine's error as its caller sees it; inputs are named alike on both sides.

    Args:
        field: the input at fault where the error does not say: what needs a package that is not installed.
    """
    if isinstance(error, InvalidInputError):
        return invalid(error.field, error.reason)
    if isinstance(error, DependencyError):
        return invalid(field, f"this worker lacks a package: {error}")
    return InternalError(f"luxtts failed: {error}")
