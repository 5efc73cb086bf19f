"""How long a voice takes over a text at least: workers measure it, and front doors go by it."""

import string

# What a call takes beside its letters is little among so many.
LEAST_LETTERS = 200
_NO_LETTERS = bytes(set(range(256)) - set(string.ascii_letters.encode()))


def letters(text: bytes) -> int:
    """The ASCII letters of a text; 0 of one with tags: nobody knows how much of it is spoken."""
    return 0 if b"<" in text else len(text.translate(None, _NO_LETTERS))


class SpeechPace:
    """The least that a letter has taken so far.

    Attributes:
        seconds_a_letter: of compute; 0 before there was enough to measure.
    """

    def __init__(self) -> None:
        self.seconds_a_letter: float = 0.0

    def note(self, spoken: int, seconds: float) -> None:
        """So many letters were spoken in this time, together."""
        if spoken >= LEAST_LETTERS and (not self.seconds_a_letter or seconds < spoken * self.seconds_a_letter):
            self.seconds_a_letter = seconds / spoken
