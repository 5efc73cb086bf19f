"""Feet and inches: 5 ft 11 in, 6'2", 12' x 14', 3.5 in."""

from kernelport.text.numbers import AMOUNT, NOT_INSIDE, Locale, amount, cardinal
from kernelport.text.rules import Match, Rule, before, is_modifier, rule
from kernelport.text.units import RANGE, measured_range


def _feet(match: Match, locale: Locale) -> str | None:
    feet, inches = int(match[1]), match[2]
    if before(match).count("'") % 2 and not inches:
        return None
    words = f"{cardinal(feet)} {'foot' if feet == 1 or (inches and feet < 10) else 'feet'}"
    return f"{words} {amount(inches).spoken(locale)}" if inches else words


def _feet_by_feet(match: Match, locale: Locale) -> str:
    """12' x 14', 10'6" × 12'"""
    sides = []
    for feet, inches in (match.group(1, 2), match.group(3, 4)):
        side = f"{cardinal(int(feet), locale)} {'foot' if feet == '1' or inches or is_modifier(match) else 'feet'}"
        sides.append(f"{side} {amount(inches).spoken(locale)}" if inches else side)
    return " by ".join(sides)


def _inches_by_inches(match: Match, locale: Locale) -> str:
    """60" x 30\""""
    sides = [amount(each).spoken(locale) for each in match.groups() if each]
    return " by ".join(f"{each} inches" for each in sides)


def _feet_and_inches(match: Match, locale: Locale) -> str:
    """5 ft 11 in"""
    feet, inches = int(match[1]), int(match[2])
    return (
        f"{cardinal(feet)} {'foot' if feet == 1 else 'feet'} {cardinal(inches)} {'inch' if inches == 1 else 'inches'}"
    )


def _inches(match: Match, locale: Locale) -> str:
    number = amount(match[2])
    single = (number.is_one and not match[1]) or is_modifier(match)
    return f"{measured_range(match[1], number, locale)} {'inch' if single else 'inches'}"


def _double_prime(match: Match, locale: Locale) -> str | None:
    """A size in inches, unless the sign closes a quotation."""
    return None if before(match).count('"') % 2 else _inches(match, locale)


_INCHES = r"(\d{1,4}(?:\.\d{1,2})?)\""
_SIDE = r"(\d{1,3})'(?: ?(\d{1,2}(?:\.\d)?) ?(?:\"|''))?"
RULES: list[Rule] = [
    rule(rf"{NOT_INSIDE}(\d{{1,3}}) ?ft\.? (\d{{1,2}}) ?in\b(?!\. ?[A-Z])\.?", _feet_and_inches),
    rule(rf"{NOT_INSIDE}{_INCHES} ?[x×] ?{_INCHES}(?: ?[x×] ?{_INCHES})?(?!\w)", _inches_by_inches),
    # Before the feet of one side, whose sign may close a quotation.
    rule(rf"{NOT_INSIDE}{_SIDE} ?[x×] ?{_SIDE}(?!\w)", _feet_by_feet),
    rule(rf"{NOT_INSIDE}(\d{{1,2}})' ?(?:(\d{{1,2}}(?:\.\d)?) ?(?:\"|''))?(?!\w)", _feet),
    rule(rf"{NOT_INSIDE}(?:({AMOUNT})[-–])?({AMOUNT})\"(?!\w)", _double_prime),
    rule(rf"{NOT_INSIDE}(?:({AMOUNT})(?:{RANGE}))?({AMOUNT}) ?in(?:\.(?=\s*[a-z,;)]|\s*\Z)|(?=[,;)]))", _inches),
]
