"""Audio files: the same audio gives the same bytes."""

import hashlib
import importlib.util
import io
import struct
import wave
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kernelport.errors import HostError, install_hint
from kernelport.tensors import Array

FORMATS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}
# The rates in Hz that a format is limited to, in ascending order. Audio of another rate is resampled to the next higher
# one, which keeps all that is in it, or to the highest.
_RATES = {
    "OGG": (8000, 12000, 16000, 24000, 48000),
    "MP3": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
}
# Rates that are resampled. Below, a second of audio becomes thousands of times as long.
_RESAMPLED = (1000, 768_000)
# Two bytes a sample, of which a header tells the bytes a second in 32 bits.
_HIGHEST_WAV_RATE = (2**32 - 1) // 2


def check(ending: str) -> None:
    """Looks whether files of this ending can be written here.

    Raises:
        HostError: when a library for it is missing; the message says what to install.
    """
    if ending != ".wav" and importlib.util.find_spec("soundfile") is None:
        raise HostError(f"{ending} files need the package soundfile: {install_hint('audio')}")


def encode_audio(audio: Array, sample_rate: int, ending: str) -> bytes:
    """The bytes of an audio file. Opus and MP3 take few sample rates: audio of another rate is resampled.

    Args:
        audio: floating point [S], mono, -1 to 1.
        sample_rate: in Hz.
        ending: one of FORMATS.

    Raises:
        HostError: when the library for the format is missing.
        ValueError: when the audio has another shape, or the format has no way to say this sample rate.
    """
    if audio.ndim != 1:
        raise ValueError(f"expected samples [S], got {list(audio.shape)}")
    kind, subtype = FORMATS[ending]
    nearest = at_a_rate_of(_RATES.get(kind, ()), sample_rate)
    audio, sample_rate = resampled(audio, sample_rate, nearest), nearest
    if subtype == "PCM_16":
        audio = to_pcm(audio)
    if kind == "WAV":
        return _wav(audio, sample_rate)
    check(ending)
    import soundfile  # here, because clients that write WAV do without it

    file = io.BytesIO()
    try:
        soundfile.write(file, audio, sample_rate, format=kind, subtype=subtype)
    except soundfile.LibsndfileError as error:
        raise ValueError(error.error_string) from error  # its own text has the address of `file`
    encoded = file.getvalue()
    return _with_serial(encoded, hashlib.sha256(audio.tobytes()).digest()[:4]) if kind == "OGG" else encoded


def wav_header(sample_rate: int, size: int | None) -> bytes:
    """What a mono WAV file of 16-bit samples begins with.

    Args:
        sample_rate: in Hz.
        size: bytes of its samples; None while nobody knows: players then play to the end.
    """
    most = 2**32 - 1
    data, riff = (most, most) if size is None else (size, size + 36)
    layout = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, sample_rate, 2 * sample_rate, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", riff, b"WAVE") + layout + struct.pack("<4sI", b"data", data)


def _wav(audio: Array, sample_rate: int) -> bytes:
    if not 0 < sample_rate <= _HIGHEST_WAV_RATE:
        raise ValueError(f"expected 1 to {_HIGHEST_WAV_RATE:,} Hz, got {sample_rate:,}")
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(sample_rate)
        written.writeframes(audio.tobytes())
    return file.getvalue()


def at_a_rate_of(known: Sequence[int], rate: int) -> int:
    """The rate at which a format has audio of a rate, both in Hz.

    Args:
        known: those that it has, in ascending order; none when it has all.

    Raises:
        ValueError: when audio of this rate is not resampled.
    """
    if not known or rate in known:
        return rate
    _check_resampled(rate)
    return next((each for each in known if each > rate), known[-1])


def resampled(audio: Array, rate: int, wanted: int) -> Array:
    """The audio at another rate, in single precision.

    Args:
        audio: floating point [S], mono.
        rate: in Hz, as `wanted` is.

    Raises:
        HostError: when the library for it is missing.
        ValueError: when audio of this rate is not resampled.
    """
    audio = audio.astype(np.float32, copy=False)  # soxr and libsndfile know no half precision
    if rate == wanted:
        return audio
    _check_resampled(rate)
    if importlib.util.find_spec("soxr") is None:
        raise HostError(f"audio of {rate:,} Hz at {wanted:,} Hz needs the package soxr: {install_hint('audio')}")
    import soxr  # here, because clients that resample nothing do without it

    found: Array = soxr.resample(audio, rate, wanted)
    return found


def _check_resampled(rate: int) -> None:
    least, most = _RESAMPLED
    if not least <= rate <= most:
        raise ValueError(f"expected {least:,} to {most:,} Hz, got {rate:,}")


def to_pcm(audio: Array) -> Array:
    """Samples, -1 to 1, as 16 bits, to the nearest step. libsndfile's own conversion cuts to the lower one, and takes
    several times as long."""
    return np.rint(np.clip(audio, -1, 1) * np.float32(32767)).astype("<i2")


def _with_serial(ogg: bytes, serial: bytes) -> bytes:
    """An Ogg stream under another serial number, of four bytes: libsndfile takes a random one."""
    data = bytearray(ogg)
    start = 0
    while start < len(data):
        # A page: 14 bytes, serial number, 4 bytes, checksum, the number of segments, their sizes, the segments.
        segments = start + 27
        sizes = data[segments : segments + data[start + 26]]
        end = segments + len(sizes) + sum(sizes)
        data[start + 14 : start + 18] = serial
        data[start + 22 : start + 26] = bytes(4)
        data[start + 22 : start + 26] = _ogg_checksum(data[start:end])
        start = end
    return bytes(data)


_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _ogg_checksum(page: bytearray) -> bytes:
    """The CRC of a page whose checksum is zero. It is zlib's with the bits mirrored, and nothing inverted."""
    mirrored = zlib.crc32(page.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2).to_bytes(4, "little")


def write_audio(path: Path, audio: Array, sample_rate: int) -> None:
    """Writes speech as WAV, FLAC (both 16-bit), OGG (Opus) or MP3, as the file's ending says.

    The file appears under its name only when it is complete.

    Raises:
        ValueError: when the ending is none of these, or the format has no way to say the sample rate.
    """
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{path}: expected a name that ends in one of {', '.join(FORMATS)}")
    unfinished = path.with_name(f".{path.name}.part")
    try:
        unfinished.write_bytes(encode_audio(audio, sample_rate, path.suffix.lower()))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
