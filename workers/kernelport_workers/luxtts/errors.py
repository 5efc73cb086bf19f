"""Errors the engine raises; every message names the input, tensor or file and what was expected."""

from __future__ import annotations


class LuxTTSError(Exception):
    """Base class of every error this package raises on purpose."""


class CheckpointError(LuxTTSError):
    """A model file is absent, unreadable, or does not have the expected layout."""


class InvalidInputError(LuxTTSError, ValueError):
    """A request value is out of range or cannot be used.

    Attributes:
        field: Name of the offending input, as callers spell it (``text``, ``prompt_audio``, ``num_steps`` ...).
        reason: What is wrong with it, without the name.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.reason = message


class TextError(InvalidInputError):
    """The text cannot be spoken: nothing to say, or letters of a script the model does not know."""

    def __init__(self, message: str, field: str = "text") -> None:
        super().__init__(field, message)


class DependencyError(LuxTTSError, ImportError):
    """An optional package is needed for this input and is not installed."""


class NotHeardError(LuxTTSError):
    """What hears recordings cannot be loaded now: a hub is away, or a folder holds no model."""


class SynthesisError(LuxTTSError):
    """The network failed or produced numbers that are not finite for one utterance."""
