"""What a voice makes of a piece, cut to its sound and followed by its pause: so pieces are joined without a click."""

import numpy as np

from kernelport.tensors import Array
from kernelport.text.pieces import KEPT_S

AUDIBLE = 10 ** (-50 / 20)
"""Amplitude above which a sample is heard: -50 dBFS."""
_FADE_S = 0.005


def joinable(sound: Array, pause_s: float, sample_rate: int, audible: float = AUDIBLE) -> Array:
    """A sound without the silence around it, faded in and out, and the pause behind it.

    Pieces made so follow each other without anything between them: from the last audible sample of one to the first of
    the next it is `pause_s`, or twice KEPT_S where that is longer.

    Args:
        sound: F32[S], -1 to 1.
        pause_s: seconds from 0; at 0 nothing follows.
        sample_rate: in Hz.
        audible: amplitude above which a sample is heard.

    Returns:
        F32[T]; nothing but the pause where nothing can be heard.
    """
    fade = np.linspace(0, 1, round(_FADE_S * sample_rate), dtype=np.float32)
    sound = _with_quiet_ends(sound, fade, audible)
    heard = np.flatnonzero(np.abs(sound) > audible)
    if not heard.size:
        return silence(pause_s, sample_rate)
    kept = round(KEPT_S * sample_rate)  # soft beginnings and ends of sounds are in there
    head, tail = max(0, kept - int(heard[0])), max(0, int(heard[-1]) + 1 + kept - sound.size)
    cut = np.pad(sound, (head, tail))[heard[0] - kept + head : heard[-1] + 1 + kept + head]
    cut[: fade.size] *= fade
    cut[cut.size - fade.size :] *= fade[::-1]
    return np.concatenate([cut, silence(pause_s - 2 * KEPT_S, sample_rate)])


def _with_quiet_ends(sound: Array, fade: Array, audible: float) -> Array:
    """A copy, faded in if its first samples are audible, and out if its last are: silence is put next to them."""
    faded = sound.astype(np.float32)
    for from_end in (faded, faded[::-1]):
        edge = from_end[: fade.size]
        if np.abs(edge).max(initial=0) > audible:
            edge *= fade[: edge.size]
    return faded


def silence(seconds: float, sample_rate: int) -> Array:
    """So much of nothing; of a negative time none. F32[T]."""
    return np.zeros(max(0, round(seconds * sample_rate)), np.float32)
