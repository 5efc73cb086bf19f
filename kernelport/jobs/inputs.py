"""Tells what items are made from."""

import contextlib
import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import Any

from kernelport.items import TEXT_INPUT
from kernelport.names import is_voice_name
from kernelport.tensors import dtype_name, plain, to_array
from kernelport.v1.inference_pb2 import STRING, U8, Tensor

# Bytes of a string that is told as it is.
LONGEST_VALUE = 1000
VOICE_INPUT = "voice"
# Bytes of UTF-8 that begin no character.
_CONTINUATION = bytes(range(0x80, 0xC0))


class Inputs:
    """Tells what items are made from.

    Args:
        voices: what the job's voices mean: the SHA-256 of each one's recording by its name.
    """

    def __init__(self, voices: Mapping[str, str]) -> None:
        self._voices = voices

    def described(self, inputs: Iterable[Tensor]) -> dict[str, Any]:
        """By name: the value of an input of one element, the name and recording of a registered voice, and of any other
        the dtype, shape and SHA-256 of its data."""
        return {tensor.name: self._described(tensor) for tensor in inputs}

    def _described(self, tensor: Tensor) -> Any:
        is_single = math.prod(tensor.shape) == 1
        if is_single or tensor.dtype == U8:
            for name in voice_names_in([tensor]):
                return {"name": name, "sha256": self._voices.get(name)}
        if is_single and (value := _value(tensor)) is not None:
            return value
        digest = hashlib.sha256(tensor.data).hexdigest()
        return {"dtype": dtype_name(tensor.dtype), "shape": list(tensor.shape), "sha256": digest}


def _value(tensor: Tensor) -> Any:
    """The one element, where JSON has such a value."""
    value = plain(to_array(tensor).ravel()[:1])[0]
    if isinstance(value, bytes):
        with contextlib.suppress(UnicodeDecodeError):
            return value.decode() if len(value) <= LONGEST_VALUE else None
        return None
    return value if math.isfinite(value) else None


def voice_names_in(inputs: Iterable[Tensor]) -> set[str]:
    """What sound inputs called `voice` say, as far as a registered one can have such a name."""
    values: set[bytes] = set()
    for tensor in inputs:
        if tensor.name == VOICE_INPUT:
            if tensor.dtype == U8:
                values.add(tensor.data)
            elif tensor.dtype == STRING:
                values.update(to_array(tensor).ravel())
    return {value.decode() for value in values if is_voice_name(value)}


def characters(inputs: Iterable[Tensor]) -> int:
    """Of the texts among the inputs of a request, as UTF-8 has them."""
    total = 0  # of most calls that are counted, there is nothing to be summed up
    for tensor in inputs:
        if tensor.name == TEXT_INPUT:
            total += _characters(tensor)
    return total


def characters_of_item(inputs: Iterable[Tensor], shared: Iterable[Tensor]) -> int:
    """Of the texts that an item of a job is made from, be it its own or what all items share."""
    return characters([tensor for tensor in inputs if tensor.name == TEXT_INPUT] or shared)


def _characters(tensor: Tensor) -> int:
    texts = to_array(tensor).ravel().tolist() if tensor.dtype == STRING else [tensor.data]
    return sum(len(text.translate(None, _CONTINUATION)) for text in texts)
