"""Prices: a sign or a code before or behind the number, cents, scales, ranges and rates."""

import re

from kernelport.text.numbers import (
    AMOUNT,
    EXPONENT,
    NOT_INSIDE,
    Amount,
    Locale,
    amount,
    cardinal,
    plural,
    scientific,
)
from kernelport.text.rules import Match, Rule, before, behind, either, is_modifier, rule
from kernelport.text.units import per

# Sign or code: the unit and its hundredth part.
_CURRENCIES: dict[str, tuple[str, str]] = {
    "$": ("dollar", "cent"), "€": ("euro", "cent"), "£": ("pound", "penny"), "¥": ("yen", ""), "₹": ("rupee", "paisa"),
    "₩": ("won", ""), "₽": ("ruble", "kopeck"), "₺": ("lira", "kurus"), "₴": ("hryvnia", "kopeck"),
    "₪": ("shekel", "agora"), "₫": ("dong", ""), "₱": ("peso", "centavo"), "₦": ("naira", "kobo"),
    "฿": ("baht", "satang"), "₿": ("bitcoin", ""), "US$": ("US dollar", "cent"), "C$": ("Canadian dollar", "cent"),
    "CA$": ("Canadian dollar", "cent"), "A$": ("Australian dollar", "cent"), "AU$": ("Australian dollar", "cent"),
    "NZ$": ("New Zealand dollar", "cent"), "HK$": ("Hong Kong dollar", "cent"), "S$": ("Singapore dollar", "cent"),
    "R$": ("real", "centavo"), "MX$": ("Mexican peso", "centavo"), "USD": ("US dollar", "cent"),
    "EUR": ("euro", "cent"), "GBP": ("British pound", "penny"), "JPY": ("yen", ""), "CHF": ("Swiss franc", "centime"),
    "CAD": ("Canadian dollar", "cent"), "AUD": ("Australian dollar", "cent"), "NZD": ("New Zealand dollar", "cent"),
    "CNY": ("yuan", ""), "RMB": ("renminbi", ""), "INR": ("rupee", "paisa"), "Rs.": ("rupee", "paisa"),
    "Rs": ("rupee", "paisa"), "KRW": ("won", ""), "RUB": ("ruble", "kopeck"), "SEK": ("Swedish krona", "ore"),
    "NOK": ("Norwegian krone", "ore"), "DKK": ("Danish krone", "ore"), "PLN": ("zloty", "grosz"),
    "zł": ("zloty", "grosz"), "Zł": ("zloty", "grosz"), "kr": ("krona", "ore"), "CZK": ("koruna", "heller"),
    "HUF": ("forint", ""),
    "TRY": ("Turkish lira", "kurus"), "MXN": ("Mexican peso", "centavo"), "BRL": ("real", "centavo"),
    "ZAR": ("rand", "cent"), "SGD": ("Singapore dollar", "cent"), "HKD": ("Hong Kong dollar", "cent"),
    "BTC": ("bitcoin", ""), "ETH": ("ether", ""),
}  # fmt: skip
_PLURALS = {
    "penny": "pence", "yen": "yen", "won": "won", "baht": "baht", "yuan": "yuan", "dong": "dong", "rand": "rand",
    "renminbi": "renminbi", "naira": "naira", "lira": "lira", "Turkish lira": "Turkish lira", "real": "reais",
    "Swedish krona": "Swedish kronor", "krona": "kronor", "Norwegian krone": "Norwegian kroner",
    "Danish krone": "Danish kroner", "ore": "ore", "paisa": "paise", "agora": "agorot", "kobo": "kobo",
    "satang": "satang", "kurus": "kurus", "ether": "ether", "shekel": "shekels", "koruna": "koruna",
    "zloty": "zlotys",
}  # fmt: skip
_SCALES = {
    "k": "thousand", "m": "million", "mn": "million", "mm": "million", "mio": "million", "bn": "billion",
    "b": "billion", "tn": "trillion", "t": "trillion", "trn": "trillion",
}  # fmt: skip
_SCALE = (
    r"(?P<scale> ?(?:hundred|thousand|million|billion|trillion)\b(?![-'])"
    r"|(?:[kKmMbBtT]|mn|mm|mio|[bt]n|trn)(?![\w'])| (?:[MB]|mn|mio|bn|tn|trn)(?![\w']))?"
)
_LOW_SCALE = r" ?(?:thousand|million|billion|trillion)\b|(?:[kKmMbB]|bn|tn)(?![\w'])"
_MINUS = r"(?P<minus>(?<![\w)])[-−]|(?<=\w )−)?"
_DASH = r" ?[-–—] ?"
_CODES = [name for name in _CURRENCIES if name.isalpha()]
_SIGN = either(_CURRENCIES)
_BEHIND = either([*(name for name in _CURRENCIES if not name[0].isupper() and name not in ("Rs",)), *_CODES])
_PER = r"(?P<per> ?/ ?(?:[a-z]{2,10}|[ghlm])\b)?"


def _said(match: Match, locale: Locale) -> str | None:
    parts = match.groupdict()
    if parts.get("lowscale"):
        words = f"{_words(match, amount(parts['low']), locale, parts['lowscale'])} to "
    elif parts["low"] and (parts["scale"] or "." not in parts["low"] + parts["high"]):
        words = f"{amount(parts['low']).spoken(locale)} to "
    elif parts["low"]:
        words = f"{_words(match, amount(parts['low']), locale)} to "
    else:
        words = ""
    minus = "minus " if parts["minus"] or parts.get("inner") else ""
    return f"{minus}{words}{_words(match, amount(parts['high']), locale)}{_rate(parts['per'])}"


def _rate(behind: str | None) -> str:
    """The words for `/month`, or none."""
    name = (behind or "").strip(" /")
    return f" {per(name) or f'per {name}'}" if name else ""


def _words(match: Match, number: Amount, locale: Locale, scale: str | None = None) -> str:
    unit, part = _CURRENCIES[match["sign"]]
    if len(number.fraction) == 3 and (number.fraction == "000" or match.start("sign") > match.start("high")):
        number = Amount(number.whole + number.fraction)  # 1.000 €
    scale = (scale or match["scale"] or "").strip()
    modifies = is_modifier(match)
    if scale or not part or (number.fraction and len(number.fraction) != 2):
        scale = _SCALES.get(scale.lower(), scale.lower())
        one = modifies or (number.is_one and not scale)
        return " ".join(filter(None, (number.spoken(locale), scale, unit if one else _plural(unit))))
    cents = int(number.fraction or 0)
    parts = []
    if int(number.whole or 0) or not cents:
        parts.append(
            f"{Amount(number.whole or '0').spoken(locale)} {unit if number.whole == '1' or modifies else _plural(unit)}"
        )
    if cents:
        parts.append(f"{cardinal(cents)} {part if cents == 1 or modifies else _plural(part)}")
    return " and ".join(parts)


def _plural(unit: str) -> str:
    return _PLURALS.get(unit) or plural(unit)


_OF_PENCE = re.compile(r"£|\| (?:coins?|pieces?|each|stamps?)\b")


def _cents(match: Match, locale: Locale) -> str | None:
    number = amount(match[1])
    unit = "penny" if match[2] == "p" else "cent"
    if unit == "penny" and (number.fraction or len(number.whole) > 2):
        return None
    if unit == "penny" and locale != "en-GB" and not _OF_PENCE.search(f"{before(match)} | {behind(match)}"):
        return None
    words = f"{number.spoken(locale)} {unit if number.is_one or is_modifier(match) else _plural(unit)}"
    return words + _rate(match["per"])


def _scientific(match: Match, locale: Locale) -> str:
    minus = "minus " if match["minus"] else ""
    return f"{minus}{scientific(match['number'], match['exponent'], locale)} {_plural(_CURRENCIES[match['sign']][0])}"


RULES: list[Rule] = [
    # or nearest offer, in small ads
    rule(r"(?<=\d )(?:ono|o\.n\.o\.?)(?!\w)", lambda match, locale: "or nearest offer" if locale == "en-GB" else None),
    rule(r"(?<=\d )pcm\b", "per calendar month"),
    # $1e6
    rule(rf"{_MINUS}(?<![A-Za-z])(?P<sign>{_SIGN}) ?(?P<number>{AMOUNT}){EXPONENT}", _scientific),
    # $40, -$40, $-40, $40-50, $40-$50, $1.5 million, $40/month
    rule(
        rf"{_MINUS}(?<![A-Za-z])(?P<sign>{_SIGN}) ?(?P<inner>[-−](?=[\d.]))?"
        rf"(?:(?P<low>{AMOUNT})(?P<lowscale>{_LOW_SCALE})?{_DASH}(?:{_SIGN})?)?(?P<high>{AMOUNT}){_SCALE}{_PER}(?![\d%])",
        _said,
    ),
    # 40 €, 40-50 €, 40 EUR
    rule(
        rf"{_MINUS}{NOT_INSIDE}(?:(?P<low>{AMOUNT}){_DASH})?(?P<high>{AMOUNT}){_SCALE} ?"
        rf"(?P<sign>{_BEHIND}){_PER}(?!\w)",
        _said,
    ),
    rule(rf"{NOT_INSIDE}({AMOUNT}) ?(¢|p){_PER}(?!\w)", _cents),
    # A currency's code without a number is left to the voice, but not a sign with letters.
    rule(r"(?<!\w)US\$", "US dollars"),
    # $x$ is mathematics, $X a price that is not known; $TSLA and $HOME are names.
    rule(r"(?<![\w$])\$([A-Za-z])\$(?![\w$])", lambda match, locale: match[1]),
    rule(r"(?<![\w$])\$([A-Z])(?![\w$])", lambda match, locale: f"{match[1]} dollars"),
    rule(r"(?<![\w$])\$(?=[A-Z]{2,5}\b)", ""),
    rule(r"(?<![\w$])\$(?=[A-Za-z_]\w)", "dollar "),
]
