"""Abbreviations, titles, streets and saints, initials, and letters with full stops."""

import re

from kernelport.text.numbers import Locale, digits
from kernelport.text.rules import (
    Match,
    Rule,
    before,
    behind,
    either,
    names,
    rule,
    starts_sentence,
    stopped,
    word_before,
    word_behind,
)

# Before a name; the first ones are written without a full stop as well.
_TITLES = {
    "Mr": "Mister", "Mrs": "Missus", "Ms": "Miz", "Mx": "Mix", "Dr": "Doctor", "Drs": "Doctors", "Prof": "Professor",
    "Messrs": "Messieurs", "Sgt": "Sergeant", "Capt": "Captain", "Lt": "Lieutenant", "Cpl": "Corporal",
    "Pvt": "Private", "Gen": "General", "Col": "Colonel", "Maj": "Major", "Cmdr": "Commander", "Adm": "Admiral",
    "Rev": "Reverend", "Revd": "Reverend", "Cllr": "Councillor", "Cllrs": "Councillors", "Rt Hon": "Right Honorable",
    "Rt. Hon": "Right Honorable", "Hon": "Honorable", "Sen": "Senator", "Rep": "Representative",
    "Gov": "Governor",
    "Pres": "President", "Supt": "Superintendent", "Det": "Detective", "Insp": "Inspector", "Fr": "Father",
    "Br": "Brother", "Mme": "Madame", "Mlle": "Mademoiselle", "Msgr": "Monsignor",
    "Mt": "Mount", "Ft": "Fort", "Pt": "Point", "Sta": "Santa",
}  # fmt: skip
_WITHOUT_STOP = frozenset(
    (*names("Mr Mrs Ms Mx Dr Prof Sgt Capt Lt Messrs Mt Rev Revd Cllr Cllrs Cpl Supt Insp"), "Rt Hon")
)
# No word is written like one of these.
_ALWAYS_TITLES = frozenset(("Mr", "Mrs", "Messrs", "Cllr", "Cllrs"))
# With a full stop, anywhere.
_WORDS = {
    "etc": "et cetera", "vs": "versus", "approx": "approximately", "dept": "department", "est": "established",
    "govt": "government", "misc": "miscellaneous", "incl": "including", "excl": "excluding", "max": "maximum",
    "tel": "telephone", "ext": "extension", "Inc": "Incorporated", "Ltd": "Limited", "Corp": "Corporation",
    "Co": "Company", "Bros": "Brothers", "Jr": "Junior", "Sr": "Senior", "Esq": "Esquire", "Assn": "Association",
    "Dept": "Department", "Univ": "University", "Intl": "International", "Natl": "National", "Mfg": "Manufacturing",
    "cf": "compare", "viz": "namely", "resp": "respectively", "al": "al", "Ave": "Avenue", "Blvd": "Boulevard",
    "Rd": "Road", "Ln": "Lane", "Hwy": "Highway", "Pkwy": "Parkway", "Apt": "Apartment", "Ste": "Suite",
    "Bldg": "Building",
    "Est": "Established", "Approx": "Approximately", "Misc": "Miscellaneous", "Tel": "Telephone", "Ext": "Extension",
    "Vs": "Versus",
    "Max": "Maximum", "Govt": "Government", "Assoc": "Associates", "Asst": "Assistant", "asst": "assistant",
    "Mgr": "Manager",
    "Attn": "Attention", "attn": "attention", "Fwd": "Forward", "Qty": "Quantity", "qty": "quantity",
    "appt": "appointment",
    "tbsp": "tablespoons", "tsp": "teaspoons", "oz": "ounces", "lbs": "pounds", "hrs": "hours", "mins": "minutes",
    "secs": "seconds",
    "yrs": "years", "wks": "weeks", "pkg": "package", "avg": "average", "Avg": "Average", "temp": "temperature",
    "Temp": "Temperature",
    "pron": "pronounced", "orig": "originally", "ca": "circa", "esp": "especially", "usu": "usually",
    "abbr": "abbreviation", "ref": "reference", "Ref": "Reference", "ea": "each", "mtg": "meeting", "pls": "please",
    "pers": "persons", "prob": "probably", "reg": "regular", "Reg": "Regular", "acct": "account", "Acct": "Account",
    "amt": "amount",
    "Amt": "Amount", "bldg": "building", "cont": "continued", "equiv": "equivalent", "mgmt": "management",
    "Mgmt": "Management", "mfr": "manufacturer", "mgr": "manager", "natl": "national", "prev": "previous",
    "Prev": "Previous", "std": "standard", "Std": "Standard", "wt": "weight", "yr": "year", "hosp": "hospital",
    "assoc": "associated", "encl": "enclosed", "Encl": "Enclosed", "univ": "university", "jct": "junction",
    "Jct": "Junction", "Mtn": "Mountain", "Mtns": "Mountains", "Twp": "Township", "Pkg": "Package", "blvd": "boulevard",
    "Utd": "United",
    "hwy": "highway", "rd": "road", "ave": "avenue", "div": "division", "Div": "Division", "dist": "district",
}  # fmt: skip
# With a full stop and before a number.
_NUMBERED = {
    "no": "number", "No": "Number", "NO": "Number", "nos": "numbers", "Nos": "Numbers", "nr": "number", "Nr": "Number",
    "fig": "figure", "Fig": "Figure", "figs": "figures", "Figs": "Figures", "p": "page", "pp": "pages", "P": "Page",
    "vol": "volume", "Vol": "Volume", "vols": "volumes", "ch": "chapter", "Ch": "Chapter", "chap": "chapter",
    "Chap": "Chapter", "sec": "section", "Sec": "Section", "art": "article", "Art": "Article", "eq": "equation",
    "Eq": "Equation", "ed": "edition", "para": "paragraph", "Para": "Paragraph", "pt": "part", "Pt": "Part",
    "tab": "table", "Tab": "Table", "ex": "example", "Ex": "Example", "ver": "version", "v": "version", "c": "circa",
    "bk": "book", "fn": "footnote", "lat": "latitude", "Lat": "Latitude", "Rte": "Route", "rte": "route",
    "Bk": "Book", "l": "line", "ll": "lines", "n": "note", "par": "paragraph", "rm": "room", "Rm": "Room",
    "min": "minimum", "Min": "Minimum", "op": "opus", "Op": "Opus", "app": "appendix", "App": "Appendix", "pg": "page",
    "Pg": "Page",    "apt": "apartment",
}  # fmt: skip
_PHRASES = {
    "e.g.": "for example", "i.e.": "that is", "a.k.a.": "also known as", "w/o": "without", "w/": "with",
    "c/o": "care of", "b/c": "because", "et al.": "et al", "n.b.": "note well", "N.B.": "note well", "P.S.": "P S",
    "PhD": "P H D", "Ph.D.": "P H D", "PhDs": "P H Ds", "and/or": "and or", "he/she": "he or she",
    "she/he": "she or he", "his/her": "his or her", "him/her": "him or her", "s/he": "she or he", "vs": "versus",
    "btw": "by the way", "BTW": "by the way", "FYI": "for your information", "aka": "also known as",
    "approx": "approximately",
    "etc": "et cetera", "ASAP": "as soon as possible", "DIY": "D I Y", "dept": "department", "govt": "government",
    "qty": "quantity", "pls": "please", "plz": "please", "thx": "thanks", "mtg": "meeting",
    "thru": "through", "&c.": "et cetera", "M.Sc.": "M S C", "B.Sc.": "B S C", "MSc": "M S C", "BSc": "B S C",
    "Ltd": "Limited", "Inc": "Incorporated", "Utd": "United",
}  # fmt: skip
_STREETS = {
    "St": "Street",
    "Dr": "Drive",
    "Ct": "Court",
    "Pl": "Place",
    "Sq": "Square",
    "Ter": "Terrace",
    "Cir": "Circle",
}
_SIDES = {
    "N": "North",
    "S": "South",
    "E": "East",
    "W": "West",
    "NE": "Northeast",
    "NW": "Northwest",
    "SE": "Southeast",
    "SW": "Southwest",
}
_STATES = {
    "AL": "Alabama", "AK": "Alaska", "AZ": "Arizona", "AR": "Arkansas", "CA": "California", "CO": "Colorado",
    "CT": "Connecticut", "DE": "Delaware", "FL": "Florida", "GA": "Georgia", "HI": "Hawaii", "ID": "Idaho",
    "IL": "Illinois", "IN": "Indiana", "IA": "Iowa", "KS": "Kansas", "KY": "Kentucky", "LA": "Louisiana",
    "ME": "Maine", "MD": "Maryland", "MA": "Massachusetts", "MI": "Michigan", "MN": "Minnesota", "MS": "Mississippi",
    "MO": "Missouri", "MT": "Montana", "NE": "Nebraska", "NV": "Nevada", "NH": "New Hampshire", "NJ": "New Jersey",
    "NM": "New Mexico", "NY": "New York", "NC": "North Carolina", "ND": "North Dakota", "OH": "Ohio", "OK": "Oklahoma",
    "OR": "Oregon", "PA": "Pennsylvania", "RI": "Rhode Island", "SC": "South Carolina", "SD": "South Dakota",
    "TN": "Tennessee", "TX": "Texas", "UT": "Utah", "VT": "Vermont", "VA": "Virginia", "WA": "Washington",
    "WV": "West Virginia", "WI": "Wisconsin", "WY": "Wyoming", "DC": "DC",
}  # fmt: skip
# As newspapers write them.
_STATES_IN_NEWS = {
    "Ala": "Alabama", "Ariz": "Arizona", "Ark": "Arkansas", "Calif": "California", "Colo": "Colorado",
    "Conn": "Connecticut", "Del": "Delaware", "Fla": "Florida", "Ga": "Georgia", "Ill": "Illinois", "Ind": "Indiana",
    "Kan": "Kansas", "Ky": "Kentucky", "La": "Louisiana", "Mass": "Massachusetts", "Md": "Maryland",
    "Mich": "Michigan", "Minn": "Minnesota", "Miss": "Mississippi", "Mo": "Missouri", "Mont": "Montana",
    "Neb": "Nebraska", "Nev": "Nevada", "Okla": "Oklahoma", "Ore": "Oregon", "Pa": "Pennsylvania",
    "Tenn": "Tennessee", "Tex": "Texas", "Va": "Virginia", "Vt": "Vermont", "Wash": "Washington", "Wis": "Wisconsin",
    "Wyo": "Wyoming", "N.Y": "New York", "N.J": "New Jersey", "N.C": "North Carolina", "N.H": "New Hampshire",
    "N.M": "New Mexico", "S.C": "South Carolina", "S.D": "South Dakota", "N.D": "North Dakota",
    "W.Va": "West Virginia", "R.I": "Rhode Island",
}  # fmt: skip
_PLACES = frozenset(
    ("U.S.", "U.K.", "U.N.", "E.U.", "D.C.", "L.A.", "N.Y.", "U.A.E.", "U.S.A.", "B.C.", "A.D.", "P.O.")
)
_BEFORE_SAINTS = frozenset(("Mount", "East", "Lake", "Fort", "Port"))
_COMMA_BEHIND = frozenset(("e.g.", "i.e.", "a.k.a."))
# Dr and Mrs Khan
_COUPLE = re.compile(r" (?:and|&) (?:Mr|Mrs|Ms|Dr|Prof|Sir|Lady)\b")
# The number of a house, and the name of its street.
_HOUSE = re.compile(r"\b\d{1,5}[A-Za-z]? (?:[NSEW]\.? )?(?:[A-Z][\w'-]{2,} ){1,2}\Z")


def _is_name(word: str) -> bool:
    return word[:1].isupper() and not starts_sentence(word)


def _title(match: Match, locale: Locale) -> str | None:
    if match[1] in _ALWAYS_TITLES:
        return _TITLES[match[1]]
    if match[1] in ("Ms", "Prof") and _COUPLE.match(behind(match)):
        return _TITLES[match[1]]
    if word_behind(match)[:1].isupper() or behind(match)[:1].isupper():
        return _TITLES[match[1]] if match[2] or match[1] in _WITHOUT_STOP else None
    return _TITLES[match[1]] if match[2] and match[1] in _WITHOUT_STOP else None


def _street(match: Match, locale: Locale) -> str | None:
    """A street behind a name; else a saint or a doctor before one."""
    short, earlier, following = match[1], word_before(match), word_behind(match)
    before_name = _is_name(following) and following not in _SIDES
    # 42nd St., but 14 St John's Road
    after_digits = earlier[:1].isdigit() and not (earlier.isdigit() and before_name)
    after_name = (_is_name(earlier) or after_digits) and not (earlier in _BEFORE_SAINTS and before_name)
    if match[2] and _HOUSE.search(before(match)):
        return stopped(_STREETS[short], match)
    if before(match).rstrip().endswith((",", ".", ":", ";", "!", "?")):
        after_name = False
    if after_name and not (before_name and short == "Dr"):
        return stopped(_STREETS[short], match) if match[2] or short in ("St", "Dr") else None
    if short == "St" and following[:1].isupper():
        return "Saint"
    if short == "Dr" and _COUPLE.match(behind(match)):
        return "Doctor"
    if short == "Dr" and (match[2] or following[:1].isupper()):
        return "Doctor" if following[:1].isupper() else stopped("Doctor", match)
    return None


def _word(match: Match, locale: Locale) -> str:
    if match[1] == "est" and word_before(match)[-1:].isdigit():
        return stopped("estimated", match)
    return stopped(_WORDS[match[1]], match)


# With a capital, and at the end of a sentence, words of their own.
_ENDING_SENTENCES = frozenset(("No", "NO", "App", "Min", "Ex", "Tab"))


def _numbered(match: Match, locale: Locale) -> str | None:
    # "No. I never did", "the app. I like it": somebody speaks there of himself.
    if behind(match)[:2] in ("I ", "I'") and not (match[1][0].isupper() and match[1] not in _ENDING_SENTENCES):
        return None
    return _NUMBERED[match[1]]


# Before "no" they say that it is a number, in either locale.
_NUMBER_BEFORE = frozenset(names("at the ranked world bus flat room account telephone phone tel house"))
_THINGS_BEHIND = re.compile(
    r" (?:[a-z]+ )?(?!(?:has|is|was|says|does|this|us|as|plus)\b)(?:[a-z]{2,}s|people|men|women)\b"
)


def _number_without_stop(match: Match, locale: Locale) -> str | None:
    """No 10, in British English; but not "No 2 people agree" """
    if word_before(match).lower() in _NUMBER_BEFORE:
        return f"{match[1]}umber"
    is_noun = match[2] != "10" and _THINGS_BEHIND.match(behind(match)[1 + len(match[2]) :])
    return None if locale != "en-GB" or match[1] == "n" or is_noun else f"{match[1]}umber"


def _ordinal_of(match: Match, locale: Locale) -> str:
    """2nd ed., 3rd fl."""
    return stopped({"ed": "edition", "fl": "floor", "c": "century", "cent": "century"}[match[1].lower()], match)


def _phrase(match: Match, locale: Locale) -> str | None:
    short = match[0].rstrip(",").lower() if match[0].lower().rstrip(",") in _PHRASES else match[0].rstrip(",")
    words = _PHRASES.get(short)
    if words is None:
        return None
    if short in _COMMA_BEHIND or match[0].endswith(","):
        return f"{words},"
    return stopped(words, match)


def _road(match: Match, locale: Locale) -> str | None:
    """Park Ave, 5th Ave; without a full stop"""
    earlier = word_before(match)
    return _WORDS[match[1]] if _is_name(earlier) or earlier[:1].isdigit() else None


def _versus(match: Match, locale: Locale) -> str | None:
    """Roe v. Wade"""
    return "versus" if word_before(match)[:1].isupper() else None


def _side(match: Match, locale: Locale) -> str:
    return _SIDES[match[1].replace(".", "")]


def _state(match: Match, locale: Locale) -> str:
    return f", {_STATES[match[1]]}" + (f" {digits(match[2])}" if match[2] else "")


def _initial(match: Match, locale: Locale) -> str | None:
    """The J of J. Smith, but not of `plan B. Then`."""
    earlier, following = word_before(match), word_behind(match)
    if not following[:1].isupper():
        return match[1] if re.match(r" ?(?:&|and) [A-Z]", behind(match)) else None
    if earlier and not earlier[:1].isupper():
        return match[1] if re.match(r"[A-Z]| [A-Z]\.", behind(match)) else None
    return None if starts_sentence(following) else match[1]


def _letters(match: Match, locale: Locale) -> str:
    """U.S., B.B.C.; the initials of J.R.R. Tolkien are letters by themselves."""
    if match[0] not in _PLACES and _is_name(word_behind(match)):
        return match[0].replace(".", " ").strip()
    return stopped(match[0].replace(".", "").upper(), match)


_TITLE_NAMES = either(name for name in _TITLES if name not in _STREETS)
RULES: list[Rule] = [
    rule(rf"(?<![\w/])(?:{either(_PHRASES)})(?:(?<=\.)|(?<=/)|(?![\w.]))(?!['-]\w),?", _phrase, re.IGNORECASE),
    rule(rf"(?<![\w.'-])({either(_NUMBERED)})\. ?(?=\(?\d|[IVXLC]{{1,6}}\b|of\b|[A-Z]{{2,4}} ?\d)", _numbered),
    rule(r"(?<![\w.'-])(St|Dr|Ct|Pl|Sq|Ter|Cir)\b(\.?)(?![\w'-])", _street),
    rule(rf"(?<![\w.'-])({_TITLE_NAMES})\b(\.?)(?![\w'-](?<![A-Z]))", _title),
    rule(r"(?<=\d(?:st|nd|rd|th) )(ed|[Ff]l|c|cent)\.", _ordinal_of),
    rule(
        r"(?<![\w.'-])([Rr])eg\.(?= (?:[Nn]o|number|fee|form|desk|card)\b)",
        lambda match, locale: f"{match[1]}egistration",
    ),
    rule(rf"(?<![\w.'-])({either(_WORDS)})(?:\.(?!\w)|(?=:))", _word),
    rule(r"(?<=\d )(N|S|E|W|N\.E|N\.W|S\.E|S\.W)\.(?= [A-Z\d])", _side),
    rule(r"(?:(?<=Ave )|(?<=Ave\. )|(?<=St )|(?<=St\. )|(?<=\dst )|(?<=\dth ))(NE|NW|SE|SW)\b", _side),
    # Tulsa, Okla., and R-Okla.
    rule(
        rf"(?:(?<=[a-z], )|(?<=\b[RDI]-))({either(_STATES_IN_NEWS)})\.",
        lambda match, locale: stopped(_STATES_IN_NEWS[match[1]], match),
    ),
    rule(rf"(?<=[a-z]), ({either(_STATES)})(?: (\d{{5}})(?:-\d{{4}})?)?(?![\w'-])(?= ?(?:[.,;:!?)]|\Z))", _state),
    rule(r"(?<![\w.'-])([Nn])o(?= (?=(\d{1,4})(?![\w,.%-]\d|[\w%-]))\d)", _number_without_stop),
    rule(r"(?<![\w.'-])([Nn])o\.(?=:|(?: (?:is|was|on|for)\b))", lambda match, locale: f"{match[1]}umber"),
    rule(r"(?<=[A-Za-z.] )v\.?(?= (?:the )?[A-Z][a-z])", _versus),
    rule(r"(?<![\w.])p\.a\.(?!\w)", lambda match, locale: stopped("per annum", match)),
    rule(r"(?<=[a-z\dA-Z] )(Ave(?! Maria)|Blvd|Rd|Ln|Pkwy)\b(?![.\w'-])", _road),
    rule(r"(?<![\w.'-])(Hwy|Rte|Apt|Ste)(?= \d)", lambda match, locale: (_WORDS | _NUMBERED)[match[1]]),
    rule(r"(?<=\d )p\.p\.(?!\w)", "per person"),
    rule(r"(?<![\w.'-])(?:[A-Za-z]\.){2,10}(?![A-Za-z])", _letters),
    rule(
        r"(?<![\w.'-])(?:[A-Za-z]\.){1,10}[A-Za-z](?![\w.'-])", lambda match, locale: match[0].replace(".", "").upper()
    ),
    rule(r"(?<![\w.'-])([A-Z])\.(?= ?(?:& |and )?[A-Z])", _initial),
]
