"""Turns a value in a file into the tensor that a deployment declares."""

import functools
from pathlib import Path
from typing import Any

import numpy as np

from kernelport import npz
from kernelport.coercion import ValueProblem, array_of, from_text, show, unexpected, utf8
from kernelport.signature import Declared, TensorSpec, describe
from kernelport.tensors import Array, from_array
from kernelport.v1 import inference_pb2 as pb


def tensor_of(spec: TensorSpec, declared: Declared, value: Any, *, parsed: bool, files: Path | None) -> pb.Tensor:
    """The tensor of a value, as `kernelport.coercion` makes it. For inputs other than `text`, `@name` stands for what a
    file in the folder `files` holds: an .npy array, or the bytes of any other.

    Args:
        spec: what the deployment declares.
        declared: the same, alone, ready for comparing.
        value: a text, or what JSON made of it.
        parsed: False when a text stands for what it says: a number, or a list as JSON.
        files: where the files are that values name, in it or below; None when none may be read.

    Raises:
        ValueProblem: when there is no such tensor.
    """
    if isinstance(value, str) and value.startswith("@") and spec.name != "text":
        value = _named_file(files, value[1:])
    if isinstance(value, str) and not parsed:
        value = from_text(spec, value)
    if spec.dtype == pb.U8 and isinstance(value, str):
        return _fitting(declared, text_tensor(spec.name, value))
    if spec.dtype == pb.U8 and spec.name == "text":
        raise ValueProblem(f"expected a text, got {show(value)}")
    array = array_of(spec, value)
    if not isinstance(value, np.ndarray) and array.dtype.kind in "fV" and not np.isfinite(array).all():
        raise ValueProblem(f"expected finite numbers as {describe(spec)}, got {show(value)}")
    try:
        tensor = from_array(spec.name, array)
    except TypeError:  # an .npy file of objects
        raise unexpected(spec, value) from None
    return _fitting(declared, tensor)


def _fitting(declared: Declared, tensor: pb.Tensor) -> pb.Tensor:
    finding = next(declared.violations([tensor]), None)
    if finding is not None:
        raise ValueProblem(finding.description.removeprefix(f'tensor "{tensor.name}": '))
    return tensor


def text_tensor(name: str, text: str) -> pb.Tensor:
    """The UTF-8 of a text as U8[N].

    Raises:
        ValueProblem: when `text` is blank, or holds half of a surrogate pair.
    """
    if name == "text" and not text.strip():
        raise ValueProblem("expected a text, got an empty one")
    return from_array(name, utf8(text))


def _named_file(folder: Path | None, name: str) -> Array | bytes:
    if folder is None:
        raise ValueProblem(f"expected a value, got @{name}: files are read only with --files, which names their folder")
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueProblem(f"expected a file in {folder} or below, got @{name}")
    return _file(folder / name)


@functools.lru_cache(maxsize=64)
def _file(path: Path) -> Array | bytes:
    """A file that rows name, most likely many of them the same one.

    Raises:
        ValueProblem: when it cannot be read.
    """
    try:
        return npz.read_npy(path) if path.suffix == ".npy" else path.read_bytes()
    except OSError as error:
        raise ValueProblem(f"expected a file, got @{path}: {error.strerror}") from None
    except ValueError as error:
        raise ValueProblem(f"@{path}: {error}") from None
