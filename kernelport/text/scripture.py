"""Places in the Bible: books by their short names, and chapters with verses, which are neither times nor scores."""

from kernelport.text.numbers import Locale, cardinal
from kernelport.text.rules import Match, Rule, either, names, rule

# Of these there are a first and a second.
_NUMBERED = {
    "Sam": "Samuel", "Kgs": "Kings", "Chr": "Chronicles", "Chron": "Chronicles", "Cor": "Corinthians",
    "Thess": "Thessalonians", "Tim": "Timothy", "Pet": "Peter", "Jn": "John", "Macc": "Maccabees",
}  # fmt: skip
_SHORT = {
    "Gen": "Genesis", "Exod": "Exodus", "Ex": "Exodus", "Lev": "Leviticus", "Num": "Numbers", "Deut": "Deuteronomy",
    "Josh": "Joshua", "Judg": "Judges", "Neh": "Nehemiah", "Esth": "Esther", "Ps": "Psalm", "Pss": "Psalms",
    "Prov": "Proverbs", "Eccl": "Ecclesiastes", "Isa": "Isaiah", "Jer": "Jeremiah", "Lam": "Lamentations",
    "Ezek": "Ezekiel", "Dan": "Daniel", "Hos": "Hosea", "Mic": "Micah", "Hab": "Habakkuk", "Zech": "Zechariah",
    "Mal": "Malachi", "Matt": "Matthew", "Mt": "Matthew", "Mk": "Mark", "Lk": "Luke", "Jn": "John", "Rom": "Romans",
    "Gal": "Galatians", "Eph": "Ephesians", "Phil": "Philippians", "Col": "Colossians", "Tit": "Titus",
    "Heb": "Hebrews", "Jas": "James", "Rev": "Revelation",
}  # fmt: skip
_BOOKS = (
    *names(
        "Genesis Exodus Leviticus Numbers Deuteronomy Joshua Judges Ruth Ezra Nehemiah Esther Job Psalm Psalms Proverbs"
        " Ecclesiastes Isaiah Jeremiah Lamentations Ezekiel Daniel Hosea Joel Amos Obadiah Jonah Micah Nahum Habakkuk"
        " Zephaniah Haggai Zechariah Malachi Matthew Mark Luke John Acts Romans Galatians Ephesians Philippians"
        " Colossians Titus Philemon Hebrews James Jude Revelation"
    ),
    "Song of Solomon",
    "Song of Songs",
)
_FIRST = {"1": "First", "2": "Second", "3": "Third", "II": "Second", "III": "Third"}
_VERSES = r"(?P<chapter>\d{1,3}):(?P<verse>[1-9]\d{0,2})(?: ?[-–—] ?(?P<last>\d{1,3}))?(?![\w:])"


def _place(match: Match, locale: Locale) -> str:
    parts = match.groupdict()
    number = parts.get("number")
    book = (_NUMBERED if number else _SHORT).get(match["book"], match["book"])
    numbers = " ".join(cardinal(int(parts[name]), locale) for name in ("chapter", "verse", "only") if parts.get(name))
    last = f" to {cardinal(int(parts['last']), locale)}" if parts["last"] else ""
    return f"{_FIRST[number]} {book} {numbers}{last}" if number else f"{book} {numbers}{last}"


RULES: list[Rule] = [
    # 1 Cor. 13:4-7, 1 Corinthians 13
    rule(
        rf"(?<![\w.,'-])(?P<number>[123]|I{{2,3}}) (?P<book>{either((*_NUMBERED, *_NUMBERED.values()))})\b\.? "
        rf"(?:{_VERSES}|(?P<only>\d{{1,2}})(?![\w:]|[.,]\d))",
        _place,
    ),
    # Rom. 8:28, John 1:1
    rule(
        rf"(?<![\w.'-])(?P<book>(?:{either(_BOOKS)})(?= )|(?:{either(_SHORT)})(?=\. ))\.? {_VERSES}",
        _place,
    ),
]
