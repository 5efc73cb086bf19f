"""The sound of what hibari's model gives, without most of the silence that the model puts around every piece."""

from typing import Any

import numpy as np

from kernelport.tensors import Array

# In Hz; the model says less where the voice does not sound.
_VOICED_F0 = 20.0
# Energy of a frame's noise from which it may be heard: a fifth of -50 dBFS, over the 601 bins of a spectrum.
_QUIET = 0.1
# Frames of 12.5 ms: what is kept around those that may be heard, and so many at either end are looked at.
_KEPT, _EDGE = 4, 64
# Of so many bins one is looked at: spectra are smooth.
_STRIDE = 4


def sound_of(voice: Any, phonemes: str, speed: float, noise: np.random.Generator) -> Array:
    """What a voice speaks, F32[S].

    The model puts a quarter of a second of silence before each piece and half a second behind it, of which joins keep
    hardly anything. To turn its frames into sound costs a third of all that a piece costs, whatever is in them.

    Args:
        voice: a `hibari.Hibari`.
        noise: where the noise in the voice comes from.
    """
    from hibari import dsp

    ids = voice.ids(phonemes)
    if len(ids) < 3:
        return np.zeros(0, np.float32)
    fed = {"ids": np.array([ids], np.int64), "speed": np.array([speed], np.float32)}
    harmonic, phase, noise_level, rest_level, rest_phase, f0 = (output[0] for output in voice.sess.run(None, fed))
    frames = _heard(noise_level, rest_level, f0)
    spectra = (each[:, frames] for each in (harmonic, phase, noise_level, rest_level, rest_phase))
    sound: Array = dsp.synth(*spectra, f0[frames], noise)
    return sound


def _heard(noise_level: Array, rest_level: Array, f0: Array) -> slice:
    """The frames in which something may be heard, and some more on either side; all where there are none.

    Args:
        noise_level, rest_level: logarithms of the magnitudes of what is not voiced, F32[bins, frames].
        f0: F32[frames].
    """
    count = len(f0)
    is_heard = f0 > _VOICED_F0
    is_heard[_EDGE : max(_EDGE, count - _EDGE)] = True
    for edge in (slice(0, _EDGE), slice(max(0, count - _EDGE), count)):
        noise, rest = (np.exp(2 * level[::_STRIDE, edge]).sum(0) for level in (noise_level, rest_level))
        is_heard[edge] |= _STRIDE * (2 * noise + rest) > _QUIET
    heard = np.flatnonzero(is_heard)
    return slice(max(0, heard[0] - _KEPT), heard[-1] + 1 + _KEPT) if heard.size else slice(0, count)
