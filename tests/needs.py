"""Marks of tests that need what not every Python has."""

from importlib.util import find_spec

import pytest

PIPER_PHONEMIZE = pytest.mark.skipif(
    find_spec("piper_phonemize") is None, reason="piper-phonemize has no wheel for this Python: 3.11 is its last"
)
