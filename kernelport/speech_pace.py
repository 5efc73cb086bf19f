"""How long a voice is expected to take over a text: workers measure it, and front doors go by it."""

import re
import string
from collections.abc import Mapping

# What a call takes beside its letters is little among so many.
LEAST_LETTERS = 200
# Of a text of no more letters it is never said that it takes too long: so a pace that was once far off is put right.
ALWAYS_TAKEN_LETTERS = 2 * LEAST_LETTERS
# Of what was spoken before, so many letters count beside what was spoken last: machines get busy, and idle again.
_KEPT_LETTERS = 1000
# A text takes longer once because its machine stood still: for no more than so many times what is expected it counts.
_MOST_SLOWER = 2.0
_NO_LETTERS = bytes(set(range(256)) - set(string.ascii_letters.encode()))
_TAG = re.compile(rb"<[^<>]*>")
# Nobody knows without reading it how much of such a text is spoken.
_HIDES = re.compile(rb"<(?:!--|head|script|style)", re.IGNORECASE)
SPEED, SEED = "speed", "seed"


def letters(text: bytes, numbers: Mapping[str, float]) -> float:
    """The ASCII letters of a text, tags aside, as many as would take as long at speed 1.

    Args:
        text: UTF-8.
        numbers: the numeric inputs beside it, by name.

    Returns:
        their number; 0 where nobody knows how long they take: beside numbers other than a speed and a seed, or with
        parts that are not spoken, such as comments.
    """
    speed = numbers.get(SPEED, 1.0)
    if not numbers.keys() <= {SPEED, SEED} or isinstance(speed, (str, bytes)) or not speed > 0:
        return 0
    if b"<" in text:
        text = b"" if _HIDES.search(text) else _TAG.sub(b"", text)
    return len(text.translate(None, _NO_LETTERS)) / speed


class SpeechPace:
    """How long a letter is expected to take, by those that were spoken last.

    Attributes:
        seconds_a_letter: of compute; 0 before there was enough to measure.
    """

    def __init__(self) -> None:
        self.seconds_a_letter: float = 0.0

    def note(self, spoken: float, seconds: float) -> None:
        """So many letters were spoken in this time, together."""
        if spoken < LEAST_LETTERS:
            return
        if not (known := self.seconds_a_letter):
            self.seconds_a_letter = seconds / spoken
            return
        seconds = min(seconds, _MOST_SLOWER * known * spoken)
        self.seconds_a_letter = (_KEPT_LETTERS * known + seconds) / (_KEPT_LETTERS + spoken)
