"""Roman numerals: of kings and popes, of wars, chapters and parts, and of what is counted otherwise; but not of "I",
"mix" or "CD"."""

import re

from kernelport.text.numbers import Locale, cardinal, ordinal
from kernelport.text.rules import Match, Rule, before, behind, either, names, rule, starts_sentence, word_before

_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_ROMAN = r"(?=[IVXLCDM])M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})"
_RULERS = names(
    "Henry Louis George Elizabeth Charles Edward James William Richard Mary John Pius Benedict Leo Napoleon"
    " Nicholas Alexander Catherine Frederick Wilhelm Philip Ferdinand Gregory Clement Innocent Urban Paul Otto"
    " Ramses Ptolemy Ivan Peter Gustav Christian Carl Karl Albert Leopold Francis Franz Joseph Maximilian Alfonso"
    " Robert Malcolm Harald Olaf Haakon Margrethe Beatrix Juliana Vittorio Umberto Constantine Justinian"
    " Theodosius Darius Xerxes Cyrus Mehmed Murad Selim Suleiman Tutankhamun Thutmose Amenhotep Seti Baldwin"
    " Sixtus Julius Boniface Adrian Celestine Victor Rudolf Sigismund Casimir Boris Baudouin Willem Rama Mohammed"
    " Hassan Abdullah Davis Rockefeller"
)
_RULING = names("King Queen Pope Emperor Empress Tsar Czar Kaiser Prince Princess Duke Sultan Pharaoh Saint Earl Count")
_COUNTED = names(
    "chapter part book volume act scene section article phase type class appendix title level stage grade mark"
    " canto table figure figures world war psalm symphony sonata episode season round division region tier annex"
    " schedule amendment series lesson unit exercise plate item step category factor form schedule vatican rocky"
    " rambo apollo saturn bowl olympiad fantasy quest civilization stalin grand zone corps vol ch pt no chapters"
    " parts books volumes"
)
_COUNTED_WORD = either(spelling for word in _COUNTED for spelling in (word, word.capitalize(), word.upper()))
# What is written in the letters of numbers and is something else.
_OTHERWISE = frozenset(
    names(
        "CD CDS DC MC MD ML CV DM MM CM CC LL XL XXL XXX MI MIX MID DI LI CIVIC DIM ID VI DID LCD MCI CCD MDMA CIV"
        " DIV LIV MD"
    )
)
_PLAIN_CONTEXT = re.compile(
    r"(?:[.,;:!?)\"]|'s\b|\Z| "
    r"(?:was|is|of|had|has|died|became|reigned|ruled|and|in|the|to|who|on|at|by|with|from|for|began"
    r"|ended|begins|ends|or)\b)"
)
_NO_VERB = re.compile(
    r"(?:[.,;:!?)\"-]|'s\b|\Z| (?:of|in|the|to|on|at|by|with|from|for|began|ended|begins|ends|or|and|first|is|was)\b)"
)
# Behind a ruler with a title they show that "I" is somebody else.
_SPEAKS = re.compile(
    r" (?:think|thought|believe|guess|am|have|suppose|know|mean|see|saw|met|told|say|said|feel|felt|want|like|love|can"
    r"|could|will|would|must)\b"
)
_CROWNED = frozenset(names("King Queen Pope Emperor Empress Tsar Czar Kaiser Sultan"))
_SURNAME = re.compile(r"\. ([A-Z]\w+)")


def value(numeral: str) -> int:
    """The number that a Roman numeral in capitals stands for."""
    total = 0
    for digit, following in zip(numeral, [*numeral[1:], ""], strict=True):
        worth = _VALUES[digit]
        total += -worth if following and _VALUES[following] > worth else worth
    return total


def _ruler(match: Match, locale: Locale) -> str | None:
    # No ruler is the fortieth, so that Mary C is somebody else.
    if re.search("[LCDM]", match["numeral"]) or match[0] == "Malcolm X" or _is_initial(match):
        return None
    if match["numeral"] == "I" and not _PLAIN_CONTEXT.match(behind(match)):
        crowned = match[1].partition(" ")[0] in _CROWNED and not _SPEAKS.match(behind(match))
        if not crowned:
            return None
    return f"{match[1]} the {ordinal(value(match['numeral']), locale)}"


def _is_initial(match: Match) -> bool:
    """George V. Higgins"""
    surname = _SURNAME.match(behind(match))
    return (
        len(match["numeral"]) == 1 and " " not in match[1] and surname is not None and not starts_sentence(surname[1])
    )


def _counted(match: Match, locale: Locale) -> str | None:
    word, numeral = match[1], match[2].upper()
    if numeral in ("C", "D", "L", "M") and word.lower() not in ("chapter", "psalm", "canto", "sonnet"):
        return None
    if numeral == "I" and not _NO_VERB.match(behind(match)) and not word[0].isupper():
        return None
    if (
        numeral == "I"
        and word.lower() != "war"
        and re.match(r" (?:think|know|am|have|was|will|want|like|love|need|did|do|can|read|saw|went)\b", behind(match))
    ):
        return None
    last = ""
    if match["last"]:
        joint = match["joint"].strip(" &-–") or ("and" if "&" in match["joint"] else "to")
        last = f" {joint} {cardinal(value(match['last']), locale)}"
    return f"{word} {cardinal(value(numeral), locale)}{last}"


# A person's name in full: Martin Luther King, Robert Griffin.
_PERSON = re.compile(
    rf"\b(?:{either(_RULERS)}|Martin|Thomas|David|Daniel|Samuel|Walter|Hugh|Arthur|Andrew|Michael|Cornelius|Harry)"
    r" (?:[A-Z][\w.'-]{0,15} ){1,3}\Z"
)


def _named(match: Match, locale: Locale) -> str | None:
    """Rocky II, Type III, and persons; behind a word with a capital that is no sentence's first."""
    earlier = word_before(match)
    if match[0] in ("II", "III", "IV") and _PERSON.search(before(match)):
        return f"the {ordinal(value(match[0]), locale)}"
    if match[0] in _OTHERWISE or not earlier[:1].isupper() or starts_sentence(earlier) or earlier.isupper():
        return None
    return cardinal(value(match[0]), locale)


def _century(match: Match, locale: Locale) -> str | None:
    if match[1] == "I" and not match[2]:
        return None
    return ordinal(value(match[1]), locale)


def _world_war(match: Match, locale: Locale) -> str:
    return "World War one" if match[1] in ("I", "1") else "World War two"


def _enumerated(match: Match, locale: Locale) -> str:
    return f"({cardinal(value(match[1].upper()), locale)})"


RULES: list[Rule] = [
    rule(
        rf"(?<![\w-])((?:(?:{either(_RULING)}) )?"
        rf"(?:John Paul|{either(_RULERS)}|(?<=King )[A-Z][a-z]{{2,15}}|(?<=Queen )[A-Z][a-z]{{2,15}}"
        rf"|(?<=Pope )[A-Z][a-z]{{2,15}})) (?P<numeral>{_ROMAN})(?![\w-])(?:\.(?= [a-z]))?",
        _ruler,
    ),
    rule(
        rf"(?<![\w-])({_COUNTED_WORD}) ({_ROMAN}"
        rf"|i{{2,3}}|iv|vi{{0,3}}|ix)(?:(?P<joint>[-–]| and | or | to | & )(?P<last>{_ROMAN}))?(?![\w'](?!s\b))(?!-\w)",
        _counted,
    ),
    rule(rf"(?<![\w.'-])({_ROMAN})(?=(th|st|nd|rd)?(?: century| centuries|th century))(?:th|st|nd|rd)?", _century),
    rule(rf"(?<=[Tt]he )({_ROMAN})()(?= (?:(?:Winter|Summer) )?(?:Olympic|Paralympic|Olympiad)s?\b)", _century),
    # A heading: II. Methods
    rule(r"(?<![\w-])WW(I{1,2}|[12])(?![\w-])", _world_war),
    rule(
        rf"\A(?=[IVX]{{2}})({_ROMAN})(?=\. [A-Z])", lambda match, locale: cardinal(value(match[1]), locale).capitalize()
    ),
    rule(r"\((i{2,3}|iv|vi{1,3}|ix|xi{1,3})\)", _enumerated),
    rule(rf"(?<=[A-Za-z] )(?=[IVX]{{2}}){_ROMAN}(?![\w'](?!s\b))(?!-\w)", _named),
]
