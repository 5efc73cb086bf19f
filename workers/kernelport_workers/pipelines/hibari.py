"""English text to speech with the package `hibari-tts`, on the CPU."""

import re
import textwrap
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
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
from kernelport_workers.words import MAX_WORD, cut_words

MAX_CHARACTERS = 100_000
MIN_SPEED, MAX_SPEED = 0.5, 2.0
# What the model speaks in one piece. Its time and memory grow with the square of the length.
MAX_PHONEMES = 400
# Of a sentence that is made into phonemes at once. Longer ones than people write are cut between words.
MAX_SENTENCE = 1_000
# Of one answer: as much as the longest text takes at the slowest speed, and no text of signs that sound like words.
MAX_HOURS = 4
# How many different characters of a text are looked at, and how many others beside them, for whether they are spoken.
_LOOKED_AT, _AROUND = 100, 20
_SHOWN = 20
_LONG_NUMBER = re.compile(rf"\d{{{MAX_WORD + 1}}}")
_LINK = re.compile(r"\[([^\]]+)\]\(")


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
        audio: list[Array] = []
        left = MAX_HOURS * 3600 * self._tts.sample_rate
        for phonemes in self._pieces(text, request.check):
            request.check()
            audio.append(self._tts.from_ids(self._tts.ids(phonemes), speed, rng))
            left -= audio[-1].size
            if left < 0:
                raise _invalid("text", f"expected at most {MAX_HOURS} hours of speech")
        if unspoken := "".join(islice(self._unspoken(text), _SHOWN)):
            request.warn(f"text: left out what cannot be spoken: {unspoken}")
        return {"audio": np.concatenate(audio), "sample_rate": np.array([self._tts.sample_rate], np.int32)}

    def _pieces(self, text: str, check: Callable[[], None]) -> Iterator[str]:
        """The phonemes of the text's sentences, made as they are needed; those too long for the model are cut between
        words."""
        if _LONG_NUMBER.search(text):
            raise _invalid("text", f"expected numbers of at most {MAX_WORD} digits")
        has_words = False
        for sentence in self._tts.split_sentences(cut_words(text)):
            for part in _parts(sentence):
                check()
                for phonemes in self._tts.phonemize(part):
                    has_words |= any(map(str.isalpha, phonemes))
                    yield from [phonemes] if len(phonemes) <= MAX_PHONEMES else textwrap.wrap(phonemes, MAX_PHONEMES)
        if not has_words:
            raise _invalid("text", "expected text with something to say, such as a word or a number")

    def _unspoken(self, text: str) -> Iterator[str]:
        """The letters, digits and pictures without which the voice would say the same, each once."""
        if text.isascii():
            return
        unusual = (each for each in dict.fromkeys(text) if not each.isascii() and _should_be_heard(each))
        for character in islice(unusual, _LOOKED_AT):
            first = text.index(character)
            near = text[max(0, first - _AROUND) : first + _AROUND]
            if self._sounds(near) == self._sounds(near.replace(character, " ")):
                yield character

    def _sounds(self, text: str) -> str:
        return "".join(symbol for sentence in self._tts.phonemize(text) for symbol in sentence if symbol.isalpha())


def _parts(sentence: str) -> list[str]:
    """A sentence, or what can be phonemised of one at a time."""
    parts = [sentence]
    if len(sentence) > MAX_SENTENCE:
        parts = textwrap.wrap(sentence, MAX_SENTENCE, break_on_hyphens=False)
    return [_LINK.sub(_short_link, part) for part in parts]


def _short_link(link: re.Match[str]) -> str:
    """The beginning of a link `[text](target)`; no link if its text, which the voice reads as one word, is overlong."""
    return link[0] if len(link[1]) <= MAX_WORD else f"{link[0][:-1]} ("


def _should_be_heard(character: str) -> bool:
    kind = unicodedata.category(character)
    return kind[0] in "LN" or kind == "So"


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
