"""What callers ask for and what they get."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kernelport.text import NO_LEXICON, Lexicon, Locale
from kernelport_workers.luxtts.acoustic import Schedule
from kernelport_workers.luxtts.errors import InvalidInputError, TextError
from kernelport_workers.luxtts.prompt import Voice

MAX_TEXT = 100_000
"""Longest text in characters."""

_RANGES: dict[str, tuple[float, float]] = {
    "num_steps": (1, 64),
    "t_shift": (0.01, 10.0),
    "speed": (0.25, 4.0),
    "guidance_scale": (0.0, 10.0),
}
_UPSTREAM_LEVEL = 0.1


@dataclass(frozen=True, slots=True)
class Utterance:
    """One request.

    Attributes:
        text: What to say, at most 100,000 characters.
        voice: Encoded reference.
        seed: Seed of this utterance's noise, 0 to 2**63 - 1; None draws one, which the result reports.
        num_steps: Solver steps, 1 to 64.
        t_shift: Time shift of the schedule, 0.01 to 10; below 1 favours small times.
        speed: 0.25 to 4. 1 is the pace of the reference. The original engine multiplied it by 1.3 without saying so.
        guidance_scale: Strength of conditioning, 0 to 10; an input of the distilled network.
        return_smooth: Use the 24 kHz head only: softer highs, still 48 kHz output.
        upstream: Reproduce the original engine: its tokenizer, speed times 1.3, one pass whatever the length, the last
            frame lost, and output at rms/0.1 of full level. By default the output is as loud as the reference.
        locale: How dates are read and numbers said; not in upstream mode.
        lexicon: Words that are read otherwise; not in upstream mode.
    """

    text: str
    voice: Voice
    seed: int | None = None
    num_steps: int = 4
    t_shift: float = 0.9
    speed: float = 1.0
    guidance_scale: float = 3.0
    return_smooth: bool = False
    upstream: bool = False
    locale: Locale = "en-US"
    lexicon: Lexicon = NO_LEXICON

    def validate(self) -> None:
        """Check every range.

        Raises:
            InvalidInputError: A value is out of range; ``field`` names it.
        """
        if len(self.text) > MAX_TEXT:
            raise TextError(f"has {len(self.text)} characters, expected at most {MAX_TEXT}")
        for field, (low, high) in _RANGES.items():
            value = getattr(self, field)
            if not (math.isfinite(value) and low <= value <= high):
                raise InvalidInputError(field, f"is {value}, expected {low:g} to {high:g}")
        if self.seed is not None and not 0 <= self.seed < 2**63:
            raise InvalidInputError("seed", f"is {self.seed}, expected 0 to 2**63 - 1")
        if not self.voice.tokens or not len(self.voice.features):
            raise InvalidInputError("voice", "has no tokens or no frames")

    @property
    def schedule(self) -> Schedule:
        """Solver settings."""
        return Schedule(self.num_steps, self.t_shift, self.guidance_scale)

    @property
    def gain(self) -> float:
        """Factor from the vocoder's level, which is the raised reference's, to the level asked for."""
        reference = _UPSTREAM_LEVEL if self.upstream else self.voice.target_rms
        return min(1.0, self.voice.rms / reference)


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """Generated speech.

    Attributes:
        samples: Mono float32 (n,) within [-1, 1].
        sample_rate: Always 48000 Hz.
        seed: Seed that reproduces it.
        warnings: What was done to it that nobody asked for.
    """

    samples: NDArray[np.float32]
    sample_rate: int
    seed: int
    warnings: tuple[str, ...] = ()
