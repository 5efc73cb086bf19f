"""English made speakable: one front end for every voice, which knows no model."""

from kernelport.text.aligned import Aligned
from kernelport.text.lexicon import NO_LEXICON, Lexicon, LexiconError, merged
from kernelport.text.numbers import Locale
from kernelport.text.pieces import Piece, complete, nothing_to_say, pieces, unsaid
from kernelport.text.reading import LOCALES, Passage, Reading, locale_named, passages_of, read, spoken_passages
from kernelport.text.verbaliser import verbalised, verbalised_parts

__all__ = [
    "LOCALES",
    "NO_LEXICON",
    "Aligned",
    "Lexicon",
    "LexiconError",
    "Locale",
    "Passage",
    "Piece",
    "Reading",
    "complete",
    "locale_named",
    "merged",
    "nothing_to_say",
    "passages_of",
    "pieces",
    "read",
    "spoken_passages",
    "unsaid",
    "verbalised",
    "verbalised_parts",
]
