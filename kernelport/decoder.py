"""The program that decodes one recording, and judges it where it is to be a voice: the file comes on standard input; a
line of JSON goes out, and the samples behind it where they are wanted.

It stands alone, so that it starts quickly: kernelport/recordings.py runs it and knows what it says.
"""

import io
import json
import resource
import sys
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

MEMORY_BYTES = 2**30
CPU_S = 20
MIN_RATE, MAX_RATE = 4_000, 384_000
MAX_CHANNELS = 8
# Of one channel: ten minutes at the rate of most recordings. At higher rates it is less.
MAX_SAMPLES = 600 * 48_000
_FORMATS = ("WAV", "WAVEX", "FLAC", "OGG", "MP3")
_BLOCK_FRAMES = 1 << 16
# Of libsndfile's errors: a format that it does not know, and what it takes for MP3, such as text in UTF-16, and has no
# frame; its words for that are that there is no such file.
_UNRECOGNISED = (1, 7)
# Who writes a WAV file to a pipe does not know its size, and says that it is about as large as can be.
_UNKNOWN_SIZE = 0x7FFFF000
_OGG_HEADER_BYTES, _OGG_END = 27, 4
# Two MPEG frames: what encoders put before the sound, and after it, may count or not.
_MP3_TAG_BYTES, _MP3_TOLERANCE = 4096, 2 * 1152
MIN_SPEECH_S, MAX_SPEECH_S = 0.5, 30.0
"""Of a voice's recording without the silence around it; at most so much where its words are given, all of which are
used."""
# A step of the levels, and which of them are silence: what is so far below the loudest, and what is below the last.
_STEP_S, _STEPS_AT_ONCE = 0.01, 1000
_QUIET_DB, _FLOOR_DB = -40.0, -65.0
_SILENCE = 10 ** (_FLOOR_DB / 20)
# What is kept of the silence before and behind the first and the last sound.
_LEAD_S, _TAIL_S = 0.3, 0.1
LEAST_SOUND_S = 0.2
# The largest mean, of full scale.
MOST_OFFSET = 0.1
# A sample that is within so much of the largest, and of its neighbour, has been cut off; so many in a hundred may be,
# which is more than any pure tone has.
_FLAT = 1e-3
MOST_CLIPPED_PERCENT = 3.0
# A sum of channels that is so much quieter than the loudest of them has lost what they have in common.
_LEAST_OF_PEAK = 0.02


def levels(samples: Array, sample_rate: int) -> Array:
    """The level of every 10 ms about their mean, in dB relative to full scale: F64[N]; what is left over is dropped."""
    step = max(1, round(_STEP_S * sample_rate))
    steps = samples[: len(samples) // step * step].reshape(-1, step)
    mean = samples.mean(dtype=np.float64) if len(samples) else 0.0
    some = (steps[first : first + _STEPS_AT_ONCE] for first in range(0, len(steps), _STEPS_AT_ONCE))
    powers = [np.square(each.astype(np.float64) - mean).mean(axis=1) for each in some]
    return np.asarray(10.0 * np.log10(np.concatenate([np.zeros(0), *powers]) + 1e-12))


def is_loud(found: Array) -> Array:
    """Which of some levels are of sound: BOOL[N]."""
    return found > max(float(found.max(initial=_FLOOR_DB)) + _QUIET_DB, _FLOOR_DB)


def speech_in(samples: Array, sample_rate: int) -> slice:
    """Where the sound of a recording lies, with at most 0.3 s before and 0.1 s behind it; empty where all is silent."""
    step = max(1, round(_STEP_S * sample_rate))
    loud = np.flatnonzero(is_loud(levels(samples, sample_rate)))
    if not loud.size:
        return slice(0, 0)
    first = max(0, int(loud[0]) * step - int(_LEAD_S * sample_rate))
    return slice(first, min(len(samples), (int(loud[-1]) + 1) * step + int(_TAIL_S * sample_rate)))


def _decoded(audio: bytes, max_seconds: float) -> tuple[dict[str, Any], Array]:
    """What is told of a recording, and its samples, F32[S]; only a problem when it cannot be used."""
    import soundfile  # behind the limits: it loads the library that reads the file

    none = np.zeros(0, np.float32)
    try:
        with soundfile.SoundFile(io.BytesIO(audio)) as file:
            problem = "".join(_header_problems(file))
            if problem:
                return {"problem": problem}, none
            longest = min(int(max_seconds * file.samplerate), MAX_SAMPLES)
            blocks, frames, peak = [none], 0, 0.0
            # Not `file.blocks`: of a file that ends early, its last block is filled up with what was in memory.
            while len(block := file.read(min(_BLOCK_FRAMES, longest + 1 - frames), "float32", always_2d=True)):
                frames += len(block)
                peak = max(peak, float(np.abs(block).max(initial=0.0)))
                blocks.append(block.mean(axis=1, dtype=np.float32))
            if frames > longest:
                return {"problem": f"expected at most {longest / file.samplerate:g} s, got more"}, none
            if _is_cut(audio, file, frames):
                return {"problem": f"expected a whole {file.format} file, got one that is cut short"}, none
            samples = np.concatenate(blocks)
            if problem := _samples_problem(samples):
                return {"problem": problem}, none
            told = {"format": file.format.removesuffix("EX"), "sample_rate": file.samplerate}
            seconds = len(samples) / file.samplerate
            return {**told, "channels": file.channels, "peak": peak, "seconds": seconds}, samples
    except (soundfile.LibsndfileError, RuntimeError, TypeError) as error:
        code, reason = getattr(error, "code", 1), getattr(error, "error_string", "")  # its text has the file's address
        found = ", got something else" if code in _UNRECOGNISED else f": {reason}"
        return {"problem": f"expected a WAV, FLAC, OGG or MP3 file{found}"}, none


def _samples_problem(samples: Array) -> str:
    """What makes samples useless for anything; empty when nothing does."""
    if not samples.size:
        return "expected samples, got none"
    return "" if np.isfinite(samples).all() else "expected samples that are finite"


def _voice_problems(told: Mapping[str, Any], samples: Array, is_transcribed: bool) -> Iterator[str]:
    """What speaks against a recording as a voice.

    Args:
        told: of the recording.
        is_transcribed: whether its words are given, so that all of it is used.
    """
    rate = told["sample_rate"]
    if told["seconds"] < MIN_SPEECH_S:
        yield f"expected at least {MIN_SPEECH_S:g} s of speech, got {told['seconds']:.2f} s"
    loudest = float(np.abs(samples).max(initial=0.0))
    if told["peak"] < _SILENCE:
        yield "expected speech, got silence"
    elif loudest < _LEAST_OF_PEAK * told["peak"]:
        yield f"expected channels that agree: mixed to one, the {told['channels']} of it cancel each other"
    if (offset := abs(float(samples.mean(dtype=np.float64)))) > MOST_OFFSET:
        yield f"expected samples around zero, got a mean of {offset:.2f} of full scale; a high-pass filter removes it"
    span = speech_in(samples, rate)
    sound_s = np.count_nonzero(is_loud(levels(samples, rate))) * _STEP_S
    if not sound_s:
        yield "expected speech, got silence"
    speech_s = (span.stop - span.start) / rate
    if speech_s < MIN_SPEECH_S or sound_s < LEAST_SOUND_S:
        yield f"expected at least {MIN_SPEECH_S:g} s of speech, got {min(speech_s, max(sound_s, _STEP_S)):.2f} s"
    if is_transcribed and speech_s > MAX_SPEECH_S:
        yield f"expected at most {MAX_SPEECH_S:g} s of speech where its words are given, got {speech_s:.2f} s"
    flat = (np.abs(samples[1:]) > (1 - _FLAT) * loudest) & (np.abs(np.diff(samples)) < _FLAT * loudest)
    if (clipped := 100 * float(flat.mean())) > MOST_CLIPPED_PERCENT:
        yield f"expected a recording that is not clipped, got one with {clipped:.1f} % of its samples cut off"


def _header_problems(file: Any) -> Iterator[str]:
    """What the first bytes of a file say against it."""
    if file.format not in _FORMATS:
        yield f"expected a WAV, FLAC, OGG or MP3 file, got {file.format}"
    elif not MIN_RATE <= file.samplerate <= MAX_RATE or file.channels > MAX_CHANNELS:
        expected = f"{MIN_RATE} to {MAX_RATE} Hz and at most {MAX_CHANNELS} channels"
        yield f"expected {expected}, got {file.samplerate} Hz and {file.channels}"


def _is_cut(audio: bytes, file: Any, frames: int) -> bool:
    """Whether a file says that there is more of it than there is. Over a FLAC file libsndfile itself says so.

    Args:
        frames: that were decoded.
    """
    if file.format in ("WAV", "WAVEX"):
        return _wav_is_cut(audio)
    if file.format == "OGG":
        return _ogg_is_cut(audio)
    # Of an MP3 file only one with this tag says how long it is; elsewhere libsndfile guesses.
    told = file.format == "MP3" and any(tag in audio[:_MP3_TAG_BYTES] for tag in (b"Xing", b"Info"))
    return told and frames < file.frames - _MP3_TOLERANCE


def _wav_is_cut(audio: bytes) -> bool:
    position = 12
    while position + 8 <= len(audio):
        size = int.from_bytes(audio[position + 4 : position + 8], "little")
        if audio[position : position + 4] == b"data":
            return size < _UNKNOWN_SIZE and position + 8 + size > len(audio)
        position += 8 + size + size % 2
    return False


def _ogg_is_cut(audio: bytes) -> bool:
    """Whether the last page is not that of the end, or not whole."""
    page = audio.rfind(b"OggS")
    header = audio[page : page + _OGG_HEADER_BYTES]
    if len(header) < _OGG_HEADER_BYTES or not header[5] & _OGG_END:
        return True
    lengths = audio[page + _OGG_HEADER_BYTES :][: header[26]]
    return page + _OGG_HEADER_BYTES + header[26] + sum(lengths) > len(audio)


def _answer(audio: bytes, max_seconds: float, wanted: Collection[str]) -> Iterator[bytes]:
    """What goes out, in order.

    Args:
        wanted: of "judged", "transcribed" (its words are given) and "samples".
    """
    told, samples = _decoded(audio, max_seconds)
    if "judged" in wanted and "problem" not in told:
        for problem in _voice_problems(told, samples, "transcribed" in wanted):
            told = {"problem": problem}
            break
    yield json.dumps(told).encode() + b"\n"
    if "samples" in wanted and "problem" not in told:
        yield samples.tobytes()


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    for _part in _answer(sys.stdin.buffer.read(), float(sys.argv[1]), sys.argv[2:]):
        sys.stdout.buffer.write(_part)
