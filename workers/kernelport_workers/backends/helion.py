"""Serves a kernel written in Helion, or any function on torch tensors."""

import inspect
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, get_args, get_origin

import numpy as np

from kernelport.config.deployments import Batching, Deployment
from kernelport.counting import counted
from kernelport.errors import InternalError, InvalidArgumentError, KernelPortError, in_words, install_hint
from kernelport.signature import Signature, TensorSpec, tensor_spec
from kernelport.tensors import NUMPY_DTYPES, Array
from kernelport.v1 import inference_pb2 as pb
from kernelport.v1.deployment_pb2 import ROW_INDEPENDENCE_DECLARED
from kernelport_workers.backends import trial
from kernelport_workers.backends.base import Backend, LoadError, Outputs, Request
from kernelport_workers.backends.loading import import_attribute
from kernelport_workers.backends.stacking import Stacker, is_off
from kernelport_workers.kernels import environment

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

_BFLOAT16 = NUMPY_DTYPES[pb.BF16]
_SCALARS = {int: pb.I64, float: pb.F64, bool: pb.BOOL}
_TENSORS = [dtype for dtype in NUMPY_DTYPES if dtype != pb.STRING]


class HelionBackend(Backend):
    """Runs `module:attribute`: a `helion.kernel`, or any callable that takes and returns torch tensors.

    With a GPU the kernel compiles, and what Helion's autotuner finds is kept on disk in `HELION_CACHE_DIR` (default
    `~/.cache/kernelport/helion`); `HELION_AUTOTUNE_EFFORT` (`none`, `quick`, `full`; default `quick`) says how long it
    searches. Without one, or with device `cpu`, it runs in Helion's interpret mode: right, but slow.

    The kernel's parameters are its inputs, by name. One annotated `int`, `float` or `bool` takes an I64, F64 or BOOL
    tensor of shape [1] and gets the number in it; any other takes a tensor of any shape and of any dtype but STRING.
    One with a default is optional. The output is named `y`; with a return annotation `tuple[Tensor, ...]` of several
    elements, they are `y0`, `y1` and so on.

    A module that says more exactly what it takes declares `SIGNATURE` beside the kernel: its inputs are named as the
    parameters, and its outputs are in the order in which the kernel returns them. With `batchable=True`, requests
    with equal dtypes are stacked along each tensor's `batch_axis` (0 unless `tensor_spec` says another) when their
    other sizes are equal: declare it only where each row of every output depends on the same row of the inputs alone.

        SIGNATURE = Signature(
            inputs=[tensor_spec("x", pb.F32, ["rows", 64]), tensor_spec("scale", pb.F32, [1], optional=True)],
            outputs=[tensor_spec("y", pb.F32, ["rows", 64])],
        )

        @helion.kernel(static_shapes=False)
        def scaled(x: torch.Tensor, scale: float = 1.0) -> torch.Tensor: ...

    A kernel refuses its inputs with ValueError, which the caller gets as an InvalidArgumentError.
    """

    requirements: ClassVar[Mapping[str, str]] = dict.fromkeys(("torch", "helion"), install_hint("helion"))

    def __init__(
        self,
        kernel: Callable[..., Any],
        device: "torch.device",
        deployment: Deployment,
        declared: Signature | None = None,
    ) -> None:
        self._kernel = kernel
        self._torch_device = device
        function = getattr(kernel, "fn", kernel)
        self._parameters = inspect.signature(function, eval_str=True)
        self.device = "cpu (interpreted)" if device.type == "cpu" else str(device)
        self.signature = (
            _stacked_where_declared(declared, deployment.batching) if declared else _derived(self._parameters)
        )
        self._check_signature()
        self._stacker = Stacker(deployment.name, self.signature, deployment.batching, self._call)
        self._warm_up()

    @classmethod
    def load(cls, deployment: Deployment) -> Self:
        """Imports the kernel, compiles it (with a GPU) and runs it once for each dtype it declares.

        Raises:
            LoadError: no kernel is named or it cannot be imported, its SIGNATURE does not fit it, or the device names
                CUDA and there is none.
        """
        if deployment.kernel is None:
            raise LoadError("backend helion needs `kernel: module:attribute`")
        device = _device(deployment.device)
        environment.prepare(gpu=device.type != "cpu")
        if device.type == "cpu":
            log.warning("%s: no GPU in use; the kernel runs in Helion's interpret mode on the CPU", deployment.name)
        kernel = import_attribute(deployment.kernel)
        if not callable(kernel):
            raise LoadError(f"{deployment.kernel} is not callable")
        module = sys.modules[deployment.kernel.partition(":")[0]]
        return cls(kernel, device, deployment, getattr(module, "SIGNATURE", None))

    def take_limits(self, batching: Batching) -> None:
        """Stacks no more in one run than these allow."""
        self._stacker.limits = batching

    def run(self, requests: Sequence[Request]) -> list[Outputs | KernelPortError]:
        """Runs a batch. An item whose kernel raises ValueError yields InvalidArgumentError, any other exception
        InternalError."""
        return self._stacker.run(requests)

    def _call(self, inputs: Mapping[str, Array]) -> Outputs:
        try:
            arguments = self._parameters.bind(**{name: self._argument(name, array) for name, array in inputs.items()})
            result = self._kernel(*arguments.args, **arguments.kwargs)
            values = result if isinstance(result, tuple | list) else [result]
            arrays = [_to_array(value) for value in values]
        except KernelPortError:
            raise
        except ValueError as error:
            refusal = in_words(error).removeprefix(f"{type(error).__name__}: ")
            raise InvalidArgumentError(f"the kernel refuses its inputs: {refusal}") from error
        # A user's own code may raise anything.
        except Exception as error:
            raise InternalError(f"the kernel failed: {in_words(error)}") from error
        names = [spec.name for spec in self.signature.outputs]
        if len(arrays) != len(names):
            raise InternalError(f"the kernel returned {counted(len(arrays), 'tensor')}; expected {', '.join(names)}")
        return dict(zip(names, arrays, strict=True))

    def _argument(self, name: str, array: Array) -> Any:
        if self._parameters.parameters[name].annotation in _SCALARS:
            return array.item()
        return _to_tensor(array).to(self._torch_device)

    def _check_signature(self) -> None:
        names = {spec.name for spec in self.signature.inputs}
        unknown = names - self._parameters.parameters.keys()
        if unknown:
            raise LoadError(f"SIGNATURE has inputs that the kernel has no parameter for: {', '.join(sorted(unknown))}")
        optional = {spec.name for spec in self.signature.inputs if spec.optional}
        for name, parameter in self._parameters.parameters.items():
            if parameter.default is parameter.empty and name not in names - optional:
                raise LoadError(
                    f"the kernel's parameter {name!r} has no default: SIGNATURE must require it as an input"
                )
        if any(spec.dtype == pb.STRING for spec in [*self.signature.inputs, *self.signature.outputs]):
            raise LoadError("torch has no STRING tensors")

    def _warm_up(self) -> None:
        # What is tuned here serves all shapes of a kernel with `static_shapes=False`: take one worth tuning for.
        size = 2 if self._torch_device.type == "cpu" else 1024
        required = [spec for spec in self.signature.inputs if not spec.optional]
        if self.signature.batchable:
            self._try(required)
        if not all(spec.ranked for spec in required):
            return
        for dtype in dict.fromkeys(dtype for spec in required for dtype in (spec.dtype, *spec.other_dtypes)):
            specs = [_with_dtype(spec, dtype) for spec in required]
            try:
                self._call(trial.sample_inputs(specs, rows=size, free=size))
            except KernelPortError as error:
                log.info("no warm-up: the kernel does not take random inputs: %s", error)

    def _try(self, required: Sequence[TensorSpec]) -> None:
        if self._torch_device.type == "cpu":  # on a GPU each new shape may cost a tuning
            verdict = trial.judge(required, self._call, self._stacker.together)
            if verdict.difference is not None:
                raise LoadError(f"SIGNATURE says batchable, and a trial contradicts it: {verdict.difference}")
            if verdict.could_differ:
                return
        self.signature.reason += "; no trial could contradict it"


def _device(name: str) -> "torch.device":
    import torch

    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    device = torch.device("cuda:0" if name in ("auto", "cuda") else name)
    count = torch.cuda.device_count()
    if device.index >= count:
        raise LoadError(
            f"device {name}: torch {torch.__version__} sees {counted(count, 'CUDA device')}; use cpu or auto"
        )
    torch.cuda.set_device(device)
    return device


def _derived(parameters: inspect.Signature) -> Signature:
    """The signature that a kernel's annotations and defaults tell."""
    inputs = []
    for name, parameter in parameters.parameters.items():
        optional = parameter.default is not parameter.empty
        if parameter.annotation in _SCALARS:
            inputs.append(tensor_spec(name, _SCALARS[parameter.annotation], [1], optional=optional))
        else:
            inputs.append(_any_tensor(name, optional=optional))
    returned = parameters.return_annotation
    elements = get_args(returned) if get_origin(returned) is tuple else ()
    names = [f"y{index}" for index in range(len(elements))] if len(elements) > 1 else ["y"]
    outputs = [_any_tensor(name) for name in names]
    return Signature(inputs=inputs, outputs=outputs, reason="the kernel has no SIGNATURE that says batchable")


def _stacked_where_declared(declared: Signature, limits: Batching) -> Signature:
    signature = Signature()
    signature.CopyFrom(declared)
    if is_off(signature, limits):
        return signature
    if declared.batchable:
        signature.row_independence = ROW_INDEPENDENCE_DECLARED
        signature.reason = "the kernel's SIGNATURE says batchable"
    else:
        signature.reason = "the kernel's SIGNATURE does not say batchable"
    return signature


def _any_tensor(name: str, *, optional: bool = False) -> TensorSpec:
    return tensor_spec(name, _TENSORS[0], None, optional=optional, other_dtypes=_TENSORS[1:])


def _with_dtype(spec: TensorSpec, dtype: pb.DType) -> TensorSpec:
    """The spec as a request in that dtype would fit it."""
    chosen = TensorSpec()
    chosen.CopyFrom(spec)
    chosen.dtype = dtype if dtype in spec.other_dtypes else spec.dtype
    return chosen


def _to_tensor(array: Array) -> "torch.Tensor":
    """A tensor that owns its memory, or shares that of a writable array: torch has no read-only tensors."""
    import torch

    array = np.require(array, requirements=["C", "W"])
    if array.dtype == _BFLOAT16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _to_array(value: Any) -> Array:
    import torch

    tensor = torch.as_tensor(value).detach().cpu()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(_BFLOAT16)
    return tensor.numpy()
