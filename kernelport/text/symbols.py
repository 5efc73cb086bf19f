"""Signs between words: what is said for them, and those that only part words."""

import re

from kernelport.text.characters import SYMBOLS
from kernelport.text.numbers import Locale, cardinal
from kernelport.text.rules import Match, Rule, behind, either, names, rule, word_before

_NAMES = {
    "C++": "C plus plus",
    "C#": "C sharp",
    "F#": "F sharp",
    "c++": "C plus plus",
    ".NET": "dot net",
    "A/B": "A B",
    "I/O": "I O",
    "N/A": "N A",
    "n/a": "N A",
}
_GREEK = dict(
    zip(
        "αβγδεζηθικλμνξοπρσςτυφχψω",
        names(
            "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma sigma tau"
            " upsilon phi chi psi omega"
        ),
        strict=True,
    )
)


_BEFORE_GRADES = frozenset(names("a an got get gets gave grade mark and or rated"))


def _ellipsis(match: Match, locale: Locale) -> str:
    rest = behind(match)
    return ". " if not rest.strip(" \"')") or re.match(r"\s*[\"'(]?[A-Z]", rest) else ", "


def _symbol(match: Match, locale: Locale) -> str:
    return SYMBOLS[match[0]]


def _greek(match: Match, locale: Locale) -> str:
    return " ".join(_GREEK[letter] for letter in match[0].lower() if letter in _GREEK)


def _grade(match: Match, locale: Locale) -> str | None:
    """A-"""
    return f"{match[1]} minus" if word_before(match).lower() in _BEFORE_GRADES else None


def _function(match: Match, locale: Locale) -> str:
    """f(x), sin(θ), f(2) ="""
    letter, number = match[2], match[3]
    of = cardinal(int(number), locale) if number else _GREEK.get(letter, letter)
    name = {"sin": "sine", "cos": "cosine", "tan": "tangent"}.get(match[1], match[1])
    return f"{name} of {of}"


def _key(match: Match, locale: Locale) -> str:
    """Bb major, C# minor"""
    return f"{match[1]} {'flat' if match[2] == 'b' else 'sharp'}"


def _dash(match: Match, locale: Locale) -> str:
    return " — "


RULES: list[Rule] = [
    rule(r"(?<!\w)\+/[-−] ?(?=\d)", "plus or minus "),
    # A heart.
    rule(r"(?<=\b[Ii] )<3(?= [A-Za-z])|(?<=\b[Ww]e )<3(?= [A-Za-z])", "love"),
    rule(r"(?<=[A-Za-z!.] )<3(?!\S)", ""),
    # Keys of music.
    rule(r"\b([A-G])([b#])(?=(?: |-)(?:major|minor|maj|min)\b)", _key),
    rule(rf"(?<![\w])(?:{either(_NAMES)})(?![\w+#])", lambda match, locale: _NAMES[match[0]]),
    rule(r"\b([A-Z]) ?& ?([A-Z])\b", lambda match, locale: f"{match[1]} and {match[2]}"),
    rule(r"(?<![\w.'-])([A-F])[-−](?=[\s.,;!?)]|\Z)", _grade),
    rule(r"(?<![\w.'-])([fghFGHP]|sin|cos|tan|log)\((?:([a-zA-Zα-ω])\)|(\d{1,3})\)(?= ?=))", _function),
    rule(r"~ ?(?=[$€£¥]?\d)", "about "),
    rule(r"#(?=\d|[A-Z]{1,3}-?\d)|(?<!\w)# (?=\d)", "number "),
    rule(r"\A(?:→|⇒|[-=]>) ?", ""),
    rule(r"<[-=]|[-=]>", " to "),
    rule(r"<=", "less than or equal to"),
    rule(r">=", "greater than or equal to"),
    rule(r"!=", "not equal to"),
    rule(r"==+", " equals "),
    rule(r"(?<!\S)--(?=[a-z])", "dash dash "),
    rule(r" \| ", ", "),
    # A bracket around a word, as in `<name>`.
    rule(r"<(?=[A-Za-z][\w .-]{0,40}>)|(?<=\w)>(?! ?[\w(])", " "),
    rule(r" ?(?:\.[ ]?){2,}", _ellipsis),
    rule(r"(?<=\w)--+(?=\w)| --+ |(?<=\S) [-–—] (?=\S)", _dash),
    rule(r"(?<=\d) ?\* ?(?=\d)", " times "),
    rule(r"(?<=[a-z]{2})/(?=[a-z]{2})|(?<=[a-z]) / (?=[a-z])", " slash "),
    rule(r"(?<=[A-Za-z])/(?=[A-Za-z])", " "),
    rule(r"(?<=\S) / (?=\S)", ", "),
    rule(f"[{re.escape(''.join(SYMBOLS))}]", _symbol),
    rule(r"[Α-Ωα-ωϑϕϵ]{1,2}", _greek),
    # Smileys.
    rule(r"(?<!\S)[:;]'?-?[()DPpOo/|](?!\w)", ""),
    rule(r"[\[{]", "("),
    rule(r"[\]}]", ")"),
    rule(r"[\^*_|\\`~]+|/", " "),
]
