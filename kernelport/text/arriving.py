"""Text that comes bit by bit, such as the words of a language model: how much of it can be spoken by now."""

import re

from kernelport.text.pieces import Piece, pieces
from kernelport.text.reading import passages_of, spoken_passages

# In characters as they come: no piece ends within the first unless one of these marks ends it; a last piece of more
# than the second is spoken though it may go on.
SHORT, LONGEST = 120, 1000
_MAY_END = re.compile(r"[.!?…。！？\n<]")  # the last begins a tag, which may be a pause


def complete(text: str) -> tuple[int, float]:
    """How much of a text that may go on can be spoken by now.

    A piece is complete once the next one has begun: before that, nobody knows whether "3." ends a sentence.

    Args:
        text: all that has come and is not spoken yet.

    Returns:
        The number of its characters, 0 when the first piece may go on yet; and the seconds of silence behind them.
    """
    if len(text) <= SHORT and not _MAY_END.search(text):
        return 0, 0.0  # reading costs a millisecond for every hundred characters
    start = max(0, len(text) - LONGEST)
    before: Piece | None = None
    last: Piece | None = None
    for piece in pieces(spoken_passages(passages_of(text[start:], chinese=True), "en-US")):
        before, last = last, piece
    if before is None or last is None:
        return (len(text) if start else 0), 0.0
    return start + last.text.origins[0], before.pause_s
