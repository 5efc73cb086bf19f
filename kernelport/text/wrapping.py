"""Lines to paragraphs: lines that were cut to fit a width are one paragraph, those of a list or a poem are not."""

import re

from kernelport.text.aligned import Aligned, joined

# Of the longest line of its block: a line that is shorter was ended by its writer.
_FULL = 0.7
# The lines of a narrower block are those of a poem or a list, unless they go on in lower case.
_NARROW = 40
# A line longer than this was not cut to fit a width: it is a paragraph by itself.
_WIDE = 120
# Of scripts that are written without spaces between words: each character is as wide as two others.
_WIDE_CHARACTER = re.compile(r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uff60]")
_BLANK = re.compile(r"\n[ \n]*\n")
_LINE = re.compile(r"\n")
_NUMBERED = re.compile(r"(?:\d{1,3}[.)]|\([a-z\d]{1,3}\)|[a-zA-Z]\)) ")
_OWN_LINE = re.compile(r"\[|\d{1,2}:\d\d\b|<\w")
_SPEAKER = re.compile(r"[A-Z][\w .'-]{0,30}(?: \([^()\n]{1,40}\))?: ")
_CUT_WORD = re.compile(r"[^\W\d_]{2}-\Z")
# With these a hyphen belongs to the word, wherever its line ends.
_KEEPS_HYPHEN = re.compile(
    r"\b(?:well|self|non|half|high|low|long|short|old|new|one|two|three|four|five|six|seven|eight|nine|ten|twenty|thirty"
    r"|forty|fifty|sixty|seventy|eighty|ninety|cross|second|third|full|hard|left|mother|father|sister|brother|daughter"
    r"|ill)-\Z",
    re.IGNORECASE,
)
_DROP_CAPITAL = re.compile(r"\A([\"'(]?)([B-HJ-Z]) (?=[A-Z]{2,15}\b)|\A([\"'(]?[AI]) (?=[B-HJ-Z](?: |\Z))")


def paragraphs(text: Aligned) -> list[Aligned]:
    """The paragraphs of a text, each one line without white space around it."""
    found: list[Aligned] = []
    for block in text.split(_BLANK):
        lines = [line for line in (each.stripped() for each in block.split(_LINE)) if line.text]
        width = max((_columns(line.text) for line in lines), default=0)
        current: list[Aligned] = []
        for line in lines:
            if current and not _goes_on(current[-1].text, line.text, width):
                found.append(_one_line(current))
                current = []
            current.append(line)
        if current:
            found.append(_one_line(current))
    return [paragraph.sub(_DROP_CAPITAL, _dropped) for paragraph in found]


def _goes_on(line: str, following: str, width: int) -> bool:
    """Whether a line was cut where it ends because it was full."""
    if _NUMBERED.match(following) or _OWN_LINE.match(following):
        return False
    if _SPEAKER.match(following) and (line[-1] in ".!?" or _SPEAKER.match(line)):
        return False
    if following[0].islower() or line.endswith((",", "—", "(", "、")):
        return True
    return _NARROW <= width <= _WIDE and _columns(line) >= _FULL * width


def _columns(line: str) -> int:
    """How wide a line is."""
    return len(line) if line.isascii() else len(line) + len(_WIDE_CHARACTER.findall(line))


def _one_line(lines: list[Aligned]) -> Aligned:
    """Lines with a space between them, and words that were cut at a hyphen in one piece again."""
    parts: list[Aligned] = []
    for line, following in zip(lines, [*lines[1:], None], strict=True):
        parts.append(line)
        if following is None:
            break
        if following.text[0].islower() and _CUT_WORD.search(line.text):
            if not _KEEPS_HYPHEN.search(line.text[-15:]):
                parts[-1] = line[: len(line.text) - 1]
        elif not (_WIDE_CHARACTER.match(following.text) and _ends_wide(line.text)):
            end = line.origins[-1:]
            parts.append(Aligned(" ", end + end))
    return joined(parts)


def _ends_wide(line: str) -> bool:
    """Whether no space follows the last character of a line, or the mark behind it."""
    return bool(_WIDE_CHARACTER.match(line.rstrip(",.;:?!")[-1:]))


def _dropped(match: re.Match[str]) -> str:
    """A large first letter that stands apart from its word."""
    return match[0].rstrip(" ")
