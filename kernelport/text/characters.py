"""One spelling for each character, and the characters that nobody can say in English."""

import re
import unicodedata
from functools import lru_cache

from kernelport.text.aligned import Aligned

SYMBOLS = {
    "&": "and", "@": "at", "+": "plus", "=": "equals", "<": "less than", ">": "greater than",
    "≤": "less than or equal to", "≥": "greater than or equal to", "≠": "not equal to", "≈": "approximately",
    "±": "plus or minus", "×": "times", "÷": "divided by", "%": "percent", "‰": "per mille", "°": "degrees",
    "€": "euros", "£": "pounds", "$": "dollars", "¥": "yen", "¢": "cents", "₹": "rupees", "₽": "rubles", "₩": "won",
    "₺": "lira", "₴": "hryvnias", "₪": "shekels", "₫": "dong", "₱": "pesos", "₦": "naira", "฿": "baht",
    "₿": "bitcoins", "§": "section", "¶": "paragraph", "→": "to", "⇒": "to", "↔": "to and from", "√": "square root of",
    "∞": "infinity", "−": "minus", "∑": "sum of", "∆": "delta", "∂": "partial", "∈": "in", "∝": "proportional to",
    "#": "number", "©": "copyright", "¬": "not", "∧": "and", "∨": "or", "✓": "check", "✔": "check",
    "♯": "sharp", "♭": "flat", "♮": "natural",
}  # fmt: skip

# Marks that a reader passes over, and marks of one meaning in many shapes.
_UNSAID = frozenset("®™†‡•·‣◦▪■●○–—―‖¦¨´`˝˘ˇ¯¸¿¡℗℠\ufffc")
_SHAPES = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛ʼʻ′", "'"),
        **dict.fromkeys("“”„‟«»″", '"'),
        **dict.fromkeys("‐‑⁃", "-"),
        **dict.fromkeys("―", "—"),
        **dict.fromkeys("‒", "–"),
        "ˈ": "",
        "ˌ": "",
        "´": "'",
        "⁄": "/",
        "∕": "/",
        "∶": ":",
        "‹": "'",
        "›": "'",
        "﹘": "—",
        "⋅": "×",
        "∙": "×",
        "✕": "×",
        "✖": "×",
        "∼": "~",
        "∗": "*",
    }
)
_SMALL_CAPITALS = dict(zip("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ", "ABCDEFGHIJKLMNOPRSTUVWYZ", strict=True))
_SPACES = re.compile(r"[^\S\n]+")
# What stands apart in a line of a table or a bill.
_COLUMNS = re.compile(r"(?<=[^\s.!?:;,|]) *(?: {4}|\t)[ \t]*(?=[^\s|])")
_LINE_ENDS = re.compile(r"\r\n?|[\u2028\x0b\x85]|\u2029|\x0c")
_COMBINED = re.compile(r"[^\x00-\x7f][\u0300-\u036f]++|[A-Za-z][\u0300-\u036f]++")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]|[\x00\x01\x04-\x08\x0e-\x1f\x7f]")
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿⁱ", "0123456789-+ni")
_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_RAISED_DIGITS = re.compile(r"(?<=\S)([⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹ⁿⁱ]++)([⁺⁻]?)")
_MARK_BEFORE = re.compile(r"[^\w\s)\]]\Z")
_LOWERED_DIGITS = re.compile(r"[₀-₉]++")
# A part before a hyphen, where it would stand apart from it: ½-price, 3½-year-old.
_PART_BEFORE_HYPHEN = re.compile(r"(?<=[½⅓⅔¼¾⅛⅜⅝⅞])[-‐‑](?=[A-Za-z])")
# I ♥ New York; elsewhere a heart is an ornament.
_LOVES = re.compile(r"(?<=\b(?:I|i) )[♥❤♡]\ufe0f?(?= ?[A-Za-z])|(?<=\b[Ww]e )[♥❤♡]\ufe0f?(?= ?[A-Za-z])")
_GREEK_WORD = re.compile(r"[\u0370-\u03ff\u1f00-\u1fff]{3,}+")
_SAYABLE_SCRIPTS = ("LATIN", "MODIFIER", "FEMININE", "MASCULINE", "MICRO")
_CHINESE = re.compile(r"[\u3002\u3001\u4e00-\u9fa5]")


def cleaned(text: Aligned) -> Aligned:
    """The text in one spelling: composed letters, plain spaces, straight quotes, digits of our own, no invisible
    characters. Letters and signs that cannot be said stay."""
    text = text.sub(_LINE_ENDS, "\n").sub(_COLUMNS, ", ")
    if not text.text.isascii():
        text = text.sub(_PART_BEFORE_HYPHEN, " ").sub(_LOVES, "love")
        text = text.sub(_COMBINED, lambda match: unicodedata.normalize("NFC", match[0]))
        text = text.sub(_RAISED_DIGITS, _raised).sub(_LOWERED_DIGITS, lambda match: match[0].translate(_LOWERED))
    text = text.sub(_NOT_ASCII, lambda match: _plain(match[0]))
    return text.sub(_SPACES, " ")


def without_unsayable(text: Aligned, chinese: bool = False) -> tuple[Aligned, list[str]]:
    """The text without what cannot be said, and each word or sign of that once, in order.

    Args:
        chinese: whether the voice says Chinese characters.
    """
    if text.text.isascii():
        return text, []
    changes: list[tuple[int, int, str]] = []
    unsayable: dict[str, None] = {}
    for run in re.finditer(r"[^\x00-\x7f]+", text.text):
        position = run.start()
        for kind, part in _runs(run[0], chinese):
            if kind != "said":
                changes.append((position, position + len(part), " "))
            if kind == "unsayable":
                unsayable.setdefault(part)
            position += len(part)
    return text.rewritten(changes), list(unsayable)


def _runs(text: str, chinese: bool) -> list[tuple[str, str]]:
    """Stretches of one kind (said, passed over, unsayable); a picture is one by itself."""
    greek = {place for word in _GREEK_WORD.finditer(text) for place in range(*word.span())}
    runs: list[tuple[str, str]] = []
    for place, character in enumerate(text):
        kind = "unsayable" if place in greek else _kind(character, chinese)
        joins = runs and runs[-1][0] == kind and not (kind == "unsayable" and unicodedata.category(character) == "So")
        if joins:
            runs[-1] = (kind, runs[-1][1] + character)
        else:
            runs.append((kind, character))
    return runs


@lru_cache(maxsize=4096)
def _kind(character: str, chinese: bool) -> str:
    category = unicodedata.category(character)
    if character.isascii() or character in SYMBOLS or character in "—–…¼½¾" or (chinese and _CHINESE.match(character)):
        return "said"
    if character in _UNSAID or category in ("Cf", "Sk", "Mn", "Me", "Cc"):
        return "passed over"
    if category[0] == "L":
        name = unicodedata.name(character, "UNKNOWN").split()
        return "said" if name[0] in _SAYABLE_SCRIPTS or name[0] == "GREEK" else "unsayable"
    if category[0] == "P":
        return "said" if chinese and character in "，。！？；：、《》（）【】" else "passed over"
    return "said" if category == "Nd" else "unsayable"


@lru_cache(maxsize=4096)
def _plain(character: str) -> str:
    """A character as it is written here; numbers in a circle or of another script become digits."""
    category = unicodedata.category(character)
    if character in _SMALL_CAPITALS:
        return _SMALL_CAPITALS[character].lower()
    if category[0] == "Z":
        return " "
    # Zero width, soft hyphens, marks of direction, and marks that were left without their letter.
    if category in ("Cf", "Mn", "Me", "Sk") and character != "´":
        return ""
    if category == "Cc":
        return " "
    if category == "Nd":
        return str(unicodedata.digit(character))
    if category in ("No", "Nl"):
        value = unicodedata.numeric(character)
        return (
            f" {int(value)} "
            if value == int(value)
            else f" {unicodedata.normalize('NFKC', character).translate(_SHAPES)} "
        )
    if character in "№":
        return "No. "
    if character in "™®©℠℗" or character in SYMBOLS:
        return character
    return unicodedata.normalize("NFKC", character.translate(_SHAPES)).translate(_SHAPES)


def _raised(match: re.Match[str]) -> str:
    """A power of a number or of a short name, or an ion's charge; behind a word or a mark a footnote's sign."""
    before = match.string[max(0, match.start() - 3) : match.start()]
    if match[2]:
        return f" {match[1].translate(_RAISED)} {'plus' if match[2] == '⁺' else 'minus'} "
    if ((len(before) == 3 and before.isalpha()) or _MARK_BEFORE.search(before)) and not match[1].startswith(("⁻", "ⁿ")):
        return ""
    return "^" + match[1].translate(_RAISED)
