"""Audio files."""

import io
from pathlib import Path

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
    soundfile.write(file, audio, sample_rate, format=kind, subtype=subtype)
    return file.getvalue()


def write_audio(path: Path, speech: Speech) -> None:
    """Writes speech as WAV, FLAC (both 16-bit), OGG (Opus) or MP3, as the file's ending says.

    The file appears under its name only when it is complete.

    Raises:
        ValueError: when the ending is none of these.
    """
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{path}: expected a name that ends in one of {', '.join(FORMATS)}")
    kind, subtype = FORMATS[path.suffix.lower()]
    unfinished = path.with_name(f".{path.name}.part")
    soundfile.write(unfinished, speech.audio, speech.sample_rate, format=kind, subtype=subtype)
    unfinished.replace(path)
