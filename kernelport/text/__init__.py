"""English made speakable: one front end for every voice, which knows no model."""

from kernelport.text.numbers import Locale
from kernelport.text.reading import LOCALES, Passage, Reading, passages_of, read

__all__ = ["LOCALES", "Locale", "Passage", "Reading", "passages_of", "read"]
