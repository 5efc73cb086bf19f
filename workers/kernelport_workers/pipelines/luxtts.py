"""Zero-shot voice cloning with the LuxTTS engine."""

import importlib.util
import io
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import soundfile

from kernelport.deployments import Deployment
from kernelport.errors import FieldViolation, InternalError, InvalidArgumentError, KernelPortError
from kernelport.manifests import ModelFilesError
from kernelport.signature import Signature, tensor_spec
from kernelport.tensors import Array
from kernelport.v1 import inference_pb2 as pb
from kernelport_workers.backends.base import Backend, LoadError, Outputs, Request
from kernelport_workers.luxtts.errors import (
    CheckpointError,
    DependencyError,
    InvalidInputError,
    LuxTTSError,
    SynthesisError,
)

if TYPE_CHECKING:
    from kernelport_workers.luxtts import Audio, Pipeline, Utterance, Voice
    from kernelport_workers.luxtts.pipeline import ComputePath

CACHED_VOICES = 256
# How soundfile names the container and the encoding of each `audio_format`.
FORMATS = {"wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16"), "ogg": ("OGG", "OPUS"), "mp3": ("MP3", None)}

_INSTALL = "pip install 'kernelport[luxtts]'"
_FLAGS = {"return_smooth", "upstream"}


@dataclass(frozen=True)
class _Spoken:
    """What a request asks for, ready for the engine."""

    utterance: "Utterance"
    audio_format: str | None


class LuxTTSPipeline(Backend):
    """Speaks UTF-8 text in the voice of a short recording.

    The manifest's files lie as in the published repository. On a GPU the role `model` runs on PyTorch. On the CPU the
    fastest graphs that the manifest names run on ONNX Runtime: `fm_decoder_int8`, then `fm_decoder`; else PyTorch runs
    `model`.

    An encoded voice is kept by the content of its recording, so a repeated one costs next to nothing.
    """

    requirements: ClassVar[Mapping[str, str]] = dict.fromkeys(("torch", "safetensors", "soxr"), _INSTALL)
    signature = Signature(
        inputs=[
            tensor_spec("text", pb.U8, ["bytes"], description="UTF-8, at most 100,000 characters"),
            tensor_spec("prompt_audio", pb.U8, ["bytes"], description="a WAV, MP3, FLAC or OGG file"),
            tensor_spec("prompt_text", pb.U8, ["bytes"], optional=True, description="what the recording says, UTF-8"),
            tensor_spec("rms", pb.F32, [1], optional=True, description="over 0 to 1, default 0.01"),
            tensor_spec("t_shift", pb.F32, [1], optional=True, description="0.01 to 10, default 0.9"),
            tensor_spec("num_steps", pb.I32, [1], optional=True, description="1 to 64, default 4"),
            tensor_spec("speed", pb.F32, [1], optional=True, description="0.25 to 4, default 1"),
            tensor_spec("return_smooth", pb.I32, [1], optional=True, description="0 or 1, default 0"),
            tensor_spec("ref_duration", pb.I32, [1], optional=True, description="1 to 30 seconds, default 5"),
            tensor_spec("seed", pb.I64, [1], optional=True, description="at least 0, default 0"),
            tensor_spec("audio_format", pb.U8, ["bytes"], optional=True, description=", ".join(FORMATS)),
            tensor_spec("upstream", pb.I32, [1], optional=True, description="0 or 1, default 0"),
        ],
        outputs=[
            tensor_spec("audio", pb.F32, ["samples"], description="mono"),
            tensor_spec("sample_rate", pb.I32, [1], description="48000 Hz"),
            tensor_spec("audio_file", pb.U8, ["bytes"], optional=True, description="with audio_format"),
        ],
    )

    def __init__(self, engine: "Pipeline", device: str) -> None:
        self._engine = engine
        self.device = device
        self._voices: OrderedDict[str, Voice] = OrderedDict()

    @classmethod
    def load(cls, deployment: Deployment) -> Self:
        """Loads the checkpoint and runs one short pass.

        Raises:
            LoadError: a file is missing or malformed, a package is missing, or the device cannot be used.
        """
        from kernelport_workers.luxtts import Pipeline
        from kernelport_workers.luxtts.transcribe import FasterWhisper

        if deployment.manifest is None:
            raise LoadError(f"{deployment.name}: luxtts needs a manifest")
        try:
            files = deployment.manifest.resolve()
        except ModelFilesError as error:
            raise LoadError(f"{deployment.name}: {error}") from error
        if "config" not in files:
            raise LoadError(f"{deployment.name}: the manifest names no file of role `config`")
        device = _device(deployment.device, files)
        try:
            engine = Pipeline.load(
                files["config"].parent,
                device=device,
                compute="torch" if device != "cpu" else _compute(files),
                transcriber=FasterWhisper() if importlib.util.find_spec("faster_whisper") else None,
            )
            engine.warm_up()
        except (CheckpointError, DependencyError, InvalidInputError, SynthesisError) as error:
            raise LoadError(f"{deployment.name}: {error}") from error
        return cls(engine, device)

    def run(self, requests: Sequence[Request]) -> list[Outputs | KernelPortError]:
        """Speaks a batch together; requests may differ in everything. One that fails, or that nobody waits for any
        more, yields its error; the work ends early when nobody waits for any."""
        answers: dict[int, Outputs | KernelPortError] = {}
        spoken: dict[int, _Spoken] = {}
        for index, request in enumerate(requests):
            try:
                spoken[index] = self._read(request.inputs)
            except KernelPortError as error:
                answers[index] = error
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
                answers[index] = _error(result) if isinstance(result, LuxTTSError) else _outputs(result, each)
        except KernelPortError:
            if len(gone) < len(spoken):
                raise
        return [gone.get(index) or answers[index] for index in range(len(requests))]

    def _read(self, inputs: Mapping[str, Array]) -> _Spoken:
        from kernelport_workers.luxtts import Utterance

        for name in _FLAGS:
            if _number(inputs, name, 0) not in (0, 1):
                raise _invalid(name, f"expected 0 or 1, got {_number(inputs, name, 0):g}")
        audio_format = _text(inputs, "audio_format") if "audio_format" in inputs else None
        if audio_format is not None and audio_format not in FORMATS:
            raise _invalid("audio_format", f"expected one of {', '.join(FORMATS)}, got {audio_format!r}")
        upstream = bool(_number(inputs, "upstream", 0))
        try:
            utterance = Utterance(
                text=_text(inputs, "text"),
                voice=self._voice(inputs, upstream),
                seed=int(inputs["seed"].item()) if "seed" in inputs else 0,
                num_steps=int(_number(inputs, "num_steps", 4)),
                t_shift=_number(inputs, "t_shift", 0.9),
                speed=_number(inputs, "speed", 1.0),
                return_smooth=bool(_number(inputs, "return_smooth", 0)),
                upstream=upstream,
            )
            utterance.validate()
        except LuxTTSError as error:
            raise _error(error) from error
        return _Spoken(utterance, audio_format)

    def _voice(self, inputs: Mapping[str, Array], upstream: bool) -> "Voice":
        from kernelport_workers.luxtts import voice_key

        recording = inputs["prompt_audio"].tobytes()
        transcript = _text(inputs, "prompt_text") if "prompt_text" in inputs else None
        rms, seconds = _number(inputs, "rms", 0.01), _number(inputs, "ref_duration", 5)
        key = voice_key(recording, transcript, rms, seconds, upstream)
        if key not in self._voices:
            self._voices[key] = self._engine.encode_prompt(
                recording, transcript, seconds=seconds, rms=rms, upstream=upstream
            )
            if len(self._voices) > CACHED_VOICES:
                self._voices.popitem(last=False)
        self._voices.move_to_end(key)
        return self._voices[key]


def _device(name: str, files: Mapping[str, Path]) -> str:
    import torch

    if name == "cpu":
        return name
    if name == "auto":
        return "cuda:0" if torch.cuda.is_available() and "model" in files else "cpu"
    if not torch.cuda.is_available():
        raise LoadError(f"device {name}: torch {torch.__version__} sees no CUDA device; use cpu or auto")
    if "model" not in files:
        raise LoadError(f"device {name}: a GPU runs the manifest's file of role `model`, and there is none")
    return "cuda:0" if name == "cuda" else name


def _compute(files: Mapping[str, Path]) -> "ComputePath":
    if "fm_decoder_int8" in files:
        return "onnx-int8"
    return "onnx" if "fm_decoder" in files else "torch"


def _outputs(result: "Audio", spoken: _Spoken) -> Outputs:
    outputs: Outputs = {"audio": result.samples, "sample_rate": np.array([result.sample_rate], np.int32)}
    if spoken.audio_format:
        container, encoding = FORMATS[spoken.audio_format]
        buffer = io.BytesIO()
        soundfile.write(buffer, result.samples, result.sample_rate, format=container, subtype=encoding)
        outputs["audio_file"] = np.frombuffer(buffer.getvalue(), np.uint8)
    return outputs


def _number(inputs: Mapping[str, Array], name: str, default: float) -> float:
    # A default is the number that a caller's F32 tensor would hold.
    return float(inputs[name].item() if name in inputs else np.float32(default))


def _text(inputs: Mapping[str, Array], name: str) -> str:
    try:
        return inputs[name].tobytes().decode()
    except UnicodeDecodeError as error:
        raise _invalid(name, f"expected UTF-8: {error.reason} at byte {error.start}") from error


def _error(error: LuxTTSError) -> KernelPortError:
    """The engine's error as its caller sees it; inputs are named alike on both sides."""
    if isinstance(error, InvalidInputError):
        return _invalid(error.field, error.reason)
    return InternalError(f"luxtts failed: {error}")


def _invalid(name: str, description: str) -> InvalidArgumentError:
    return InvalidArgumentError.of([FieldViolation(f'inputs["{name}"]', description)])
