"""Words that are read in a way of one's own: names, terms and foreign words that no rule can know."""

import re
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property, lru_cache

from kernelport.text.aligned import Aligned
from kernelport.text.characters import cleaned, without_unsayable
from kernelport.text.numbers import Locale
from kernelport.text.rules import Match, Rule

MAX_CHARACTERS, MAX_ENTRIES = 64_000, 1000
MAX_WORD, MAX_FORM = 60, 200
_SHOWN = 30
_BRACKETS = re.compile(r"[()\[\]]")
_WORDS = re.compile(r"[^\W\d_]+(?:[ '.,-]+[^\W\d_]+)*\.?")


class LexiconError(ValueError):
    """A lexicon that is none; the message names the entry and what was expected."""


class Lexicon:
    """How some words are read.

    An entry without capitals is for the word in any case, another one for the word as it stands. Whole words count.

    Attributes:
        entries: by word, the words to say in its place, or phonemes between slashes.
    """

    def __init__(self, entries: Mapping[str, str]) -> None:
        self.entries: dict[str, str] = dict(entries)
        self._phonemes = {word: form[1:-1] for word, form in self.entries.items() if form.startswith("/")}

    @staticmethod
    @lru_cache(maxsize=16)
    def parse(text: str) -> "Lexicon":
        """The lexicon that a text has: `word = words to say` or `word = /phonemes/`, an entry a line; what begins with
        `#` is a comment.

        Raises:
            LexiconError: a line is no entry, or there is too much of it.
        """
        if len(text) > MAX_CHARACTERS:
            raise LexiconError(f"expected at most {MAX_CHARACTERS:,} characters, got {len(text):,}")
        entries: dict[str, str] = {}
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            written, equals, form = line.partition("=")
            word, form = " ".join(cleaned(Aligned.of(written)).text.split()), " ".join(form.split())
            if finding := _finding(word, form) if equals else "expected `word = words to say`":
                raise LexiconError(f'line {number}, "{line.strip()[:_SHOWN]}": {finding}')
            if word in entries:
                raise LexiconError(f'line {number}, "{word[:_SHOWN]}": expected each word once')
            if len(entries) == MAX_ENTRIES:
                raise LexiconError(f"line {number}: expected at most {MAX_ENTRIES:,} entries")
            # The letter of keyboards stands for the one of the phonetic alphabet.
            entries[word] = form.replace("g", "ɡ") if form.startswith("/") else form
        return Lexicon(entries)

    def __bool__(self) -> bool:
        return bool(self.entries)

    def check(self, phonemes: Collection[str]) -> None:
        """Looks at the phonemes.

        Args:
            phonemes: those that a voice says, each one character.

        Raises:
            LexiconError: a voice does not say one of them.
        """
        for word, form in self._phonemes.items():
            for phoneme in form:
                if phoneme not in phonemes:
                    raise LexiconError(f'"{word[:_SHOWN]}": expected phonemes that the voice has, got "{phoneme}"')

    @cached_property
    def rule(self) -> Rule:
        """What is said of the words. One with phonemes stays: its voice finds it by `parts`."""
        return Rule(_pattern(self.entries), self._say)

    def parts(self, spoken: str) -> Iterator[tuple[str, str | None]]:
        """A spoken text in parts: words that have phonemes of their own, with these, and what lies between."""
        position = 0
        for match in self._phoneme_pattern.finditer(spoken) if self._phonemes else ():
            yield spoken[position : match.start()], None
            yield match[0], self._phonemes[self._word(match)]
            position = match.end()
        yield spoken[position:], None

    @cached_property
    def _phoneme_pattern(self) -> re.Pattern[str]:
        return _pattern(self._phonemes)

    def _say(self, match: Match, locale: Locale) -> str:
        form = self.entries[self._word(match)]
        return match[0] if form.startswith("/") else form

    def _word(self, match: Match) -> str:
        """The entry that a match is of."""
        written = " ".join(match[0].split())
        return written if written in self.entries else written.lower()


NO_LEXICON = Lexicon({})


@lru_cache(maxsize=16)
def merged(first: Lexicon, second: Lexicon) -> Lexicon:
    """Both, of which the first goes before the second."""
    return Lexicon(second.entries | first.entries) if first and second else first or second


def _pattern(words: Collection[str]) -> re.Pattern[str]:
    """Whole words, of several at one place the longest; of equal ones that with capitals."""
    ordered = sorted(words, key=lambda word: (-len(word), word == word.lower()))
    written = [r"\s+".join(map(re.escape, word.split())) for word in ordered]
    either = [f"(?i:{each})" if word == word.lower() else each for word, each in zip(ordered, written, strict=True)]
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(either)})(?![^\W_])")


def _finding(word: str, form: str) -> str:
    """What is wrong with an entry; empty when nothing is."""
    if not 0 < len(word) <= MAX_WORD or not any(map(str.isalnum, word)):
        return f"expected a word of 1 to {MAX_WORD} characters, with a letter or a digit"
    if _BRACKETS.search(word + form):
        return "expected no brackets"
    if unsayable := without_unsayable(Aligned.of(word if form.startswith("/") else word + form))[1]:
        return f"expected letters that are read here, got {unsayable[0][:_SHOWN]!r}"
    if len(form) > MAX_FORM:
        return f"expected at most {MAX_FORM} characters to say, got {len(form)}"
    if form.startswith("/"):
        return "" if len(form) > 2 and form.endswith("/") and "/" not in form[1:-1] else "expected `/phonemes/`"
    return "" if _WORDS.fullmatch(form) else "expected words to say, in letters, or phonemes between slashes"
