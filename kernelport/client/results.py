"""What a front door answers with, and the files that items of jobs become, as Python has them."""

import base64
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from kernelport import npz, tensors
from kernelport.client.calling.messages import path as path_of
from kernelport.errors import FieldViolation, InternalError, InvalidArgumentError
from kernelport.tensors import Array
from kernelport.v1 import inference_pb2 as pb

# Files that `load_outputs` reads beside .npz.
_AUDIO = (".wav", ".flac", ".ogg", ".mp3")


@dataclass(frozen=True, eq=False)
class InferResult(Mapping[str, Array]):
    """The outputs of one request by name, and where its time went. A mapping: `result["y"]`, `dict(result)`. It is
    equal to itself alone, as its arrays have no one answer to `==`.

    Attributes:
        outputs: arrays by name; read-only.
        queued_us, batched_us, backend_us: microseconds, as the contract defines them.
        warnings: what was done that nobody asked for, such as text left out that cannot be said.
    """

    outputs: dict[str, Array]
    queued_us: int
    batched_us: int
    backend_us: int
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, response: pb.InferResponse) -> "InferResult":
        """The result that a response carries."""
        outputs = tensors.to_arrays(response.outputs)
        times = (response.queued_us, response.batched_us, response.backend_us)
        return cls(outputs, *times, warnings=tuple(response.warnings))

    def __getitem__(self, name: str) -> Array:
        """The output of that name."""
        return self.outputs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.outputs)

    def __len__(self) -> int:
        return len(self.outputs)

    def __eq__(self, other: object) -> bool:
        return self is other  # a Mapping's own would compare the arrays

    def __hash__(self) -> int:
        return id(self)


@dataclass(frozen=True, eq=False)
class Speech:
    """Mono audio: float32 samples in [-1, 1], shape (S,), and their rate in hertz. A notebook shows it as a player. It
    is equal to itself alone.

    Attributes:
        warnings: what was done that nobody asked for, such as text left out that cannot be said.
        spoken: the words as they were read, a line for each paragraph; None unless the output `spoken` was asked for.
        spans: int32, shape (P, 4), for each piece the characters of the text from which to which it goes, and its first
            sample and the one behind its last, of the whole speech; None unless `spans` was asked for.
    """

    audio: Array
    sample_rate: int
    warnings: tuple[str, ...] = ()
    spoken: str | None = None
    spans: Array | None = None

    @classmethod
    def of(cls, result: InferResult) -> "Speech":
        """The speech that a deployment of the speech contract answered with.

        Raises:
            InternalError: when the outputs are others.
        """
        for name in ("audio", "sample_rate"):
            if name not in result.outputs:
                raise InternalError(f'expected the outputs "audio" and "sample_rate", got none of the name "{name}"')
        audio, rate = result["audio"], int(result["sample_rate"][0])
        if "audio_file" in result.outputs:  # then `audio` is empty
            import soundfile  # here, because it loads a library that few callers need

            audio, rate = soundfile.read(io.BytesIO(result["audio_file"].tobytes()), dtype="float32")
        words = result["spoken"].tobytes().decode() if "spoken" in result.outputs else None
        return cls(audio, rate, result.warnings, words, result.outputs.get("spans"))

    @property
    def seconds(self) -> float:
        """How long it plays."""
        return len(self.audio) / self.sample_rate

    def save(self, path: str | PathLike[str]) -> Path:
        """Writes it as WAV, FLAC, OGG or MP3, as the name's ending says; the file appears when it is complete.

        Raises:
            InvalidArgumentError: when the ending is none of these, or the format has no way to say the sample rate.
            OSError: when it cannot be written.
        """
        from kernelport.audio import write_audio  # here, because it loads libraries that few callers need

        file = path_of("path", path)
        try:
            write_audio(file, self.audio, self.sample_rate)
        except ValueError as error:
            raise InvalidArgumentError.of([FieldViolation("path", str(error))]) from None
        return file

    def _repr_html_(self) -> str:
        """A player, for notebooks."""
        from kernelport.audio import encode_audio

        wav = base64.b64encode(encode_audio(self.audio, self.sample_rate, ".wav")).decode()
        return f'<audio controls src="data:audio/wav;base64,{wav}"></audio>'


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
        if file.suffix.lower() in _AUDIO:
            return _read_audio(file)
    except ValueError as error:
        raise InvalidArgumentError.of([FieldViolation("path", f"{file}: {error}")]) from error
    raise InvalidArgumentError.of([FieldViolation("path", f"{file}: expected .npz or one of {', '.join(_AUDIO)}")])


def _read_audio(file: Path) -> dict[str, Array]:
    import soundfile  # here, because it loads a library that few callers need

    try:
        with file.open("rb") as opened:
            audio, rate = soundfile.read(opened, dtype="float32")
    except soundfile.LibsndfileError as error:
        raise ValueError(f"expected a whole audio file of one of {', '.join(_AUDIO)}") from error
    return {"audio": audio, "sample_rate": np.array([rate], np.int32)}
