"""Words that nobody would say: phonemisers take far more than linear time over them unless they are cut.

A phonemiser tries what a word may consist of, so its time grows with the square or cube of the word's length; what has
no space in it is one word. Words as people write them stay as they are.
"""

import re

MAX_WORD = 36
"""Characters of a word, which is also the number of digits that the longest number with a name has."""

_LONG_WORD = re.compile(rf"\S{{{MAX_WORD + 1},}}")
# Behind a sign in its second half where there is one, as in an address.
_PIECE = re.compile(rf"\S{{{MAX_WORD // 2},{MAX_WORD - 1}}}[^\w\s]|\S{{1,{MAX_WORD}}}")


def cut_words(text: str) -> str:
    """A text with its overlong words cut by spaces."""
    return _LONG_WORD.sub(lambda word: " ".join(_PIECE.findall(word[0])), text)
