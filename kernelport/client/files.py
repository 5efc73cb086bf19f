"""Reads the files that a job's items became."""

from os import PathLike
from pathlib import Path

import numpy as np

from kernelport import npz
from kernelport.client.calling.messages import path as path_of
from kernelport.errors import FieldViolation, InvalidArgumentError
from kernelport.tensors import Array

AUDIO = (".wav", ".flac", ".ogg", ".mp3")


def load_outputs(path: str | PathLike[str]) -> dict[str, Array]:
    """The outputs of an item by name, from the file that `jobs.fetch` wrote.

    Args:
        path: of an .npz file, whose STRING outputs come as arrays of `bytes`, shape as the model gave it; or of a WAV,
            FLAC, OGG or MP3 file: `audio`, F32[S], mono in [-1, 1], and `sample_rate`, I32[1], in hertz.

    Raises:
        InvalidArgumentError: when it is no such file, or damaged.
        OSError: when it cannot be read.
    """
    file = path_of("path", path)
    try:
        if file.suffix.lower() == ".npz":
            return npz.read(file)
        if file.suffix.lower() in AUDIO:
            return _read_audio(file)
    except ValueError as error:
        raise InvalidArgumentError.of([FieldViolation("path", f"{file}: {error}")]) from error
    raise InvalidArgumentError.of([FieldViolation("path", f"{file}: expected .npz or one of {', '.join(AUDIO)}")])


def _read_audio(file: Path) -> dict[str, Array]:
    import soundfile  # here, because it loads a library that few callers need

    try:
        with file.open("rb") as opened:
            audio, rate = soundfile.read(opened, dtype="float32")
    except soundfile.LibsndfileError as error:
        raise ValueError(f"expected an audio file: {error.error_string}") from error
    return {"audio": audio, "sample_rate": np.array([rate], np.int32)}
