"""A text as it is read aloud: from the caller's characters to paragraphs of words."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

from kernelport.text.aligned import Aligned
from kernelport.text.characters import cleaned, without_unsayable
from kernelport.text.lexicon import NO_LEXICON, Lexicon
from kernelport.text.markup import PAUSE_PATTERN, without_html, without_markdown
from kernelport.text.numbers import Locale
from kernelport.text.verbaliser import verbalised_parts
from kernelport.text.wrapping import paragraphs

LOCALES: tuple[Locale, ...] = get_args(Locale)
_SHOWN, _LONGEST_SHOWN = 20, 20


@dataclass(frozen=True, slots=True)
class Passage:
    """What is read without a pause that somebody has asked for.

    Attributes:
        text: one line of it.
        pause_s: the silence behind it, at least 0 and at most 10 seconds; None where none was asked for.
        ends_paragraph: whether a paragraph ends with it.
        goes_on: whether the next one is the rest of it, behind a space.
    """

    text: Aligned
    pause_s: float | None
    ends_paragraph: bool
    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read of a text.

    Attributes:
        passages: in order; none of them is empty.
        unsayable: words of other scripts and signs that were left out, each once.
        tags: those of the markup that were left out, each once.
    """

    passages: list[Passage]
    unsayable: list[str]
    tags: list[str]

    @property
    def spoken(self) -> str:
        """The words, a line for each paragraph."""
        return "".join(each.text.text + ("\n" if each.ends_paragraph else " ") for each in self.passages).strip()

    @property
    def warning(self) -> str | None:
        """What the caller should know, or None."""
        left_out = [*self.unsayable, *self.tags]
        if not left_out:
            return None
        shown = [word[:_LONGEST_SHOWN] for word in left_out[:_SHOWN]]
        return f"left out what cannot be spoken: {', '.join(shown)}"


def locale_named(name: object) -> Locale:
    """The locale of this name.

    Raises:
        ValueError: there is none.
    """
    for locale in LOCALES:
        if name == locale:
            return locale
    raise ValueError(f"expected {' or '.join(LOCALES)}, got {str(name)[:_LONGEST_SHOWN]!r}")


def passages_of(text: str, chinese: bool = False) -> Reading:
    """A text without markup, in one spelling and in paragraphs, but not yet in words.

    Args:
        text: any text.
        chinese: whether the voice says Chinese characters.
    """
    plain, tags = without_html(Aligned.of(text))
    clean, unsayable = without_unsayable(without_markdown(cleaned(plain)), chinese)
    found: list[Passage] = []
    for paragraph in paragraphs(clean):
        position = 0
        for pause in PAUSE_PATTERN.finditer(paragraph.text):
            found.append(Passage(paragraph[position : pause.start()], int(pause[1]) / 1000, False))
            position = pause.end()
        found.append(Passage(paragraph[position:], None, True))
    return Reading(found, unsayable, tags)


def read(text: str, locale: Locale = "en-US", lexicon: Lexicon = NO_LEXICON) -> Reading:
    """What is read of an English text.

    Args:
        text: any text; it may be marked up in HTML, SSML or Markdown.
        locale: how dates are written and numbers said.
        lexicon: words that are read otherwise.
    """
    clean = passages_of(text)
    return Reading(list(spoken_passages(clean, locale, lexicon)), clean.unsayable, clean.tags)


def spoken_passages(clean: Reading, locale: Locale, lexicon: Lexicon = NO_LEXICON) -> Iterator[Passage]:
    """The passages of a reading in words, each as it is asked for; empty ones are left out, and long ones in parts.

    Args:
        clean: as `passages_of` gives it.
        locale: how dates are written and numbers said.
        lexicon: words that are read otherwise.
    """
    for each in clean.passages:
        last: Aligned | None = None
        for part in verbalised_parts(each.text, locale, lexicon):
            if last is not None:
                yield Passage(last, None, False, goes_on=True)
            last = part
        if last is not None and (last.text or each.pause_s):
            yield Passage(last, each.pause_s, each.ends_paragraph)
