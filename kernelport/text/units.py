"""Measures: numbers with units, rates, sizes in feet and inches, angles, dimensions and percentages."""

import re

from kernelport.text.numbers import (
    AMOUNT,
    NOT_INSIDE,
    Amount,
    Locale,
    amount,
    cardinal,
    code,
    fraction,
    part_of_one,
    plural,
)
from kernelport.text.rules import (
    COUNTED,
    Match,
    Rule,
    before,
    behind,
    either,
    is_lettered,
    is_modifier,
    names,
    rule,
    stopped,
    word_before,
    word_behind,
)

_METRIC = {
    "m": "meter", "g": "gram", "l": "liter", "L": "liter", "W": "watt", "Hz": "hertz", "Pa": "pascal", "V": "volt",
    "J": "joule", "K": "kelvin", "Wh": "watt hour", "bit": "bit", "eV": "electronvolt",
}  # fmt: skip
_PREFIXED = {
    "km": "kilometer", "cm": "centimeter", "mm": "millimeter", "dm": "decimeter", "nm": "nanometer",
    "μm": "micrometer", "kg": "kilogram", "mg": "milligram", "μg": "microgram", "mcg": "microgram",
    "ml": "milliliter", "mL": "milliliter", "cl": "centiliter", "cL": "centiliter", "dl": "deciliter",
    "dL": "deciliter", "hl": "hectoliter", "μl": "microliter", "kW": "kilowatt", "MW": "megawatt", "GW": "gigawatt",
    "mW": "milliwatt", "kWh": "kilowatt hour", "MWh": "megawatt hour", "GWh": "gigawatt hour", "TWh": "terawatt hour",
    "kHz": "kilohertz", "MHz": "megahertz", "GHz": "gigahertz", "THz": "terahertz", "kPa": "kilopascal",
    "hPa": "hectopascal", "MPa": "megapascal", "mbar": "millibar", "kV": "kilovolt", "mV": "millivolt",
    "mA": "milliamp", "mAh": "milliamp hour", "Ah": "amp hour", "kJ": "kilojoule", "MJ": "megajoule",
    "kN": "kilonewton", "Nm": "newton meter", "kcal": "kilocalorie", "cal": "calorie", "kB": "kilobyte",
    "KB": "kilobyte", "kb": "kilobit", "MB": "megabyte", "Mb": "megabit", "GB": "gigabyte", "Gb": "gigabit",
    "TB": "terabyte", "PB": "petabyte", "KiB": "kibibyte", "MiB": "mebibyte", "GiB": "gibibyte", "TiB": "tebibyte",
    "MP": "megapixel", "dB": "decibel", "kΩ": "kilohm", "MΩ": "megohm", "Ω": "ohm",
}  # fmt: skip
_OTHERS = {
    "ft": "foot", "yd": "yard", "yds": "yard", "mi": "mile", "lb": "pound", "lbs": "pound", "oz": "ounce",
    "fl oz": "fluid ounce", "fl. oz": "fluid ounce",
    "gal": "gallon", "qt": "quart", "pt": "pint", "tsp": "teaspoon", "tbsp": "tablespoon",
    "Tbsp": "tablespoon", "tbs": "tablespoon", "ha": "hectare", "ac": "acre", "sec": "second", "secs": "second",
    "s": "second", "ms": "millisecond", "μs": "microsecond", "ns": "nanosecond", "min": "minute", "mins": "minute",
    "hr": "hour", "hrs": "hour", "h": "hour", "wk": "week", "wks": "week", "yr": "year", "yrs": "year", "mo": "month",
    "mos": "month", "bar": "bar", "hp": "horsepower", "px": "pixel", "rpm": "RPM", "bpm": "beat per minute",
    "mph": "mile per hour", "mpg": "mile per gallon",
    "kmh": "kilometer per hour", "kph": "kilometer per hour", "fps": "frame per second",
    "Mbps": "megabit per second", "Gbps": "gigabit per second", "kbps": "kilobit per second", "psi": "PSI",
    "ppm": "part per million", "sq ft": "square foot", "sq m": "square meter", "sq mi": "square mile",
    "sq km": "square kilometer", "sq. km": "square kilometer", "sq. mi": "square mile", "sq. m": "square meter",
    "sq yd": "square yard", "sq. yd": "square yard", "sq. ft": "square foot",
    "cu ft": "cubic foot", "sqft": "square foot", "pp": "percentage point",
    "bps": "basis point", "bp": "basis point", "pts": "point", "c.": "cup", "kt": "knot", "kts": "knot", "doz": "dozen",
    "pcs": "piece", "pc": "piece", "stone": "stone", "mmHg": "millimeter of mercury",
}  # fmt: skip
# Behind "million" and the like these are no words of their own.
_WIDE = frozenset(
    (
        "mi",
        "lb",
        "lbs",
        "oz",
        "gal",
        "ha",
        "yr",
        "yrs",
        "ft",
        "sq ft",
        "sq mi",
        "sq km",
        "sq. km",
        "sq. mi",
        "sq. ft",
        "mph",
    )
)
_UNITS = _METRIC | _PREFIXED | _OTHERS
_PLURALS = {
    "foot": "feet", "hertz": "hertz", "kelvin": "kelvin", "kilohertz": "kilohertz", "megahertz": "megahertz",
    "gigahertz": "gigahertz",
    "terahertz": "terahertz", "horsepower": "horsepower", "bar": "bar", "stone": "stone", "RPM": "RPM", "PSI": "PSI",
    "dozen": "dozen",
}  # fmt: skip
# What a rate may be of beside units.
_RATES = {
    "s": "second", "h": "hour", "m": "month", "l": "liter", "d": "day", "day": "day", "night": "night",
    "month": "month", "year": "year", "week": "week", "hour": "hour", "minute": "minute", "second": "second",
    "person": "person", "head": "head", "piece": "piece", "item": "item", "user": "user", "seat": "seat",
    "each": "each", "dozen": "dozen", "pound": "pound", "kilo": "kilo", "gallon": "gallon", "mile": "mile",
    "unit": "unit", "pack": "pack", "box": "box", "cup": "cup", "pp": "person", "annum": "annum", "min": "minute",
    "ticket": "ticket", "page": "page", "word": "word", "share": "share", "barrel": "barrel", "bbl": "barrel",
    "ton": "ton", "serving": "serving", "portion": "portion",
    "tonne": "tonne", "game": "game", "child": "child", "adult": "adult", "kid": "kid", "bottle": "bottle",
    "sheet": "sheet", "student": "student", "room": "room", "call": "call", "request": "request",
}  # fmt: skip
_UNIT = either(_UNITS)
_POWER = r"(?:\^?(?P<power>[23])(?!\d))?"
_PER = rf"(?: ?(?:/| per ) ?(?P<per>(?:{_UNIT})|[a-z]{{3,9}}|d)(?![a-zA-Z])(?:\^?(?P<perpower>[23])(?!\d))?)?"
_MINUS = r"(?P<minus>(?<![\w)\d])[-−]|(?<=\w )−)?"
RANGE = r" ?[-–—] ?| to "


_SIDES = {"N": "north", "S": "south", "E": "east", "W": "west"}
# Of these there are several of one number: Year 7s, iPhone 6s.
_NUMBERED_NAMES = frozenset(
    names("Year Grade Level Type Class Tier iPhone Galaxy Model Size Category Windows under Under")
)
# Before a number in the plural: two 10s.
_COUNTS = frozenset(names("two three four five six seven eight nine ten several of"))


def per(name: str) -> str | None:
    """The words for `/month` or `/kg` behind an amount; None where it is no rate."""
    if name in _RATES:
        return "each" if name == "each" else f"per {_RATES[name]}"
    return f"per {_UNITS[name]}" if name in _UNITS else None


def _plural(unit: str) -> str:
    """`miles per hour`, `square feet`, `kilowatt hours`"""
    head, joint, rest = unit.partition(" of ") if " of " in unit else unit.partition(" per ")
    first, space, last = head.rpartition(" ")
    return f"{first}{space}{_PLURALS.get(last) or plural(last)}{joint}{rest}"


_STREET_BEHIND = re.compile(r"\.? (?:[A-Z][a-z]|\d{1,3}(?:st|nd|rd|th)\b)")


def _measure(match: Match, locale: Locale) -> str | None:
    symbol, number = match["unit"], amount(match["high"])
    # 4K is the name of something.
    if symbol == "K" and not match["space"]:
        return None
    if match[0] == f"{match['high']}m" and word_behind(match) in COUNTED:
        return None  # 10m people
    if len(symbol) == 1 and symbol.isupper() and not match["space"] and is_lettered(match):
        return None  # Seat 10J
    if symbol == "W" and match["space"] and _STREET_BEHIND.match(behind(match)):
        return None  # 350 W. 42nd St.
    unit = _UNITS[symbol]
    if symbol == "s" and not match["space"] and not number.fraction and len(number.whole) > 2:
        return {"100": "hundreds", "1000": "thousands"}.get(number.whole) or plural(code(number.whole))
    if symbol == "s" and not match["space"] and (word_before(match) in _NUMBERED_NAMES or before(match).endswith("-")):
        return plural(number.spoken(locale))
    if symbol == "s" and not match["space"] and word_before(match).lower() in _COUNTS:
        return plural(number.spoken(locale))
    if match["power"]:
        unit = f"{'square' if match['power'] == '2' else 'cubic'} {unit}"
    number_words = measured_range(match["low"], number, locale)
    rate = _rate_behind(match["per"], match["perpower"]) if match["per"] else ""
    if rate is None:
        return None
    single = (
        (number.is_one and not match["low"])
        or is_modifier(match)
        or match["hyphen"] == "-"
        or behind(match).startswith("-old")
    )
    words = f"{number_words} {unit if single else _plural(unit)}{rate}"
    if match["minus"]:
        words = f"minus {words}"
    return stopped(words, match)


def _scaled(match: Match, locale: Locale) -> str:
    """1.5 million km, 10 million km²"""
    unit = _UNITS[match["unit"]]
    if match["power"]:
        unit = f"{'square' if match['power'] == '2' else 'cubic'} {unit}"
    return stopped(_plural(unit), match)


def _rate_behind(name: str, power: str | None) -> str | None:
    """The words for `/s`, `/s²` or `/m²`; None where it is no rate."""
    if not power:
        rate = per(name)
        return None if rate is None else f" {rate}"
    if name == "s":
        return f" per second {'squared' if power == '2' else 'cubed'}"
    return f" per {'square' if power == '2' else 'cubic'} {_UNITS[name]}" if name in _UNITS else None


def _part(match: Match, locale: Locale) -> str | None:
    """1/2 tsp, 2 1/2 km"""
    above, below = int(match[2]), int(match[3])
    if not 0 < above < below:
        return None
    words, unit = fraction(above, below, locale), _UNITS.get(match[4], "inch")
    if match[1]:
        words = f"{cardinal(int(match[1]), locale)} and {part_of_one(above, below, locale)}"
        unit = unit if is_modifier(match) else _plural(unit)
    return stopped(f"{words} {unit}", match)


def measured_range(low: str | None, high: Amount, locale: Locale) -> str:
    return f"{amount(low).spoken(locale)} to {high.spoken(locale)}" if low else high.spoken(locale)


def _degrees(match: Match, locale: Locale) -> str:
    number = amount(match["high"])
    unit = "degree" if (number.is_one and not match["low"]) or is_modifier(match) else "degrees"
    scale = {"C": " Celsius", "F": " Fahrenheit", "K": " Kelvin"}.get(match["scale"] or match["named"] or "", "")
    minus = "minus " if match["minus"] else ""
    rate = f" {per(match['per']) or 'per ' + match['per']}" if match["per"] else ""
    side = f" {_SIDES[match['side']]}" if match["side"] else ""
    return f"{minus}{measured_range(match['low'], number, locale)} {unit}{scale}{rate}{side}"


def _position(match: Match, locale: Locale) -> str:
    degrees, minutes, seconds, side = match.groups()
    words = [f"{cardinal(int(degrees))} degrees", f"{cardinal(int(minutes))} minutes"]
    if seconds:
        words.append(f"{amount(seconds).spoken(locale)} seconds")
    if side:
        words.append(_SIDES[side])
    return " ".join(words)


def _percent(match: Match, locale: Locale) -> str:
    minus = "minus " if match["minus"] else ""
    sign = "per mille" if match["sign"] == "‰" else "percent"
    return f"{minus}{measured_range(match['low'], amount(match['high']), locale)} {sign}"


def _dimensions(match: Match, locale: Locale) -> str | None:
    numbers = re.split(r" ?[x×] ?", match[1])
    unit = match["unit"]
    if "×" in match[1] and not unit and " " in match[1]:
        return None
    words = [
        code(each) if not unit and each.isdigit() and len(each) in (3, 4) else amount(each).spoken(locale)
        for each in numbers
    ]
    joined = " by ".join(words)
    if not unit:
        return joined
    name = _UNITS.get(unit, "inch")
    return f"{joined} {name if is_modifier(match) else _plural(name)}"


def _rate(match: Match, locale: Locale) -> str:
    """km/h, without a number before it"""
    return f"{_plural(_UNITS[match[1]])} {per(match[2])}"


def _by(match: Match, locale: Locale) -> str | None:
    """12 ft x 14 ft"""
    # 180cm x 90cm has no space before its unit
    earlier = word_before(match).lstrip("0123456789.,")
    return "by" if earlier in _UNITS or before(match).endswith(("' ", '" ', "in. ", "ft. ")) else None


def _hours(match: Match, locale: Locale) -> str:
    """1h 20m, 2h30m15s, 4m 20s"""
    parts = [(match[1], "hour"), (match[2] or match[4], "minute"), (match[3] or match[5], "second")]
    return " ".join(
        f"{cardinal(int(count))} {name if int(count) == 1 or is_modifier(match) else plural(name)}"
        for count, name in parts
        if count
    )


def _stone(match: Match, locale: Locale) -> str | None:
    """12 st 4 lb, 11st 4lb; in British English 12 st alone, too; but 1st and 21st are places in a row"""
    if re.fullmatch(r"(?:1|[2-9]1)st", match[0]) and not re.match(r" \d{1,2} ?lb", behind(match)):
        return None
    if locale != "en-GB" and not re.match(r" \d", behind(match)):
        return None
    return f"{cardinal(int(match[1]))} stone"


def _times(match: Match, locale: Locale) -> str | None:
    if before(match).endswith(("= ", "=")):
        return None  # y = 2x
    number = amount(match[2])
    return f"{measured_range(match[1], number, locale)} {'time' if number.is_one and not match[1] else 'times'}"


# What shows that an A behind a number means amperes.
_VOLTS_BEFORE = re.compile(r"\d ?[km]?V(?:,| at| and| ?/| ?[x×])? ?\Z")
_VOLTS_BEHIND = re.compile(r"(?:,| at| and| ?/| ?[x×]) ?\d[\d.]{0,6} ?[km]?V\b")
_CURRENT_BEFORE = re.compile(
    r"\b(?:carr(?:y|ies)|delivers?|draws?|suppl(?:y|ies)|current of|fused at|rated (?:at|for)) \Z", re.IGNORECASE
)
_SUPPLIED = re.compile(r" (?:charger|adapter|fuse|breaker|socket|outlet|plug|supply)s?\b")


def _amps(match: Match, locale: Locale) -> str | None:
    number, text = amount(match[1]), before(match)
    if _SUPPLIED.match(behind(match)):
        return f"{number.spoken(locale)} amp"
    if _VOLTS_BEFORE.search(text) or _CURRENT_BEFORE.search(text) or _VOLTS_BEHIND.match(behind(match)):
        return f"{number.spoken(locale)} {'amp' if number.is_one else 'amps'}"
    return None


RULES: list[Rule] = [
    rule(r"(\d{1,3}) ?° ?(\d{1,2}) ?' ?(?:(\d{1,2}(?:\.\d{1,4})?) ?(?:\"|'') ?)?(?:([NSEW])\b)?", _position),
    rule(
        rf"{_MINUS}(?<![\w.,])(?:(?P<low>{AMOUNT})(?: ?°(?= ?[-–—]))?(?:{RANGE}))?(?P<high>{AMOUNT}) ?(?:° ?"
        rf"(?P<scale>[CFK]\b)?|degrees (?P<named>[CFK]\b))(?:/(?P<per>[a-z]{{1,6}})\b| ?(?P<side>[NSEW])(?![\w'-]))?",
        _degrees,
    ),
    rule(
        rf"{_MINUS}(?<![\w.,])(?:(?P<low>{AMOUNT})(?: ?%(?= ?[-–—]))?(?:{RANGE}))?(?P<high>{AMOUNT}) ?(?P<sign>[%‰])",
        _percent,
    ),
    rule(
        rf"{NOT_INSIDE}(\d[\d.,]{{0,8}}(?: ?[x×] ?\d[\d.,]{{0,8}}(?<=\d)){{1,3}})(?: ?(?P<unit>{_UNIT}|in|\")"
        rf"(?![\w]))?(?![\w^])",
        _dimensions,
    ),
    rule(rf"{NOT_INSIDE}(?:(\d{{1,4}})[ -])?(\d{{1,2}})/(\d{{1,2}}) ?({_UNIT}|\"|in(?=\.))(?![\w/])(\.?)(?!\w)", _part),
    rule(
        rf"{NOT_INSIDE}(?:(\d{{1,3}}) ?h ?(\d{{1,2}}) ?m(?:in)?(?: ?(\d{{1,2}}) ?s)?|(\d{{1,3}})m ?(\d{{1,2}})s)(?!\w)",
        _hours,
    ),
    rule(
        rf"{_MINUS}{NOT_INSIDE}(?:(?P<low>{AMOUNT})(?:{RANGE}))?(?P<high>{AMOUNT})(?P<hyphen>-)?(?P<space> )?"
        rf"(?P<unit>{_UNIT}){_POWER}{_PER}"
        rf"(?![\w^])(?!'\w|-(?!old\b)\w)(?P<dot>\.(?=-?\s*[a-z,;)]|\s*\Z))?",
        _measure,
    ),
    rule(
        rf"(?:(?<=million )|(?<=billion )|(?<=trillion )|(?<=thousand ))"
        rf"(?P<unit>{either({*_PREFIXED, *_WIDE})}){_POWER}(?![\w/^-])(?P<dot>\.(?=-?\s*[a-z,;)]|\s*\Z))?",
        _scaled,
    ),
    rule(rf"{NOT_INSIDE}({AMOUNT}) ?A(?![\w'-])", _amps),
    rule(rf"{NOT_INSIDE}(\d{{1,2}}) ?st\b(?=\.?(?: \d{{1,2}} ?lbs?\b|[,;!?)]|\s*\Z))", _stone),
    rule(r"(?<=[a-zA-Z.'\"] )[x×](?= \d)", _by),
    rule(r"\bmmHg\b", "millimeters of mercury"),
    rule(rf"{NOT_INSIDE}(?:({AMOUNT})(?:{RANGE}))?({AMOUNT}) ?[x×](?![\w])(?! ?[\d+=*^/)])", _times),
    rule(r"°C\b", "degrees Celsius"),
    rule(r"°F\b", "degrees Fahrenheit"),
    rule(r"(?<![\w/])(km|m|mi|ft|kg|g|mg|kWh|l|L)/(s|h|min|kg|l|L|m|day|year)\b", _rate),
    rule(r"\bsq\. ?ft\.", "square feet"),
    rule(r"\bm\^?2\b", "square meters"),
]
