"""Numbers in Chinese as they are read aloud, where turning their digits into characters is not enough."""

from __future__ import annotations

import re
from collections.abc import Callable

from kernelport.text import Aligned

_UNITS = {
    "km/h": "公里每小时", "km": "公里", "cm": "厘米", "mm": "毫米", "m": "米", "kg": "公斤", "mg": "毫克", "g": "克",
    "ml": "毫升", "mL": "毫升", "L": "升", "°C": "摄氏度", "°F": "华氏度",
}  # fmt: skip
_CURRENCIES = {"¥": "元", "$": "美元", "€": "欧元", "£": "英镑"}
_DIGITS = dict(zip("0123456789", "零一二三四五六七八九", strict=True))

# Letters are English by themselves: a unit is Chinese where the number before it is.
_UNIT = re.compile(
    r"(?:(?<=[\u4e00-\u9fa5])|(?<=[\u4e00-\u9fa5][,:]))( ?-?\d[\d,]*+(?:\.\d++)?)"
    rf" ?({'|'.join(map(re.escape, _UNITS))})(?![A-Za-z/])"
)


def _time(match: re.Match[str]) -> str:
    hour, minute = int(match[1]), int(match[2])
    behind = f"零{minute}分" if 0 < minute < 10 else f"{minute}分" if minute else ""
    return f"{hour}点{behind}"


_RULES: list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]] = [
    (re.compile(r"(?<=\d),(?=\d{3}(?!\d))"), lambda match: ""),
    (re.compile(r"(?<!\d)1[3-9]\d{9}(?!\d)"), lambda match: "".join(map(_DIGITS.__getitem__, match[0]))),
    (
        re.compile(r"(?<!\d)(\d{4})([-/])(\d{1,2})\2(\d{1,2})(?!\d)"),
        lambda match: f"{match[1]}年{int(match[3])}月{int(match[4])}日",
    ),
    (re.compile(r"(?<![\d:])([01]?\d|2[0-4]):([0-5]\d)(?![\d:])"), _time),
    (re.compile(r"(?<=\d):(?=\d)"), lambda match: "比"),
    (re.compile(r"(?<=[\d点分日月年%]) ?[-–~] ?(?=\d)"), lambda match: "到"),
    (re.compile(r"-(?=\d++(?:\.\d++)?(?:摄氏度|华氏度|度))"), lambda match: "零下"),
    (
        re.compile(rf"([{re.escape(''.join(_CURRENCIES))}]) ?(\d++(?:\.\d++)?)"),
        lambda match: match[2] + _CURRENCIES[match[1]],
    ),
]


def with_units(line: Aligned) -> Aligned:
    """A line with Chinese in it, in which units behind Chinese numbers are Chinese."""
    return line.sub(_UNIT, lambda match: match[1] + _UNITS[match[2]])


def numbers_read(run: Aligned) -> Aligned:
    """A Chinese run in which times, dates, ranges, amounts of money and telephone numbers are written as they are read;
    the digits of other numbers stay."""
    for pattern, say in _RULES:
        run = run.sub(pattern, say)
    return run
