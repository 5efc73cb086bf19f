"""Marks between words as espeak takes them: it names one that stands apart, "colon" for `a :b`."""

import re

# Of several marks between two words the one that is heard, the strongest first.
_STRONGEST = "?!.;:—–,…"
_RUN = re.compile(r"(?:[^\w']|'(?!\w)|(?<!\w)')+")
_LEADING = re.compile(r"(?:[^\w']|'(?!\w)|(?<!\w)')*")


def plain_marks(text: str) -> str:
    """English with at most one mark between two words, right behind the first, and none before all words.

    Quotes and brackets, which nobody hears, are left out, and hyphens and apostrophes within words stay.
    """
    return _RUN.sub(_plain, text)


def leading_mark(text: str) -> str:
    """The mark that is heard before the first word of a text, or none."""
    match = _LEADING.match(text)
    return _mark(match[0]) if match else ""


def _plain(run: re.Match[str]) -> str:
    if not run.start():
        return ""
    if run[0] in (" ", "-", "–"):
        return run[0].replace("–", " ")
    return f"{_mark(run[0])} " if run.end() < len(run.string) else _mark(run[0])


def _mark(run: str) -> str:
    return next((mark for mark in _STRONGEST if mark in run), "")
