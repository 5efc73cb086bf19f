"""Text that knows where it came from, so that what is rewritten many times can still be shown in the caller's text."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

Replacement = str | Callable[[re.Match[str]], str]


@dataclass(frozen=True, slots=True)
class Aligned:
    """A text, and for each of its characters the place in the caller's text where what it stands for begins.

    Attributes:
        text: N characters.
        origins: N + 1 places in ascending order; the last is where the text ends.
    """

    text: str
    origins: array[int]

    @classmethod
    def of(cls, text: str) -> Aligned:
        """The caller's own text."""
        return cls(text, array("q", range(len(text) + 1)))

    def __getitem__(self, part: slice) -> Aligned:
        start, stop, _ = part.indices(len(self.text))
        return Aligned(self.text[start:stop], self.origins[start : stop + 1])

    def sub(self, pattern: re.Pattern[str], replacement: Replacement) -> Aligned:
        """The text with every match replaced; a function gives the replacement itself, without escapes."""
        if callable(replacement):
            say = replacement
        elif "\\" in replacement:
            say = lambda match: match.expand(replacement)  # noqa: E731
        else:
            say = lambda match: replacement  # noqa: E731 - to expand a template takes longer than to find what it is for
        return self.rewritten((match.start(), match.end(), say(match)) for match in pattern.finditer(self.text))

    def rewritten(self, changes: Iterable[tuple[int, int, str]]) -> Aligned:
        """The text with stretches `start`, `end` replaced; they come in ascending order and do not overlap."""
        parts: list[str] = []
        origins = array("q")
        position = 0
        for start, end, new in changes:
            if self.text[start:end] == new:
                continue
            parts += (self.text[position:start], new)
            origins.extend(self.origins[position:start])
            origins.extend(array("q", [self.origins[start]]) * len(new))
            position = end
        if not position and not parts:
            return self
        parts.append(self.text[position:])
        origins.extend(self.origins[position:])
        return Aligned("".join(parts), origins)

    def stripped(self) -> Aligned:
        """Without white space at both ends."""
        start = len(self.text) - len(self.text.lstrip())
        return self[start : max(start, len(self.text.rstrip()))]

    def split(self, pattern: re.Pattern[str]) -> Iterator[Aligned]:
        """The parts between the matches."""
        position = 0
        for match in pattern.finditer(self.text):
            yield self[position : match.start()]
            position = match.end()
        yield self[position:]


def joined(parts: Iterable[Aligned]) -> Aligned:
    """Parts one after another; there is at least one."""
    texts: list[str] = []
    origins = array("q")
    end = 0
    for part in parts:
        texts.append(part.text)
        origins.extend(part.origins[:-1])
        end = part.origins[-1]
    origins.append(end)
    return Aligned("".join(texts), origins)
