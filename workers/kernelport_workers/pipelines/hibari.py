"""English text to speech with the package `hibari-tts`, on the CPU."""

import re
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from kernelport.config.deployments import Deployment
from kernelport.config.manifests import ModelFilesError
from kernelport.errors import FieldViolation, InvalidArgumentError, KernelPortError, in_words, install_hint
from kernelport.signature import Signature, tensor_spec
from kernelport.speech_pace import letters
from kernelport.tensors import Array
from kernelport.text import (
    LOCALES,
    NO_LEXICON,
    Lexicon,
    LexiconError,
    Locale,
    Piece,
    locale_named,
    passages_of,
    pieces,
    spoken_passages,
    unsaid,
)
from kernelport.text.pieces import CUT_S
from kernelport.v1 import inference_pb2 as pb
from kernelport_workers.backends.base import LoadError, Request
from kernelport_workers.backends.stepped import Frame, SteppedBackend, Utterance, from_index
from kernelport_workers.pipelines.hibari_sound import sound_of
from kernelport_workers.speech import lexicons
from kernelport_workers.speech.joins import joinable, silence
from kernelport_workers.speech.long_words import MAX_WORD, cut_words
from kernelport_workers.speech.spans import SPANS, SPECS, SPOKEN, Spans

MAX_CHARACTERS = 100_000
MIN_SPEED, MAX_SPEED = 0.5, 2.0
# What the model speaks at once. Its time and memory grow with the square of the length.
MAX_PHONEMES = 400
# Of one answer: as much as the longest text takes at the slowest speed, and no text of signs that sound like words.
MAX_HOURS = 4
# What a voice that is loaded speaks to measure its pace.
_MEASURED = "The river turned slowly past the old mills, and nobody counted the boats. " * 4
_LONG_NUMBER = re.compile(rf"\d{{{MAX_WORD + 1}}}")
_CLAUSE = re.compile(r"(?<=[,;:—])\s+")
# Alone, the package takes an A for the article and AM for the verb.
_LETTERS = re.compile(r"\b(?:AM|[A-Z](?: [A-Z]){1,9})\b")


class HibariPipeline(SteppedBackend):
    """Speaks UTF-8 text: the voice in the manifest's file of role `model`, or without a manifest the packaged one.

    Inputs:
        text: U8[N], UTF-8, at most 100,000 characters.
        speed: F32[1], 0.5 (slow) to 2.0 (fast), default 1.
        locale: U8[N], en-US or en-GB: how dates are read and numbers said; by default the manifest's option `locale`,
            or else en-US.
        lexicon: U8[N], UTF-8, at most 64,000 characters: words that are read otherwise, a line each, as
            `kernelport.text.Lexicon.parse` reads it. It goes before the manifest's option `lexicon`.
        seed: I64[1], at least 0, default 0. It picks the noise in the voice: the same text, speed and seed give the
            same bytes, whole or in pieces.

    Outputs:
        audio: F32[S], mono, -1 to 1.
        sample_rate: I32[1], 24000 Hz.
        spoken: U8[N], if it is asked for: the words as read, UTF-8, a line for each paragraph.
        spans: I32[P, 4], if they are asked for: of each piece the characters of `text` from which to which it goes,
            its first sample and the one behind its last, of the whole utterance. A pause belongs to the piece before.
    """

    requirements: ClassVar[Mapping[str, str]] = {"hibari": install_hint("hibari")}
    joined = frozenset({"audio", SPOKEN, SPANS})
    device = "cpu"
    outputs_stay = True
    signature = Signature(
        inputs=[
            tensor_spec(
                "text",
                pb.U8,
                ["bytes"],
                description="UTF-8",
                max_characters=MAX_CHARACTERS,
                max_digits=MAX_WORD,
                languages=["en"],
            ),
            tensor_spec("speed", pb.F32, [1], optional=True, default=1, minimum=MIN_SPEED, maximum=MAX_SPEED),
            tensor_spec("locale", pb.U8, ["bytes"], optional=True, choices=LOCALES),
            tensor_spec("seed", pb.I64, [1], optional=True, default=0, minimum=0),
            lexicons.SPEC,
        ],
        outputs=[
            tensor_spec("audio", pb.F32, ["samples"], description="mono"),
            tensor_spec("sample_rate", pb.I32, [1], description="in Hz"),
            *SPECS,
        ],
    )

    def __init__(self, tts: Any, locale: Locale = "en-US", lexicon: Lexicon = NO_LEXICON) -> None:
        self._tts = tts
        self._locale = locale
        self._lexicon = lexicon

    @classmethod
    def load(cls, deployment: Deployment) -> Self:
        """Loads the voice and speaks a few words.

        Raises:
            LoadError: the device names CUDA, an option is wrong, or the voice's file is missing or cannot be loaded.
        """
        from hibari import Hibari

        if deployment.device not in ("cpu", "auto"):
            raise LoadError(f"hibari runs on the CPU; use device cpu or auto, not {deployment.device}")
        options = deployment.manifest.options if deployment.manifest else {}
        if unknown := options.keys() - {"locale", "lexicon"}:
            raise LoadError(f"options: expected locale or lexicon, got {', '.join(sorted(unknown))}")
        try:
            locale = locale_named(options.get("locale", "en-US"))
        except ValueError as error:
            raise LoadError(f"options.locale: {error}") from error
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
        try:
            lexicon = lexicons.deployed(options, tts.vocab)
        except LexiconError as error:
            raise LoadError(f"options.lexicon: {error}") from error
        pipeline = cls(tts, locale, lexicon)
        pipeline._measure()
        return pipeline

    def _measure(self) -> None:
        """Measures how long a letter takes, whatever else runs on this machine while models are loaded."""
        began = time.thread_time()  # all that it computes is computed in this thread
        self.run([Request({"text": np.frombuffer(_MEASURED.encode(), np.uint8)})])
        self.pace.note(letters(_MEASURED.encode(), {}), time.thread_time() - began)

    def open(self, request: Request, first: int = 0) -> Utterance:
        """Reads a text, of which the pieces are cut and phonemised as they are due.

        Raises:
            InvalidArgumentError: when an input is out of range, with a violation that names the tensor.
        """
        inputs = request.inputs
        speed, seed = _speed(inputs), _seed(inputs)
        clean = passages_of(_text(inputs))
        if clean.warning:
            request.warn(f"text: {clean.warning}")
        try:
            lexicon = lexicons.given(inputs, self._lexicon, self._tts.vocab)
        except LexiconError as error:
            raise _invalid("lexicon", str(error)) from error
        coming = pieces(spoken_passages(clean, _locale(inputs, self._locale), lexicon))
        utterance = _Spoken(request, first, coming, lexicon, speed, seed, self._tts.sample_rate)
        if utterance.is_done and first == 0:
            raise _invalid("text", unsaid(clean))
        return utterance

    def step(self, utterances: Sequence[Utterance]) -> list[Frame | KernelPortError]:
        """Speaks the next piece of each, one after the other."""
        return [self._speak(utterance) for utterance in utterances if isinstance(utterance, _Spoken)]

    def _speak(self, utterance: "_Spoken") -> Frame | KernelPortError:
        index = utterance.next_index
        rng = np.random.default_rng((utterance.seed, index))
        rate = self._tts.sample_rate
        sounds = [
            sound_of(self._tts, part, utterance.speed, rng)
            for part in _fitting(self._phonemes(utterance.piece.text.text, utterance.lexicon))
        ]
        piece = utterance.piece
        spoken = [joinable(sound, CUT_S, rate) for sound in sounds[:-1]]
        spoken += [joinable(sound, piece.pause_s, rate) for sound in sounds[-1:]]
        # A pause that is asked for ahead of all words is a piece without any.
        audio = np.concatenate(spoken) if spoken else silence(piece.pause_s, rate)
        if not utterance.take(audio.size):
            return _invalid("text", f"expected at most {MAX_HOURS} hours of speech")
        behind = "" if utterance.is_done else "\n" if piece.ends_paragraph else " "
        told = utterance.spans.of(piece.text, behind, audio.size)
        outputs = {"audio": audio, "sample_rate": np.array([rate], np.int32), **told}
        return Frame(index, outputs, audio.size / rate, utterance.is_done)

    def _phonemes(self, text: str, lexicon: Lexicon) -> str:
        text = _LETTERS.sub(lambda letters: ".".join(letters[0].replace(" ", "")), cut_words(text))
        # The package's way to write a word with its phonemes.
        text = "".join(f"[{part}](/{own}/)" if own else part for part, own in lexicon.parts(text))
        # Its own normaliser would read "He said no." as "He said number."
        phonemes: str = self._tts.g2p(text, normalize_text=False)
        return phonemes


class _Spoken(Utterance):
    """A text on its way to speech.

    Attributes:
        piece: the next one.
        spans: of its pieces.
    """

    def __init__(
        self,
        request: Request,
        first: int,
        coming: Iterator[Piece],
        lexicon: Lexicon,
        speed: float,
        seed: int,
        sample_rate: int,
    ) -> None:
        # Where a piece lies in the whole follows from those before it, which are made again: callers get none twice.
        first = 0 if SPANS in request.outputs else first
        super().__init__(request, first)
        self.spans = Spans(request.outputs)
        self.lexicon = lexicon
        self.speed = speed
        self.seed = seed
        self._coming = from_index(coming, first)
        self._left = MAX_HOURS * 3600 * sample_rate
        self._advance()

    def take(self, samples: int) -> bool:
        """The next piece has been spoken; False when that makes it more than may be."""
        self._left -= samples
        self.next_index += 1
        self._advance()
        return self._left >= 0

    def _advance(self) -> None:
        following = next(self._coming, None)
        self.is_done = following is None
        if following is not None:
            self.piece = following


def _fitting(phonemes: str) -> list[str]:
    """Phonemes in parts that the model speaks at once, cut between clauses where that is enough."""
    if len(phonemes) <= MAX_PHONEMES:
        return [phonemes] if phonemes else []
    fitting = [""]
    for clause in _CLAUSE.split(phonemes):
        for part in textwrap.wrap(clause, MAX_PHONEMES):
            if len(fitting[-1]) + len(part) < MAX_PHONEMES:
                fitting[-1] = f"{fitting[-1]} {part}".lstrip()
            else:
                fitting.append(part)
    return list(filter(None, fitting))


def _text(inputs: Mapping[str, Array]) -> str:
    try:
        text = inputs["text"].tobytes().decode()
    except UnicodeDecodeError as error:
        raise _invalid("text", f"expected UTF-8: {error.reason} at byte {error.start}") from error
    if len(text) > MAX_CHARACTERS:
        raise _invalid("text", f"expected at most {MAX_CHARACTERS:,} characters, got {len(text):,}")
    if _LONG_NUMBER.search(text):
        raise _invalid("text", f"expected numbers of at most {MAX_WORD} digits")
    return text


def _locale(inputs: Mapping[str, Array], default: Locale) -> Locale:
    if "locale" not in inputs:
        return default
    try:
        return locale_named(inputs["locale"].tobytes().decode(errors="replace"))
    except ValueError as error:
        raise _invalid("locale", str(error)) from error


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
