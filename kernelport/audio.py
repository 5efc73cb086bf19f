"""Audio files."""

from pathlib import Path

import soundfile

from kernelport.client import Speech

FORMATS = {".wav": ("WAV", "PCM_16"), ".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "OPUS")}


def write_audio(path: Path, speech: Speech) -> None:
    """Writes speech as WAV, FLAC (both 16-bit) or OGG (Opus), as the file's ending says.

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
