"""English text to speech with the package `hibari-tts`, on the CPU."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from kernelport.deployments import Deployment
from kernelport.errors import (
    FieldViolation,
    InternalError,
    InvalidArgumentError,
    KernelPortError,
    in_words,
    install_hint,
)
from kernelport.manifests import ModelFilesError
from kernelport.signature import Signature, tensor_spec
from kernelport.tensors import Array
from kernelport.v1 import inference_pb2 as pb
from kernelport_workers.backends.base import Backend, LoadError, Outputs, Request

MAX_CHARACTERS = 100_000
MIN_SPEED, MAX_SPEED = 0.5, 2.0
# What the model speaks in one piece. Its time and memory grow with the square of the length.
MAX_PHONEMES = 400


class HibariPipeline(Backend):
    """Speaks UTF-8 text: the voice in the manifest's file of role `model`, or without a manifest the packaged one.

    Inputs:
        text: U8[N], UTF-8, at most 100,000 characters.
        speed: F32[1], 0.5 (slow) to 2.0 (fast), default 1.
        seed: I64[1], at least 0, default 0. It picks the noise in the voice: the same text, speed and seed give the
            same bytes.

    Outputs:
        audio: F32[S], mono, -1 to 1.
        sample_rate: I32[1], 24000 Hz.
    """

    requirements: ClassVar[Mapping[str, str]] = {"hibari": install_hint("hibari")}
    device = "cpu"
    signature = Signature(
        inputs=[
            tensor_spec("text", pb.U8, ["bytes"], description="UTF-8", max_characters=MAX_CHARACTERS),
            tensor_spec(
                "speed", pb.F32, [1], optional=True, description="default 1", minimum=MIN_SPEED, maximum=MAX_SPEED
            ),
            tensor_spec("seed", pb.I64, [1], optional=True, description="default 0", minimum=0),
        ],
        outputs=[
            tensor_spec("audio", pb.F32, ["samples"], description="mono"),
            tensor_spec("sample_rate", pb.I32, [1], description="in Hz"),
        ],
    )

    def __init__(self, tts: Any) -> None:
        self._tts = tts

    @classmethod
    def load(cls, deployment: Deployment) -> Self:
        """Loads the voice and speaks a few words.

        Raises:
            LoadError: the device names CUDA, or the voice's file is missing or cannot be loaded.
        """
        from hibari import Hibari

        if deployment.device not in ("cpu", "auto"):
            raise LoadError(f"hibari runs on the CPU; use device cpu or auto, not {deployment.device}")
        try:
            model = deployment.manifest.resolve().get("model") if deployment.manifest else None
        except ModelFilesError as error:
            raise LoadError(str(error)) from error
        try:
            tts = Hibari(model=str(model) if model else None, threads=1)
            tts("Warm up.", seed=0)
        # ONNX Runtime's exceptions have no common base but Exception.
        except Exception as error:
            raise LoadError(f"hibari cannot load its voice: {in_words(error)}") from error
        return cls(tts)

    def run(self, requests: Sequence[Request]) -> list[Outputs | KernelPortError]:
        """Speaks one text after the other, asking between sentences whether the answer is still wanted. An item whose
        inputs are out of range yields InvalidArgumentError, with a violation that names the tensor."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Outputs | KernelPortError:
        try:
            return self._speak(request)
        except KernelPortError as error:
            return error
        # One text that the voice cannot speak must not fail its mates; ONNX Runtime's exceptions have no other base.
        except Exception as error:
            return InternalError(f"hibari failed: {in_words(error)}")

    def _speak(self, request: Request) -> Outputs:
        text, speed, seed = _text(request.inputs), _speed(request.inputs), _seed(request.inputs)
        rng = np.random.default_rng(seed)
        audio = []
        for phonemes in self._pieces(text):
            request.check()
            audio.append(self._tts.from_ids(self._tts.ids(phonemes), speed, rng))
        return {"audio": np.concatenate(audio), "sample_rate": np.array([self._tts.sample_rate], np.int32)}

    def _pieces(self, text: str) -> list[str]:
        """The phonemes of the text's sentences; those too long for the model are cut between words."""
        try:
            sentences = self._tts.phonemize(text)
        except IndexError as error:
            raise _invalid("text", "expected numbers of at most 36 digits") from error
        if not any(symbol.isalpha() for sentence in sentences for symbol in sentence):
            raise _invalid("text", "expected text with something to say, such as a word or a number")
        return [
            piece
            for sentence in sentences
            for piece in ([sentence] if len(sentence) <= MAX_PHONEMES else textwrap.wrap(sentence, MAX_PHONEMES))
        ]


def _text(inputs: Mapping[str, Array]) -> str:
    try:
        text = inputs["text"].tobytes().decode()
    except UnicodeDecodeError as error:
        raise _invalid("text", f"expected UTF-8: {error.reason} at byte {error.start}") from error
    if len(text) > MAX_CHARACTERS:
        raise _invalid("text", f"expected at most {MAX_CHARACTERS:,} characters, got {len(text):,}")
    return text


def _speed(inputs: Mapping[str, Array]) -> float:
    speed = float(inputs["speed"].item()) if "speed" in inputs else 1.0
    if not MIN_SPEED <= speed <= MAX_SPEED:
        raise _invalid("speed", f"expected {MIN_SPEED} to {MAX_SPEED}, got {speed:g}")
    return speed


def _seed(inputs: Mapping[str, Array]) -> int:
    seed = int(inputs["seed"].item()) if "seed" in inputs else 0
    if seed < 0:
        raise _invalid("seed", f"expected at least 0, got {seed}")
    return seed


def _invalid(name: str, description: str) -> InvalidArgumentError:
    return InvalidArgumentError.of([FieldViolation(f'inputs["{name}"]', description)])
