"""Text to token ids: segmentation by language, English phonemes, Chinese syllables.

English needs an espeak phonemizer (``piper-phonemize``, which carries GPL-3.0 code) and Chinese needs ``jieba``,
``pypinyin`` and ``cn2an``; all are optional and imported on first use.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import re
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from kernelport.text import NO_LEXICON, Aligned, Lexicon, Locale, Passage, Reading, passages_of, verbalised_parts
from kernelport_workers.luxtts.chinese import numbers_read, with_units
from kernelport_workers.luxtts.errors import DependencyError, TextError
from kernelport_workers.luxtts.marks import leading_mark, plain_marks
from kernelport_workers.luxtts.normalise import upstream_english
from kernelport_workers.speech.long_words import cut_words

Language = Literal["en", "zh", "other", "pinyin", "tag"]
Phonemizer = Callable[[str], str]

_SHOWN = 20
# Behind these marks espeak puts a space.
_SPACED = (";", ":", ",")
_LOGGER = logging.getLogger(__name__)
_PUNCTUATION = (
    ("，", ","), ("。", "."), ("！", "!"), ("？", "?"), ("；", ";"), ("：", ":"), ("、", ","), ("‘", "'"), ("“", '"'),
    ("”", '"'), ("’", "'"), ("⋯", "…"), ("···", "…"), ("・・・", "…"), ("...", "…"),
)  # fmt: skip
_PART = re.compile(r"[<\[].*?[>\]]|.")
_BRACKETED = re.compile(r"([<\[].*?[>\]])")
_BRACKET_KINDS: dict[str, Language] = {"<": "pinyin", "[": "tag"}
_BRACKETS = re.compile(r"[<>\[\]]")
_PINYIN_TAG = re.compile(r"<([a-zA-ZüÜ]+[1-5])>")
# espeak takes letters with dots for one abbreviation, and crashes over one with some thirty dots.
_FEW_DOTS = re.compile(r"(?:[^.]*+\.){1,20}|[^.]++")


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text as it is read, in one language.

    Attributes:
        text: Words and punctuation, aligned with the caller's text.
        language: What they are.
        ends_paragraph: Whether a paragraph ends with it.
        pause_s: Seconds of silence that were asked for behind it, 0 to 10; None for none.
        lexicon: Whose phonemes its words have, if it has them.
    """

    text: Aligned
    language: Language
    ends_paragraph: bool = False
    pause_s: float | None = None
    lexicon: Lexicon = NO_LEXICON


class Tokenizer:
    """Maps text to ids of a token table.

    Args:
        table: Token to id, from ``tokens.txt``.
        phonemize: English text to a string of phonemes; by default espeak through ``piper-phonemize``.
    """

    def __init__(self, table: Mapping[str, int], phonemize: Phonemizer | None = None) -> None:
        self._table = table
        self._phonemize = _one_at_a_time(phonemize or espeak_phonemes)

    def encode(self, text: str, upstream: bool = False) -> list[int]:
        """Token ids of all of a text.

        Args:
            text: Any Unicode text.
            upstream: Reproduce the training tokenizer exactly; text it cannot handle then gives no ids.

        Raises:
            TextError: Not in upstream mode: there is nothing to say, or words that the model cannot say.
            DependencyError: A package for the text's language is not installed.
        """
        if upstream:
            found = segments(map_punctuation(text))
            return [index for segment, language in found for index in self._upstream_ids(segment, language)]
        reading = passages_of(text, chinese=True)
        foreign = [word for word in reading.unsayable if any(map(str.isalpha, word))]
        if foreign:
            raise TextError(f"expected English or Chinese, got {foreign[0][:_SHOWN]!r}")
        return [index for piece in self.pieces(reading) for index in self.encode_piece(piece)]

    def pieces(self, reading: Reading, locale: Locale = "en-US", lexicon: Lexicon = NO_LEXICON) -> Iterator[Piece]:
        """What is read, cut by language, paragraph and pause, each piece as it is asked for.

        Args:
            reading: A text without what cannot be said; Chinese can.
            locale: How dates are read and numbers said.
            lexicon: Words that are read otherwise.

        Raises:
            TextError: There is nothing to say.
        """
        passages = _with_words(reading.passages)
        found = (piece for passage in passages for piece in _passage_pieces(passage, locale, lexicon))
        begun = []
        for piece in found:
            begun.append(piece)
            if _has_words(piece.text.text):
                return itertools.chain(begun, found)
        left_out = f"; {reading.warning}" if reading.warning else ""
        raise TextError(f"there is nothing to say: no letter or digit{left_out}")

    def encode_piece(self, piece: Piece) -> list[int]:
        """Token ids of one normalised piece."""
        text = piece.text.text
        match piece.language:
            case "en":
                return self._ids(self._phonemes(text, piece.lexicon))
            case "zh":
                return self._ids(_chinese_tokens(text))
            case "pinyin":
                syllable = text.strip("<>")
                return self._ids(_split_syllable(syllable) if _is_syllable(syllable) else ())
            case "tag":
                return self._ids([text])
            case "other":
                _LOGGER.warning("no tokens for %r: neither English nor Chinese", text)
                return []

    @property
    def phonemes(self) -> Collection[str]:
        """What a lexicon may give as phonemes."""
        return self._table.keys()

    @property
    def digest(self) -> str:
        """SHA-256 of the token table, in hexadecimal: tokens of another table mean something else."""
        return hashlib.sha256(json.dumps(sorted(self._table.items())).encode()).hexdigest()

    @property
    def space(self) -> int:
        """Id of the token between words."""
        return self._table[" "]

    @property
    def full_stop(self) -> int:
        """Id of the token that ends a sentence."""
        return self._table["."]

    @cached_property
    def sentence_ends(self) -> frozenset[int]:
        """Ids of the tokens that end a sentence."""
        return frozenset(self._table[mark] for mark in ".?!")

    @cached_property
    def marks(self) -> frozenset[int]:
        """Ids of the tokens that end a sentence or a clause."""
        return self.sentence_ends | {self._table[mark] for mark in ",;:"}

    def _upstream_ids(self, segment: str, language: Language) -> list[int]:
        if language != "en":
            return self.encode_piece(Piece(Aligned.of(segment), language))
        try:
            return self._ids(self._phonemize(upstream_english(segment)))
        except ValueError:  # a number that has no name
            return []

    def _phonemes(self, text: str, lexicon: Lexicon) -> str:
        parts = list(lexicon.parts(text))
        if len(parts) == 1:
            return self._phonemes_of_words(text)
        return "".join(own or self._phonemes_between(part) for part, own in parts)

    def _phonemes_between(self, part: str) -> str:
        """What lies between two words that have phonemes of their own, with the marks and spaces at its ends."""
        before = {"—": ";", "–": ";"}.get(mark := leading_mark(part), mark)
        space = " " * (part.startswith(" ") or before in _SPACED)
        phonemes = self._phonemes_of_words(part)
        return before + space + phonemes + " " * (bool(phonemes) and part.endswith(" "))

    def _phonemes_of_words(self, text: str) -> str:
        words = plain_marks(text).strip()
        return self._phonemize(words) if words else leading_mark(text)

    def _ids(self, tokens: Iterable[str]) -> list[int]:
        ids = []
        for token in tokens:
            if token in self._table:
                ids.append(self._table[token])
            else:
                _LOGGER.debug("token %r is not in the table and was dropped", token)
        return ids


def _one_at_a_time(phonemize: Phonemizer) -> Phonemizer:
    """Voices are encoded beside what is spoken, and a phonemizer may be anybody's."""
    lock = threading.Lock()

    def say(text: str) -> str:
        with lock:
            return phonemize(text)

    return say


def map_punctuation(text: str) -> str:
    """Replace full-width and curly punctuation by ASCII and every ellipsis by one character."""
    return _mapped(Aligned.of(text)).text


def _mapped(text: Aligned) -> Aligned:
    for old, new in _PUNCTUATION:
        if old in text.text:
            text = text.sub(re.compile(re.escape(old)), new)
    return text


def segments(text: str) -> list[tuple[str, Language]]:
    """Cut punctuation-mapped text by language as the training tokenizer does; line breaks vanish."""
    runs: list[tuple[list[str], Language]] = []
    for part in (part for line in text.split("\n") for part in _parts(line)):
        language = _language(part)
        if runs and runs[-1][1] in ("other", language):
            runs[-1] = (runs[-1][0], language)
        elif not runs or language != "other":
            runs.append(([], language))
        runs[-1][0].append(part)
    return [
        (part, _BRACKET_KINDS[part[0]] if _BRACKETED.fullmatch(part) else language)
        for run, language in runs
        for part in _bracketed_apart("".join(run))
        if part
    ]


def _parts(line: str) -> list[str]:
    """A line in tags and single characters."""
    end = _last_bracket(line)
    return [*_PART.findall(line[:end]), *line[end:]]


def _bracketed_apart(run: str) -> list[str]:
    """A run cut before and behind each tag."""
    end = _last_bracket(run)
    *parts, last = _BRACKETED.split(run[:end])
    return [*parts, last + run[end:]]


def _last_bracket(text: str) -> int:
    """Where the last tag ends; looking for the end of every `<` behind it would take quadratic time."""
    return max(text.rfind(">"), text.rfind("]")) + 1


def _language(part: str) -> Language:
    if "\u4e00" <= part <= "\u9fa5" or (part[0] == "<" and part[-1] == ">"):
        return "zh"
    if "A" <= part <= "Z" or "a" <= part <= "z":
        return "en"
    return "other"


def _has_words(text: str) -> bool:
    return any(map(str.isalnum, text))


def _with_words(passages: Iterable[Passage]) -> Iterator[Passage]:
    """The passages that have words; a pause behind others is one with that before them. One before all words has a
    passage of its own, without any."""
    last: Passage | None = None
    for passage in passages:
        if _has_words(passage.text.text):
            if last is not None:
                yield last
            last = passage
        elif last is not None:
            pause_s = None if passage.pause_s is last.pause_s is None else (last.pause_s or 0) + (passage.pause_s or 0)
            last = replace(last, pause_s=pause_s, ends_paragraph=last.ends_paragraph or passage.ends_paragraph)
        elif passage.pause_s:
            last = replace(passage, text=passage.text[:0])
    if last is not None:
        yield last


def _passage_pieces(passage: Passage, locale: Locale, lexicon: Lexicon) -> Iterator[Piece]:
    """Pieces of one passage; its end is told of by the last."""
    if not passage.text.text:
        yield Piece(passage.text, "en", pause_s=passage.pause_s)
        return
    last: Piece | None = None
    for piece in _runs(passage.text, locale, lexicon):
        if last is not None:
            yield last
        last = piece
    if last is not None:
        yield replace(last, ends_paragraph=passage.ends_paragraph, pause_s=passage.pause_s)


def _runs(line: Aligned, locale: Locale, lexicon: Lexicon) -> Iterator[Piece]:
    """A line in pinyin tags, runs of Chinese with punctuation, and everything else as English."""
    position = 0
    for tag in _PINYIN_TAG.finditer(line.text):
        yield from _untagged(line[position : tag.start()], locale, lexicon)
        yield Piece(line[tag.start() : tag.end()], "pinyin")
        position = tag.end()
    yield from _untagged(line[position:], locale, lexicon)


def _untagged(part: Aligned, locale: Locale, lexicon: Lexicon) -> Iterator[Piece]:
    runs: list[tuple[Aligned, Language]] = [(part, "en")]
    if re.search(r"[\u4e00-\u9fa5]", part.text):
        plain, position, runs = _mapped(with_units(part.sub(_BRACKETS, " "))), 0, []
        for run, language in segments(plain.text):
            runs.append((plain[position : position + len(run)], language))
            position += len(run)
    for text, language in runs:
        if language == "zh":
            yield Piece(numbers_read(text), "zh")
            continue
        for spoken in verbalised_parts(text, locale, lexicon):
            if spoken.text.strip():
                yield Piece(spoken, "en", lexicon=lexicon)


def espeak_phonemes(text: str) -> str:
    """American English phonemes (International Phonetic Alphabet, decomposed) with clause punctuation.

    Raises:
        DependencyError: No espeak binding is installed.
    """
    try:
        from piper_phonemize import phonemize_espeak
    except ImportError as error:
        raise DependencyError(
            "English text needs an espeak phonemizer: install piper-phonemize (it includes GPL-3.0 code)"
        ) from error
    return "".join(
        phoneme
        for part in _FEW_DOTS.findall(cut_words(text))
        for clause in phonemize_espeak(part, "en-us")
        for phoneme in clause
    )


def _chinese_tokens(text: str) -> list[str]:
    try:
        import cn2an
        import jieba
        from pypinyin import Style, lazy_pinyin
    except ImportError as error:
        raise DependencyError("Chinese text needs the packages jieba, pypinyin and cn2an") from error
    jieba.setLogLevel(logging.WARNING)
    syllables = lazy_pinyin(
        list(jieba.cut(cn2an.transform(text, "an2cn"))),
        style=Style.TONE3,
        tone_sandhi=True,
        neutral_tone_with_five=True,
    )
    tokens: list[str] = []
    for syllable in syllables:
        tokens.extend(_split_syllable(syllable) if _is_syllable(syllable) else [syllable])
    return tokens


def _is_syllable(text: str) -> bool:
    return text[:-1].isalpha() and text[-1] in "12345"


def _split_syllable(syllable: str) -> list[str]:
    """Initial with a 0, then the final with its tone: ``zhong1`` to ``zh0``, ``ong1``."""
    try:
        from pypinyin.contrib.tone_convert import to_finals_tone3, to_initials
    except ImportError as error:
        raise DependencyError("pinyin syllables need the package pypinyin") from error
    initial = to_initials(syllable, strict=False)
    final = to_finals_tone3(syllable, strict=False, neutral_tone_with_five=True)
    return [token for token in (initial and f"{initial}0", final) if token]
