"""The program that decodes one recording: the file comes on standard input; a line of JSON and the samples go out.

It stands alone, so that it starts quickly: kernelport/recordings.py runs it and knows what it says.
"""

import io
import json
import os
import resource
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

MEMORY_BYTES = 2**30
CPU_S = 20
# Callers that send no recording go first.
NICENESS = 10
MIN_RATE, MAX_RATE = 4_000, 384_000
MAX_CHANNELS = 8
# Of one channel: ten minutes at the rate of most recordings. At higher rates it is less.
MAX_SAMPLES = 600 * 48_000
_FORMATS = ("WAV", "WAVEX", "FLAC", "OGG", "MP3")
_BLOCK_FRAMES = 1 << 16
# Who writes a WAV file to a pipe does not know its size, and says that it is about as large as can be.
_UNKNOWN_SIZE = 0x7FFFF000
_OGG_HEADER_BYTES, _OGG_END = 27, 4
# Two MPEG frames: what encoders put before the sound, and after it, may count or not.
_MP3_TAG_BYTES, _MP3_TOLERANCE = 4096, 2 * 1152


def _decoded(audio: bytes, max_seconds: float) -> tuple[dict[str, Any], list[Any]]:
    """What is told of a recording, and its samples, in blocks; only a problem when it cannot be used."""
    import soundfile  # behind the limits: it loads the library that reads the file

    try:
        with soundfile.SoundFile(io.BytesIO(audio)) as file:
            problem = "".join(_header_problems(file))
            if problem:
                return {"problem": problem}, []
            longest = min(int(max_seconds * file.samplerate), MAX_SAMPLES)
            blocks, frames, peak = [], 0, 0.0
            # Not `file.blocks`: of a file that ends early, its last block is filled up with what was in memory.
            while len(block := file.read(min(_BLOCK_FRAMES, longest + 1 - frames), "float32", always_2d=True)):
                frames += len(block)
                peak = max(peak, float(np.abs(block).max(initial=0.0)))
                blocks.append(block.mean(axis=1, dtype=np.float32))
            if frames > longest:
                return {"problem": f"expected at most {longest / file.samplerate:g} s, got more"}, []
            if _is_cut(audio, file, frames):
                return {"problem": f"expected a whole {file.format} file, got one that is cut short"}, []
            told = {"format": file.format.removesuffix("EX"), "sample_rate": file.samplerate}
            return {**told, "channels": file.channels, "peak": peak}, blocks
    except (soundfile.LibsndfileError, RuntimeError, TypeError) as error:
        reason = getattr(error, "error_string", "format not recognised")  # its own text has the address of the file
        return {"problem": f"expected a WAV, FLAC, OGG or MP3 file: {reason}"}, []


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


if __name__ == "__main__":
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    _told, _blocks = _decoded(sys.stdin.buffer.read(), float(sys.argv[1]))
    sys.stdout.buffer.write(json.dumps(_told).encode() + b"\n")
    for _block in _blocks:
        sys.stdout.buffer.write(_block.tobytes())
