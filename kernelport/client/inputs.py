"""Turns what people pass into requests."""

import os
import sys
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from os import PathLike
from typing import IO, Any, TypeAlias

import numpy as np

from kernelport.client.calling.messages import checked_names
from kernelport.client.calling.messages import path as path_of
from kernelport.client.results import Speech
from kernelport.coercion import coerce, show
from kernelport.errors import FieldViolation, InvalidArgumentError
from kernelport.signature import Signature, tensor_spec
from kernelport.v1 import inference_pb2 as pb

# Of many requests, each as `infer` takes them.
Inputs: TypeAlias = Iterable[Any]
AsyncInputs: TypeAlias = Iterable[Any] | AsyncIterable[Any]

_LONGEST_PATH = 1024
_SPOKEN = Signature(inputs=[tensor_spec("text", pb.U8, ["bytes"])])


def only_input(value: Any, signature: Signature) -> dict[str, Any]:
    """Inputs of a single value: it is for the one input that the model asks for.

    Raises:
        InvalidArgumentError: when there are more, or it is None; or the signature is that of a model that nobody has
            served yet.
    """
    if not (signature.inputs or signature.outputs):
        expected = (
            f"expected a mapping of arrays by name, got {show(value)}: no worker has said yet what the model takes; "
            'start one, or name the inputs, as in {"text": ...}'
        )
        raise InvalidArgumentError.of([FieldViolation("inputs", expected)])
    required = [spec.name for spec in signature.inputs if not spec.optional]
    if value is None or len(required) != 1:
        names = ", ".join(f'"{name}"' for name in required) or "none that is required"
        expected = f"expected a mapping of arrays by name (the inputs are {names}), got {show(value)}"
        raise InvalidArgumentError.of([FieldViolation("inputs", expected)])
    return {required[0]: value}


def spoken(text: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of a text to speak."""
    if text is None:
        raise InvalidArgumentError.of([FieldViolation('inputs["text"]', "expected a text, got None")])
    return coerce({"text": text}, _SPOKEN) | {name: value for name, value in inputs.items() if value is not None}


def speech_outputs(outputs: Iterable[str] | None, inputs: Mapping[str, Any]) -> Sequence[str]:
    """Names of wanted outputs with those that speech consists of; none when only the usual ones are wanted."""
    names = checked_names("outputs", outputs)
    if not names:
        return ()
    sound = ("audio", "sample_rate", *(("audio_file",) if "audio_format" in inputs else ()))
    return [*names, *(name for name in sound if name not in names)]  # the caller's keep their places


def recording(audio: bytes | str | PathLike[str] | IO[bytes] | Speech) -> bytes:
    """The bytes of an audio file.

    Raises:
        InvalidArgumentError: when it is none of what can be one, or no path, or the path of a file as bytes.
        OSError: when the file cannot be read.
    """
    if isinstance(audio, Speech):
        from kernelport.audio import encode_audio  # here, because it loads libraries that few callers need

        return encode_audio(audio.audio, audio.sample_rate, ".wav")
    if isinstance(audio, (str, PathLike)):
        return path_of("audio", audio).read_bytes()
    data = audio if isinstance(audio, (bytes, bytearray, memoryview)) else _read(audio)
    if len(data) < _LONGEST_PATH and b"\0" not in data and os.path.exists(bytes(data)):
        raise _not_audio(f"the path {os.fsdecode(bytes(data))!r} as bytes: pass it as str")
    return bytes(data)


def checked_values(inputs: Inputs) -> Inputs:
    """The inputs of many requests.

    Raises:
        InvalidArgumentError: when they are those of one.
    """
    if isinstance(inputs, (str, bytes, Mapping)) or not isinstance(inputs, Iterable):
        expected = f"expected the inputs of many requests, as a list, got {show(inputs)}"
        raise InvalidArgumentError.of([FieldViolation("inputs", expected)])
    return inputs


def checked_async_values(inputs: AsyncInputs) -> AsyncInputs:
    """The same; they may come asynchronously."""
    return inputs if isinstance(inputs, AsyncIterable) else checked_values(inputs)


def checked_concurrency(concurrency: int) -> int:
    """How many requests are on their way at a time.

    Raises:
        InvalidArgumentError: when it is no whole number from 1.
    """
    if isinstance(concurrency, bool) or not isinstance(concurrency, (int, np.integer)) or concurrency < 1:
        violation = FieldViolation("concurrency", f"expected a whole number of at least 1, got {concurrency!r}")
        raise InvalidArgumentError.of([violation])
    return min(int(concurrency), sys.maxsize)  # of more, Python counts none


def _read(file: Any) -> bytes:
    data = file.read() if hasattr(file, "read") else file
    if not isinstance(data, bytes):
        raise _not_audio(show(file) if data is file else "a file opened as text")
    return data


def _not_audio(got: str) -> InvalidArgumentError:
    expected = "expected an audio file: its path, the file opened, or its bytes; or a Speech"
    return InvalidArgumentError.of([FieldViolation("audio", f"{expected}; got {got}")])
