"""Serves an ONNX model with ONNX Runtime."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from kernelport import npz
from kernelport.coercion import coerce, to_tensors
from kernelport.config.deployments import Batching, Deployment
from kernelport.config.manifests import Filled, FromFile, ModelFilesError, OnnxSettings
from kernelport.config.settings import Settings
from kernelport.errors import InvalidArgumentError, KernelPortError, install_hint
from kernelport.signature import Declared, Signature, TensorSpec
from kernelport.tensors import Array
from kernelport_workers.backends import batch_axes
from kernelport_workers.backends.base import Backend, LoadError, Outputs, Request
from kernelport_workers.backends.stacking import Stacker

if TYPE_CHECKING:
    from kernelport_workers.backends.onnx_session import Session


class OnnxBackend(Backend):
    """Runs the manifest's file of role `model`; external data beside it is found by its relative path.

    Inputs and outputs are the model's own. An initializer that the model lets callers override is an optional input.
    ONNX Runtime tells a scalar from a tensor of unknown rank in no way, so both are declared as unranked. STRING
    elements are UTF-8.

    Requests are stacked along a batch axis where the model's graph proves that rows do not see each other, or where the
    manifest's `batch_axes` says so and neither the graph nor a trial at load contradicts it. Stacked answers may differ
    from lone ones in the last bits of floats, where ONNX Runtime picks another algorithm for another number of rows. A
    request that gives an optional input runs alone.

    On the CPU an operator uses as many threads as the manifest says, else as `OMP_NUM_THREADS` says, else one for each
    core.
    """

    requirements: ClassVar[Mapping[str, str]] = {
        "onnxruntime": f"{install_hint('onnx')}; for a GPU {install_hint('onnx-gpu')}"
    }

    # Exporters often write shapes that the model's answers do not have, and ONNX Runtime lets them pass.
    checks_output_shapes = False
    outputs_stay = True

    def __init__(self, session: "Session", signature: Signature, deployment: Deployment) -> None:
        self._session = session
        self.device, self.compute_path = session.device, session.compute_path
        self.signature = signature
        self._stacker = Stacker(deployment.name, signature, deployment.batching, session.infer)

    @classmethod
    def load(cls, deployment: Deployment) -> Self:
        """Loads the model and runs it once or a few times on small random inputs.

        Raises:
            LoadError: no manifest, a file is missing, ONNX Runtime cannot load the model, a tensor's type is not in
                the contract, the device or a provider cannot be used here, the model does not take the warm-up inputs,
                or the settings of this worker do not allow the custom operators that the manifest names.
        """
        from kernelport_workers.backends.onnx_session import Session

        if deployment.manifest is None:
            raise LoadError("backend onnx needs a manifest that names a file of role `model`")
        settings = deployment.manifest.onnx
        try:
            path = deployment.manifest.resolve().get("model")
            files = deployment.manifest.locate({file: file for file in settings.files})
        except ModelFilesError as error:
            raise LoadError(str(error)) from error
        if path is None:
            raise LoadError("the manifest names no file of role `model`")
        if settings.custom_op_libraries and not Settings.from_environment().custom_ops:
            raise LoadError(
                "the manifest names libraries of custom operators, and loading one runs its code; to allow it, start "
                "the worker with --custom-ops or KERNELPORT_CUSTOM_OPS=1"
            )
        libraries = [files[library] for library in settings.custom_op_libraries]
        opened = _identity(path)
        session = Session(path, deployment.device, settings, libraries)
        warm_up = read_warm_up(settings, files, [*session.inputs, *session.optional_inputs])
        signature = batch_axes.decide(session, path, deployment, warm_up)
        if _identity(path) != opened:  # what was proven may be of another model than what runs
            raise LoadError(f"{path} was replaced while it was loaded; start the worker again")
        return cls(session, signature, deployment)

    def take_limits(self, batching: Batching) -> None:
        """Stacks no more in one run than these allow."""
        self._stacker.limits = batching

    def run(self, requests: Sequence[Request]) -> list[Outputs | KernelPortError]:
        """Runs a batch. An item that ONNX Runtime refuses as invalid yields InvalidArgumentError, any other failure
        InternalError, with ONNX Runtime's message."""
        return self._stacker.run(requests)


def _identity(path: Path) -> tuple[int, int, int, int]:
    """Another after the file has been replaced or written to."""
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def read_warm_up(
    settings: OnnxSettings, files: Mapping[str, Path], inputs: Sequence[TensorSpec]
) -> list[dict[str, Array]]:
    """The requests in `warm_up`, each with its arrays by name.

    Args:
        files: where the files that the settings name are.
        inputs: what the model declares.

    Raises:
        LoadError: when a file cannot be read, or a request is not one that the model takes.
    """
    signature, declared = Signature(inputs=inputs), Declared(inputs)
    requests = []
    for index, tensors in enumerate(settings.warm_up):
        try:
            request = coerce({name: _value(name, tensor, files) for name, tensor in tensors.items()}, signature)
            findings = [violation.description for violation in declared.violations(to_tensors(request))]
        except (InvalidArgumentError, OSError, ValueError, MemoryError) as error:
            findings = [str(error)]
        if findings:
            raise LoadError(f"onnx.warm_up.{index}: {'; '.join(findings)}")
        requests.append(request)
    return requests


def _value(name: str, tensor: Any, files: Mapping[str, Path]) -> Any:
    match tensor:
        case Filled(shape=shape, fill=fill):
            return np.full(shape, fill, dtype=object if isinstance(fill, str) else None)
        case FromFile(file=file):
            arrays = npz.read(files[file])
            if name not in arrays:
                raise ValueError(f"{name}: expected one of {', '.join(arrays)}, the arrays in {file}")
            return arrays[name]
        case _:
            return tensor
