"""Whether what a backend gave back is what it declares: nothing else reaches a caller."""

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from kernelport.errors import InternalError, KernelPortError, in_words, to_status
from kernelport.signature import DeclaredOutputs, is_speech
from kernelport.tensors import MAX_MESSAGE_BYTES, Array, is_bytes, is_masked
from kernelport_workers.backends.base import Backend, Outputs

Result = Outputs | KernelPortError

MOST_FINDINGS = 5
FITTING_KEPT = 1024
_FLOATS = "fV"  # numpy's kinds of dtypes; V: bfloat16


class ResultCheck:
    """What a backend's results are held against. What it declares is read once."""

    def __init__(self, backend: Backend) -> None:
        self._declared = DeclaredOutputs(backend.signature.outputs, shapes=backend.checks_output_shapes)
        self._is_speech = is_speech(backend.signature)
        self._stay = backend.outputs_stay
        # Names, dtypes and shapes that were seen to fit, where values do not matter.
        self._fitting: set[Hashable] = set()

    def checked(self, given: Any, count: int) -> list[Result]:
        """The results of `count` requests; an InternalError in the place of each that is not as declared.

        Raises:
            InternalError: when they are no list of `count`: nobody knows then whose each is.
        """
        if not isinstance(given, list | tuple):
            raise InternalError(f"the model's results: expected a list of {count}, got {type(given).__name__}")
        if len(given) != count:
            raise InternalError(f"the model's results: expected {count}, one for each request, got {len(given)}")
        return [self._checked(each) for each in given]

    def _checked(self, given: Any) -> Result:
        if isinstance(given, KernelPortError):
            return travelling(given)
        if type(given) is not dict and not isinstance(given, Mapping):
            return InternalError(f"the model's result: expected its outputs by name, got {type(given).__name__}")
        outputs: Outputs = {}
        for name, value in given.items():
            if self._stay and type(value) is np.ndarray:
                outputs[name] = value
                continue
            try:
                if is_masked(value):
                    return InternalError(f'output "{name}": expected an array without a mask: fill its gaps')
                outputs[name] = np.asarray(value) if self._stay else _copied(value)
            # A value is anybody's object, and numpy asks it to make an array of itself.
            except Exception as error:
                return InternalError(f'output "{name}": expected an array: {in_words(error)}')
        alike = tuple([(name, array.dtype, array.shape) for name, array in outputs.items()])
        if alike in self._fitting:
            return outputs
        findings = list(islice(self._findings(outputs), MOST_FINDINGS))
        if findings:
            return InternalError(f"the model's result is not as declared: {'; '.join(findings)}")
        if not self._is_speech and len(self._fitting) < FITTING_KEPT:
            self._fitting.add(alike)
        return outputs

    def _findings(self, outputs: Mapping[str, Array]) -> Iterator[str]:
        misfit = False
        for finding in self._declared.findings(outputs):
            misfit = True
            yield finding
        if self._is_speech and not misfit:
            yield from _speech_findings(outputs.get("audio"), outputs.get("sample_rate"))


def _copied(value: Any) -> Array:
    """An array of its own. Elements that are no numbers may change, too: a `bytearray`, or a view of other memory."""
    array = np.asarray(value)
    if array.nbytes > MAX_MESSAGE_BYTES:  # it is refused; a view of few elements may say that it has so many
        return array
    array = array.copy()
    if array.dtype == object:
        np.frompyfunc(_constant, 1, 1)(array, out=array)
    return array


def _constant(element: object) -> object:
    return bytes(element) if is_bytes(element) else element


def wanted(outputs: Outputs, names: Sequence[str]) -> Outputs:
    """The outputs of these names, in this order; all when there are none."""
    return {name: outputs[name] for name in names if name in outputs} if names else outputs


def travelling(error: KernelPortError) -> KernelPortError:
    """A model's error as it can travel: its class may be the model's own."""
    try:
        to_status(error)
    except Exception:
        return InternalError(f"the model failed: {in_words(error)}")
    return error


def _speech_findings(audio: Array | None, sample_rate: Array | None) -> Iterator[str]:
    """What is no sound. Either is None where it is optional and left out."""
    if audio is not None:
        if audio.dtype.kind not in _FLOATS or audio.ndim != 1:
            got = f"{audio.dtype.name}{list(audio.shape)}"
            yield f'output "audio": expected floating-point samples on one axis (mono), got {got}'
        elif not np.isfinite(audio).all():
            yield 'output "audio": expected finite samples, got NaN or infinity'
    if sample_rate is not None and not _is_positive(sample_rate):
        yield f'output "sample_rate": expected one number above 0, got {sample_rate.tolist()}'


def _is_positive(number: Array) -> bool:
    return number.size == 1 and number.dtype.kind in "iu" + _FLOATS and 0 < number.item() < math.inf
