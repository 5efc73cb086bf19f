"""HTML, SSML and Markdown: their marks are never spoken; what they mean for the voice (pauses, breaks, what to say
instead) is kept."""

import html
import re
import string

from kernelport.text.aligned import Aligned, joined
from kernelport.text.rules import names

MAX_BREAK_S = 10.0
PAUSE = "\x02{}\x03"
"""A pause in milliseconds, between control characters that are taken out of the caller's own text."""
PAUSE_PATTERN = re.compile(r" ?\x02(\d{1,5})\x03 ?")

_STRENGTHS_MS = {"none": 0, "x-weak": 100, "weak": 200, "medium": 400, "strong": 700, "x-strong": 1200}
_PARAGRAPHS = frozenset(
    names(
        "address article aside blockquote body br caption dd details dialog div dl dt fieldset figcaption figure"
        " footer form h1 h2 h3 h4 h5 h6 head header hr html legend li main nav ol option p pre s section select speak"
        " summary table tbody tfoot thead title tr ul"
    )
)
_CELLS = frozenset(("td", "th"))
_INLINE = frozenset(
    names(
        "a abbr acronym amazon audio b base bdi bdo big button canvas center cite code col colgroup data datalist del"
        " dfn em embed emphasis font form frame i iframe img input ins kbd label lang link map mark math meta meter"
        " noscript object output param phoneme picture progress prosody q rp rt ruby s samp say-as script slot small"
        " source span strike strong style sub sup svg template textarea time track tt u var video voice w wbr"
    )
)
_TAG = re.compile(r"<(/?)([A-Za-z][\w:-]*+)([^<>]*+)>")
_CONTROLS = re.compile(r"[\x02\x03]")
_RAISED = re.compile(r"<sup>\s?\[?(\d{1,3})\]?\s?</sup>", re.IGNORECASE)
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_COMMENT_OR_DATA = re.compile(r"<[!?][^<>]*+>")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_BREAK_TIME = re.compile(r"\btime\s?=\s?[\"']?\s?(\d{0,5}(?:\.\d{1,6})?)\s?(m?s)\b")
_BREAK_STRENGTH = re.compile(r"\bstrength\s?=\s?[\"']?([a-z-]{1,10})")
_ALIAS = re.compile(r"\balias\s?=\s?(?:\"([^\"]*+)\"|'([^']*+)')")

_HIDDEN = (("<!--", "-->"), ("<head>", "</head>"), ("<script", "</script>"), ("<style", "</style>"))
# Unlike str.lower it keeps every character's place.
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_LAST_CELL = re.compile(r", *(?=\n\n)")
_FENCE = re.compile(r"^ {0,3}(?:```|~~~)[^\n`]*+$", re.MULTILINE)
_RULE_LINE = re.compile(r"^ {0,3}(?:(?:- ?){3,}|(?:\* ?){3,}|(?:_ ?){3,}|={3,}|-- ?)$", re.MULTILINE)
_TABLE_RULE = re.compile(r"^ ?(?=[^\n|]{0,200}\|)[|:\- ]{3,}$", re.MULTILINE)
_TABLE_ROW = re.compile(r"^ ?\|([^\n]++)$", re.MULTILINE)
_HEADING = re.compile(r"^ {0,3}#{1,6} ++([^\n]++)$", re.MULTILINE)
_QUOTE = re.compile(r"^ {0,3}(?:> ?)+", re.MULTILINE)
_DEFINITION = re.compile(r"^ {0,3}\[[^\]\n]{1,200}\]: ?[^\n]++$", re.MULTILINE)
_TASK = re.compile(r"^( {0,8}(?:[-*+]|\d{1,3}[.)]) )\[[ xX]\] ", re.MULTILINE)
_BULLET = re.compile(r"^ {0,20}(?:[-*+•‣◦▪●–—]) (?=\S)", re.MULTILINE)
_IMAGE_OR_LINK = re.compile(
    r"!?\[([^\[\]\n]{0,500})\](?:\([^()\s]{0,2000}(?:\([^()\s]{0,200}\))?[^()\n]{0,500}\)|\[[^\[\]\n]{0,200}\])"
)
_AUTOLINK = re.compile(r"<((?:https?://|mailto:)[^<>\s]{1,2000}|[\w.+-]{1,64}@[\w.-]{1,255})>")
_FOOTNOTE = re.compile(
    r"(?<=[\w.,;:!?\"')\]])\[(?:\^[\w-]{1,30}|\d{1,3}(?:[,–-] ?\d{1,3}){0,5}|[a-z]|citation needed)\]"
)
_CODE = re.compile(r"(`{1,3})(?!`)([^`\n]{1,2000}?)\1(?!`)")
_EMPHASIS = (
    re.compile(r"(?<![\w*\\])\*{1,3}(?=[^\s*])([^*\n]{1,2000})(?<=[^\s*])\*{1,3}(?!\w)"),
    re.compile(r"(?<=\w)\*\*(?=[^\s*])([^*\n]{1,2000})(?<=[^\s*])\*\*"),
    re.compile(r"(?<![\w_\\])_{1,3}(?=[^\s_])([^_\n]{1,2000})(?<=[^\s_])_{1,3}(?!\w)"),
    re.compile(r"~~(?=[^\s~])([^~\n]{1,2000})(?<=[^\s~])~~"),
    re.compile(r"==(?=[^\s=])([^=\n]{1,2000})(?<=[^\s=])=="),
)
_ESCAPE = re.compile(r"\\([*_`#\[\](){}<>~|\\-])")


def without_html(text: Aligned) -> tuple[Aligned, list[str]]:
    """The text without tags and entities; a paragraph ends in an empty line, a pause is written as `PAUSE`.

    Returns:
        It, and the tags that have no meaning for a voice, such as `<b>`, each once.
    """
    left_out: dict[str, None] = {}
    text = text.sub(_CONTROLS, " ")
    if "<" in text.text:
        text = _without_hidden(text)
        text = text.sub(_RAISED, lambda match: match[1].translate(_SUPERSCRIPTS))
        text = _without_tags(text.sub(_COMMENT_OR_DATA, " ").sub(_AUTOLINK, r"\1"), left_out).sub(_LAST_CELL, "")
    if "&" in text.text:
        text = text.sub(_ENTITY, lambda match: html.unescape(match[0]))
    return text, list(left_out)


def without_markdown(text: Aligned) -> Aligned:
    """The text without Markdown's marks; every heading and item of a list is a paragraph of its own."""
    text = text.sub(_FENCE, "\n").sub(_RULE_LINE, "\n").sub(_DEFINITION, "")
    if "|" in text.text:
        text = text.sub(_TABLE_RULE, "").sub(_TABLE_ROW, _row)
    text = text.sub(_QUOTE, "").sub(_HEADING, lambda match: f"\n{_ended(match[1].rstrip('# '))}\n")
    text = text.sub(_TASK, r"\1").sub(_BULLET, "\n\n")
    if "[" in text.text:
        # Twice: a link may be of an image.
        text = text.sub(_IMAGE_OR_LINK, r"\1").sub(_IMAGE_OR_LINK, r"\1").sub(_FOOTNOTE, "")
    text = text.sub(_CODE, r"\2")
    # Twice: emphasis may stand within emphasis.
    for pattern in _EMPHASIS * 2:
        text = text.sub(pattern, r"\1")
    return text.sub(_ESCAPE, r"\1")


def _ended(line: str) -> str:
    return line if line.endswith((".", "!", "?", ":", ";", ",")) else f"{line}."


def _row(match: re.Match[str]) -> str:
    cells = [cell.strip() for cell in match[1].strip().strip("|").split("|")]
    return f"\n{_ended(', '.join(filter(None, cells)))}\n" if any(cells) else "\n"


def _without_hidden(text: Aligned) -> Aligned:
    """Without comments, scripts and style sheets that have an end."""
    lower = text.text.translate(_LOWER)
    changes: list[tuple[int, int, str]] = []
    for opening, closing in _HIDDEN:
        start = lower.find(opening)
        while start >= 0:
            end = lower.find(closing, start)
            if end < 0:
                break
            changes.append((start, end + len(closing), " "))
            start = lower.find(opening, end)
    kept: list[tuple[int, int, str]] = []
    for change in sorted(changes):
        if not kept or change[0] >= kept[-1][1]:
            kept.append(change)
    return text.rewritten(kept)


def _without_tags(text: Aligned, left_out: dict[str, None]) -> Aligned:
    parts: list[Aligned] = []
    position = 0
    silent = False
    for match in _TAG.finditer(text.text):
        closing, name, attributes = match[1], match[2].lower(), match[3]
        said = _tag(closing, name, attributes)
        if said is None:
            continue
        if not silent:
            parts.append(text[position : match.start()])
        alias = _ALIAS.search(attributes) if name == "sub" and not closing else None
        # What `sub` encloses is replaced by its alias.
        silent = alias is not None
        instead = (alias[1] or alias[2] or "") if alias else said
        if not (instead or closing):
            left_out.setdefault(f"<{name}>")
        parts.append(text[match.start() : match.start() + 1].rewritten([(0, 1, instead)]))
        position = match.end()
    parts.append(text[position:])
    return joined(parts)


def _tag(closing: str, name: str, attributes: str) -> str | None:
    """What stands in a tag's place; None where it is no tag, as in `<name>` or `a <b> c` of a formula."""
    if name in ("break", "mstts:silence"):
        return _pause(attributes)
    if name in _PARAGRAPHS:
        return "\n\n"
    if name in _CELLS:
        return ", " if closing else " "
    if name == "img" and (alt := re.search(r"\balt\s?=\s?\"([^\"]*+)\"", attributes)):
        return f" {alt[1]} "
    is_tag = name in _INLINE or closing or "=" in attributes or attributes.endswith("/")
    return "" if is_tag else None


def _pause(attributes: str) -> str:
    if time := _BREAK_TIME.search(attributes):
        milliseconds = float(time[1] or 0) * (1 if time[2] == "ms" else 1000)
    else:
        strength = _BREAK_STRENGTH.search(attributes)
        milliseconds = _STRENGTHS_MS.get(strength[1] if strength else "medium", _STRENGTHS_MS["medium"])
    return PAUSE.format(round(min(milliseconds, MAX_BREAK_S * 1000)))
