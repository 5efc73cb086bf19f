"""Turns a value in a file into the tensor that a deployment declares."""

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np

from kernelport.item_files.rows import show
from kernelport.signature import Declared, TensorSpec, describe
from kernelport.tensors import NUMPY_DTYPES, Array, from_array
from kernelport.v1 import inference_pb2 as pb

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class ValueProblem(ValueError):
    """A value that is not what its input takes; the message says what was expected."""


def tensor_of(spec: TensorSpec, value: Any, *, parsed: bool, folder: Path) -> pb.Tensor:
    """The tensor of a value.

    Text for a U8 input becomes its UTF-8; a single number for an input of rank 1 gets shape (1,). For inputs other than
    `text`, `@name` stands for what a file holds: an .npy array, or the bytes of any other.

    Args:
        spec: what the deployment declares.
        value: a text, or what JSON made of it.
        parsed: False when a text stands for what it says: a number, or a list as JSON.
        folder: what names of files are relative to.

    Raises:
        ValueProblem: when there is no such tensor.
    """
    if isinstance(value, str) and value.startswith("@") and spec.name != "text":
        value = _file(folder / value[1:])
    if isinstance(value, str):
        if spec.dtype == pb.U8:
            return text_tensor(spec.name, value)
        if not parsed:
            value = _parsed(spec, value)
    elif spec.name == "text" and spec.dtype == pb.U8:
        raise ValueProblem(f"expected a text, got {show(value)}")
    if isinstance(value, bytes) and spec.dtype == pb.U8:
        value = np.frombuffer(value, np.uint8)
    try:
        tensor = from_array(spec.name, value if isinstance(value, np.ndarray) else _array(spec, value))
    except (TypeError, UnicodeEncodeError):  # an .npy file of a dtype that cannot travel; a lone surrogate
        raise _unexpected(spec, value) from None
    finding = next(Declared([spec]).violations([tensor]), None)
    if finding is not None:
        raise ValueProblem(finding.description.partition(": ")[2])
    return tensor


def text_tensor(name: str, text: str) -> pb.Tensor:
    """The UTF-8 of a text as U8[N].

    Raises:
        ValueProblem: when `text` is blank, or holds half of a surrogate pair.
    """
    if name == "text" and not text.strip():
        raise ValueProblem("expected a text, got an empty one")
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise ValueProblem(f"expected Unicode text, got a lone surrogate at character {error.start + 1}") from None
    return pb.Tensor(name=name, dtype=pb.U8, shape=(len(data),), data=data)


def _parsed(spec: TensorSpec, text: str) -> Any:
    """A number, a truth value or a list of them; for STRING the text itself, or a list of texts."""
    if spec.dtype == pb.STRING and not text.startswith("["):
        return text
    text = text.strip()
    if spec.dtype == pb.BOOL and text.lower() in _BOOLEANS:
        return _BOOLEANS[text.lower()]
    try:
        return float(text) if text.lower() in ("nan", "inf", "-inf") else json.loads(text)
    except (ValueError, RecursionError):
        raise _unexpected(spec, text) from None


def _array(spec: TensorSpec, value: Any) -> Array:
    """An array of the declared dtype that holds exactly the values given, rounded to the dtype's precision at most."""
    dtype = NUMPY_DTYPES[spec.dtype]
    try:
        if spec.dtype == pb.STRING:
            array = np.asarray(value)
            if array.dtype.kind != "U":
                raise _unexpected(spec, value)
        else:
            given = np.asarray(value)
            if given.dtype.kind not in _KINDS[dtype.kind] and given.size:
                raise _unexpected(spec, value)
            with np.errstate(over="ignore"):
                array = given.astype(dtype)
            if dtype.kind in "iu" and not np.array_equal(array, given):
                limits = np.iinfo(dtype)
                raise ValueProblem(f"expected integers from {limits.min} to {limits.max}, got {show(value)}")
            if dtype.kind not in "iub" and not np.isfinite(array).all():
                raise ValueProblem(f"expected finite numbers as {describe(spec)}, got {show(value)}")
    except ValueProblem:
        raise
    except (ValueError, TypeError, OverflowError):  # lists of unequal lengths, or of unlike things
        raise _unexpected(spec, value) from None
    return array.reshape(1) if array.ndim == 0 and spec.ranked and len(spec.shape) == 1 else array


# Kinds of what may stand for a kind. bfloat16 is of kind V to numpy.
_KINDS = {"f": "fiu", "V": "fiu", "i": "iu", "u": "iu", "b": "b"}


def _unexpected(spec: TensorSpec, value: Any) -> ValueProblem:
    about = f" ({spec.description})" if spec.description else ""
    return ValueProblem(f"expected {describe(spec)}{about}, got {show(value)}")


@functools.lru_cache(maxsize=64)
def _file(path: Path) -> Array | bytes:
    """A file that rows name, most likely many of them the same one.

    Raises:
        ValueProblem: when it cannot be read.
    """
    try:
        return np.load(path, allow_pickle=False) if path.suffix == ".npy" else path.read_bytes()
    except OSError as error:
        raise ValueProblem(f"expected a file, got @{path}: {error.strerror}") from None
    except ValueError as error:
        raise ValueProblem(f"expected a file, got @{path}: {error}") from None
