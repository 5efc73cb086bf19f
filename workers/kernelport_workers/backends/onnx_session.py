"""ONNX Runtime behind the contract's arrays: opening a model, what it declares, running it."""

import ctypes
import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from kernelport.config.manifests import OnnxSettings
from kernelport.errors import FieldViolation, InternalError, InvalidArgumentError, install_hint
from kernelport.signature import TensorSpec, tensor_spec
from kernelport.tensors import NUMPY_DTYPES, Array
from kernelport.v1 import inference_pb2 as pb
from kernelport_workers.backends.base import LoadError, Outputs

log = logging.getLogger(__name__)

_DTYPES = {
    "tensor(float)": pb.F32,
    "tensor(float16)": pb.F16,
    "tensor(double)": pb.F64,
    "tensor(bfloat16)": pb.BF16,
    "tensor(int8)": pb.I8,
    "tensor(int16)": pb.I16,
    "tensor(int32)": pb.I32,
    "tensor(int64)": pb.I64,
    "tensor(uint8)": pb.U8,
    "tensor(uint16)": pb.U16,
    "tensor(uint32)": pb.U32,
    "tensor(uint64)": pb.U64,
    "tensor(bool)": pb.BOOL,
    "tensor(string)": pb.STRING,
}
_BFLOAT16 = NUMPY_DTYPES[pb.BF16]
_ONNX_BFLOAT16 = 16  # TensorProto.BFLOAT16
_FATAL = 4  # ONNX Runtime's log severity: what goes wrong in a run is answered, not logged
# What to do about a type that cannot travel, by a part of its name; the first that fits.
_ADVICE = {
    "map(": "export the classifier with zipmap=False, so that it gives its probabilities as one tensor",
    "seq(": "export the model with tensors in the sequence's place",
    "optional(": "export the model with a plain tensor in its place",
    "": "cast it inside the model to one of F32, F16, F64, BF16, I8 to I64, U8 to U64, BOOL",
}
# How much of a file that is no model is looked at, and shown.
_HEAD_BYTES, _SHOWN_BYTES = 512, 60
_SUFFIX = "ExecutionProvider"
_CUDA, _CPU = f"CUDA{_SUFFIX}", f"CPU{_SUFFIX}"
_LEVELS = {
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_Providers = Sequence[tuple[str, Mapping[str, str]]]
"""Names of execution providers and their options, in the order of preference."""


class Session:
    """A model opened for running.

    Args:
        path: the model; external data beside it is found by its relative path.
        device: `cpu`, `cuda`, `cuda:N`, or `auto` for CUDA where it can be used and else the CPU.
        settings: how it is run; providers that it names take the place of a device, which must be `auto` then.
        custom_op_libraries: shared libraries of operators.

    Attributes:
        device: what it got: `cpu`, `cuda:N`, or the first of the settings' providers.
        compute_path: the device, and what else bears upon how numbers are rounded.
        inputs: what every run needs.
        optional_inputs: the initializers that the model lets a caller override.
        outputs: what a run gives.
        runs_in_caller: whether the thread that calls `infer` computes as long as it takes, others helping: on the CPU,
            operator after operator.

    Raises:
        LoadError: the device or a provider cannot be used here, a library or the model cannot be loaded, or a tensor
            has a type that is not in the contract.
    """

    def __init__(
        self, path: Path, device: str, settings: OnnxSettings, custom_op_libraries: Sequence[Path] = ()
    ) -> None:
        options = _options(settings, custom_op_libraries)
        self._session, self.device = _open(path, device, settings, options)
        is_sequential = options.execution_mode == ort.ExecutionMode.ORT_SEQUENTIAL
        self.runs_in_caller = self.device == "cpu" and is_sequential
        threads = options.intra_op_num_threads or "all"
        self.compute_path = (
            f"{self.device}, onnxruntime {ort.__version__}, threads {threads}, optimization {settings.optimization}"
        )
        self.inputs = [_spec(node) for node in self._session.get_inputs()]
        self.optional_inputs = [_spec(node, optional=True) for node in self._session.get_overridable_initializers()]
        self.outputs = [_spec(node) for node in self._session.get_outputs()]
        self._output_names = [spec.name for spec in self.outputs]
        # ONNX Runtime makes no array of a bfloat16 output, and no OrtValue of a string array.
        self._by_ort_values = any(spec.dtype == pb.BF16 for spec in self.outputs)
        if self._by_ort_values and any(spec.dtype == pb.STRING for spec in self.inputs):
            raise LoadError("ONNX Runtime's Python API cannot run a model with STRING inputs and BF16 outputs")

    def infer(self, inputs: Mapping[str, Array]) -> Outputs:
        """Runs the model.

        Raises:
            InvalidArgumentError: ONNX Runtime refuses the inputs as invalid, or a STRING element is not UTF-8.
            InternalError: any other failure, with ONNX Runtime's message.
        """
        feed = {name: self._feed(name, array) for name, array in inputs.items()}
        run = self._session.run_with_ort_values if self._by_ort_values else self._session.run
        try:
            values = [_to_array(value) for value in run(self._output_names, feed)]
        except InvalidArgument as error:
            raise InvalidArgumentError(f"the model refuses its inputs: {error}") from error
        # ONNX Runtime's exceptions have no common base but Exception.
        except Exception as error:
            raise InternalError(f"the model failed: {error}") from error
        return dict(zip(self._output_names, values, strict=True))

    def _feed(self, name: str, array: Array) -> Any:
        """What ONNX Runtime takes in an array's place. Shares the array's memory where it can."""
        if array.dtype.hasobject:
            return _decoded(name, array)
        if array.dtype == _BFLOAT16:
            return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(
                np.require(array, requirements=["C"]).view(np.uint16), _ONNX_BFLOAT16
            )
        return ort.OrtValue.ortvalue_from_numpy(array) if self._by_ort_values else array


def _open(path: Path, device: str, settings: OnnxSettings, options: ort.SessionOptions) -> tuple[Any, str]:
    """ONNX Runtime's session, and the device it got."""
    if settings.providers:
        if device != "auto":
            raise LoadError(f"device {device}: expected auto, as onnx.providers in the manifest says where it runs")
        named = [(each.name, {key: str(value) for key, value in each.options.items()}) for each in settings.providers]
        return _session(path, options, named)
    kind, _, index = device.partition(":")
    if kind != "cpu":
        try:
            return _session(path, options, [(_CUDA, {"device_id": index or "0"}), (_CPU, {})])
        except LoadError as error:
            if kind == "cuda":
                raise LoadError(f"device {device}: {error}") from error
            log.info("running on the CPU: %s", error)
    return _session(path, options, [(_CPU, {})])


def _options(settings: OnnxSettings, custom_op_libraries: Sequence[Path]) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL
    options.graph_optimization_level = _LEVELS[settings.optimization]
    threads = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    options.intra_op_num_threads = settings.intra_op_threads or (int(threads) if threads.isdecimal() else 0)
    if settings.inter_op_threads is not None and settings.inter_op_threads > 1:
        options.inter_op_num_threads = settings.inter_op_threads
        options.execution_mode = ort.ExecutionMode.ORT_PARALLEL  # else operators run one after the other
    for library in custom_op_libraries:
        try:
            options.register_custom_ops_library(str(library))
        # ONNX Runtime's exceptions have no common base but Exception.
        except Exception as error:
            raise LoadError(f"ONNX Runtime cannot load the custom operators in {library}: {error}") from error
    return options


def _session(path: Path, options: ort.SessionOptions, providers: _Providers) -> tuple[Any, str]:
    """A session in which all of these providers take part, and where it runs, for people."""
    available = [*ort.get_available_providers(), _CPU]
    for name, _ in providers:
        if name not in available:
            install = f"{install_hint('onnx-gpu')}, instead of the extra onnx; " if name == _CUDA else ""
            listed = ", ".join(dict.fromkeys(available))
            raise LoadError(f"{name} is not available: {install}available providers are {listed}")
    if _CUDA in available and any(name != _CPU for name, _ in providers):
        ort.preload_dlls()
    try:
        session = ort.InferenceSession(path, options, providers=providers, enable_fallback=0)
    # ONNX Runtime's exceptions have no common base but Exception.
    except Exception as error:
        raise LoadError(f"ONNX Runtime cannot load {path}: {_reason(path, error)}") from error
    for name, _ in providers:
        # ONNX Runtime leaves out a provider whose libraries it cannot load, and goes on.
        if name not in session.get_providers():
            raise LoadError(f"ONNX Runtime could not start {name}; are the libraries that it needs installed?")
    name, own_options = providers[0]
    index = own_options.get("device_id")
    return session, name.removesuffix(_SUFFIX).lower() + (f":{index}" if index else "")


def _reason(path: Path, error: Exception) -> str:
    """Why a model could not be loaded: what is wrong with the file itself goes before what ONNX Runtime made of it."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as unreadable:
        return f"it cannot be read: {unreadable.strerror}"
    if not head:
        return "the file is empty"
    if head.startswith(b"version https://git-lfs"):
        return "the file is a Git LFS pointer, not the model: run `git lfs pull`"
    if head.isascii() and head.decode().replace("\n", " ").replace("\r", " ").replace("\t", " ").isprintable():
        return f"the file is text, not a model: it begins with {head.splitlines()[0][:_SHOWN_BYTES].decode()!r}"
    if "Protobuf parsing failed" in str(error):
        return f"the file is cut off, damaged, or not an ONNX model ({error})"
    return str(error)


def _spec(node: Any, *, optional: bool = False) -> TensorSpec:
    if node.type not in _DTYPES:
        advice = next(advice for kind, advice in _ADVICE.items() if kind in node.type)
        raise LoadError(f'tensor "{node.name}" has the type {node.type}, which cannot travel: {advice}')
    shape = [size if isinstance(size, int) else size or "" for size in node.shape]
    return tensor_spec(node.name, _DTYPES[node.type], shape or None, optional=optional)


def _decoded(name: str, array: Array) -> Array:
    decoded = np.empty(array.size, dtype=object)
    for index, element in enumerate(array.ravel().tolist()):
        try:
            decoded[index] = element.decode()
        except UnicodeDecodeError as error:
            violation = FieldViolation(f'inputs["{name}"]', f"element {index} is not UTF-8: {error}")
            raise InvalidArgumentError.of([violation]) from error
    return decoded.reshape(array.shape)


def _to_array(value: Any) -> Array:
    """The array of an output: an array already, or an OrtValue in the CPU's memory."""
    if isinstance(value, ort.OrtValue):
        if value.element_type() == _ONNX_BFLOAT16:
            size = math.prod(value.shape()) * _BFLOAT16.itemsize
            return np.frombuffer(ctypes.string_at(value.data_ptr(), size), _BFLOAT16).reshape(value.shape())
        value = value.numpy()
    if not value.dtype.hasobject:
        return np.asarray(value)
    encoded = np.empty(value.size, dtype=object)
    encoded[:] = [element.encode() for element in value.ravel().tolist()]
    return encoded.reshape(value.shape)
