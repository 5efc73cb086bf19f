"""Web and e-mail addresses, file names, paths, handles and hashtags."""

import re

from kernelport.text.numbers import Locale, cardinal, code
from kernelport.text.rules import Match, Rule, before, either, names, rule

_SIGNS = {
    ".": "dot", "/": "slash", "\\": "backslash", "-": "dash", "_": "underscore", "@": "at", ":": "colon",
    "?": "question mark",
    "=": "equals", "&": "and", "#": "hash", "%": "percent", "+": "plus", "~": "tilde", "*": "star", ",": "comma",
    ";": "semicolon",
    "!": "exclamation mark", "$": "dollar", "'": "apostrophe", "(": "", ")": "",
}  # fmt: skip
_DOMAINS = names(
    "com org net edu gov mil int info biz io ai co uk de fr eu us ca au nz jp cn in it es nl se no fi dk ch at be"
    " ie pl pt ru br mx tv me ly app dev xyz blog shop online site tech cloud news wiki page"
)
_LETTER_BY_LETTER = frozenset(
    names(
        "edu uk io ai de fr eu us ca au nz jp cn es nl se fi dk ch ie pl pt ru br mx tv ly xyz pdf html htm csv txt"
        " py js ts css md png gif svg xml yml mp php exe sh rb rs cpp hpp dll ini cfg jpg www http https ftp ip id url"
        " api ui faq cc db sql ssh tls dns ssl vpn usb gpu cpu cmd usr src img tmp"
    )
)
_EXTENSIONS = names(
    "pdf txt md csv json xml html htm doc docx xls xlsx ppt pptx zip tar gz rar exe dll py js ts css cpp java rb"
    " go rs sh bat ini cfg conf log yaml yml toml png jpg jpeg gif svg bmp mp3 mp4 wav flac ogg avi mov mkv onnx"
    " sql db bin iso ipynb lock env php tex epub"
)
_PART = re.compile(r"[^\W\d_]+|\d+|.", re.DOTALL)
_NAME = r"[\w-]{1,63}"
_HOST = rf"(?:{_NAME}\.){{1,8}}(?:{either(_DOMAINS)})(?![\w-])(?!\.\w)"
_PATH = r"(?:[/?#][\w./?=&#%+~:@!$',;*()-]{0,2000})?"


def _spelled(address: str) -> str:
    """An address word for word."""
    words = []
    for part in _PART.findall(address):
        if part.isdigit():
            words.append(code(part))
        elif len(part) == 1 and part.isalpha():
            words.append(part.upper())
        elif part in _SIGNS:
            words.append(_SIGNS[part])
        elif part.lower() in _LETTER_BY_LETTER:
            words.append(" ".join(part.upper()))
        else:
            words += _split_case(part)
    return " ".join(filter(None, words))


def _split_case(word: str) -> list[str]:
    """`camelCase` in its words."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", word).split()


def _address(match: Match, locale: Locale) -> str:
    address = match[0]
    stripped = address.rstrip(".,;:!?'*")
    if stripped.endswith(")") and stripped.count("(") < stripped.count(")"):
        stripped = stripped[:-1]
    spoken = re.sub(r"(?i)^(?:https?|ftps?|file)://|^mailto:", "", stripped).rstrip("/")
    return _spelled(spoken) + address[len(stripped) :]


def _file(match: Match, locale: Locale) -> str:
    return _spelled(match[0])


def _place(match: Match, locale: Locale) -> str:
    name, *numbers = match[0].split(":")
    return " colon ".join([_spelled(name), *(cardinal(int(number), locale) for number in numbers)])


def _path(match: Match, locale: Locale) -> str | None:
    if match[0].startswith("/") and before(match)[-1:].isalnum():
        return None
    return _spelled(match[0].rstrip("/") or "/")


def _handle(match: Match, locale: Locale) -> str:
    return f"at {_spelled(match[1])}"


def _hashtag(match: Match, locale: Locale) -> str:
    return f"hashtag {_spelled(match[1])}"


def _colour(match: Match, locale: Locale) -> str:
    return f"hash {' '.join(code(each) if each.isdigit() else each.upper() for each in match[1])}"


def _identifier(match: Match, locale: Locale) -> str:
    """snake_case in its words."""
    words = (word for word in _PART.findall(match[0]) if word.isalnum())
    return " ".join(code(word) if word.isdigit() else word for word in words)


RULES: list[Rule] = [
    rule(r"(?<![\w@])(?:https?|ftps?|file|ssh)://[^\s<>\"]{1,2000}", _address, re.IGNORECASE),
    rule(rf"(?<![\w.@/-])(?:mailto:)?[\w.+-]{{1,64}}@(?:{_NAME}\.){{1,8}}[A-Za-z]{{2,24}}\b", _address),
    rule(rf"(?<![\w.@/-])www\.(?:{_NAME}\.){{1,8}}[A-Za-z]{{2,24}}\b{_PATH}", _address, re.IGNORECASE),
    rule(rf"(?<![\w.@/-]){_HOST}{_PATH}", _address),
    rule(
        r"(?<![\w:/\\])[A-Za-z]:\\[\w .\\()-]{0,200}[\w)]|(?<![\w:/\\.])(?:~|\.{1,2})?/"
        r"(?:[\w.+-]{1,64}/){0,20}[\w.+-]{0,63}[\w](?![\w/])",
        _path,
    ),
    # A place in a source file: main.c:120
    rule(r"(?<![\w@/.-])(?:[\w.-]{1,64}/){0,20}[\w-]{2,64}\.[a-z]{1,4}(?::\d{1,6}){1,2}(?![\w:])", _place),
    rule(
        rf"(?<![\w@/.-])(?:[\w.-]{{1,64}}/){{0,20}}[\w-]{{1,64}}(?:\.[\w-]{{1,64}}){{0,4}}\.(?:{either(_EXTENSIONS)})(?![\w-])(?!\.\w)",
        _file,
    ),
    rule(r"(?<![\w@/.-])(?:[\w.-]{1,64}/){0,20}[\w-]{2,64}\.[ch](?![\w-])(?!\.\w)", _file),
    rule(rf"(?<![\w.])\.(?:{either(_EXTENSIONS)})(?![\w-])(?!\.\w)", _file),
    rule(r"(?<![\w@/.])@([A-Za-z_][\w]{0,40})", _handle),
    # A colour: #1a2b3c, #FFFFFF, #fff
    rule(
        r"(?<![\w&#/])#((?=\d{0,5}[A-Fa-f])(?=[A-Fa-f]{0,5}\d)[\dA-Fa-f]{6}|([A-Fa-f])\2{2}(?:\2{3})?)(?!\w)", _colour
    ),
    rule(r"(?<![\w&#/])#(?![A-Z]{1,3}-?\d)([A-Za-z_][\w]{0,60})", _hashtag),
    rule(r"(?<![\w])[A-Za-z]\w{0,40}?_\w{1,60}\b", _identifier),
]
