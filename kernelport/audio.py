"""Audio files: the same audio gives the same bytes."""

import hashlib
import io
import zlib
from pathlib import Path

import numpy as np
import soundfile

from kernelport.client import Speech
from kernelport.tensors import Array

FORMATS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}


def encode_audio(audio: Array, sample_rate: int, ending: str) -> bytes:
    """The bytes of an audio file.

    Args:
        audio: F32[S], mono, -1 to 1.
        sample_rate: in Hz.
        ending: one of FORMATS.

    Raises:
        soundfile.LibsndfileError: when the format does not take this sample rate; Opus takes 8, 12, 16, 24 and 48 kHz.
    """
    kind, subtype = FORMATS[ending]
    file = io.BytesIO()
    if subtype == "PCM_16":
        # To the nearest step. libsndfile's own conversion cuts to the lower one, and takes several times as long.
        audio = np.rint(np.clip(audio, -1, 1) * np.float32(32767)).astype(np.int16)
    soundfile.write(file, audio, sample_rate, format=kind, subtype=subtype)
    encoded = file.getvalue()
    return _with_serial(encoded, hashlib.sha256(audio.tobytes()).digest()[:4]) if kind == "OGG" else encoded


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


def write_audio(path: Path, speech: Speech) -> None:
    """Writes speech as WAV, FLAC (both 16-bit), OGG (Opus) or MP3, as the file's ending says.

    The file appears under its name only when it is complete.

    Raises:
        ValueError: when the ending is none of these.
    """
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{path}: expected a name that ends in one of {', '.join(FORMATS)}")
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_bytes(encode_audio(speech.audio, speech.sample_rate, path.suffix.lower()))
    unfinished.replace(path)
