"""Serves an ONNX model with ONNX Runtime."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from kernelport.deployments import Deployment
from kernelport.errors import KernelPortError
from kernelport.manifests import ModelFilesError
from kernelport.signature import Signature, TensorSpec
from kernelport_workers.backends.base import Backend, LoadError, Outputs, Request
from kernelport_workers.backends.stacking import rows_are_independent, run_stacked, sample_inputs

if TYPE_CHECKING:
    from kernelport_workers.backends.onnx_session import Session

log = logging.getLogger(__name__)


class OnnxBackend(Backend):
    """Runs the manifest's file of role `model`; external data beside it is found by its relative path.

    Inputs and outputs are the model's own. An initializer that the model lets callers override is an optional input.
    ONNX Runtime tells a scalar from a tensor of unknown rank in no way, so both are declared as unranked. STRING
    elements are UTF-8.

    Requests are stacked when the model declares the same free first dimension for every required input and every
    output, nowhere else, and a trial on random inputs at load shows that a row's answer does not depend on its
    neighbours (it does in a softmax or a normalization over the first axis, or under dynamic quantization). The trial
    cannot see a dependence that shows on special values only. Stacked answers may differ from lone ones in the last
    bits, where ONNX Runtime picks another algorithm for another number of rows. A request that gives an optional
    input runs alone.

    On the CPU a run uses as many threads as `OMP_NUM_THREADS` says, or else one for each core.
    """

    requirements: ClassVar[Mapping[str, str]] = {
        "onnxruntime": "pip install 'kernelport[onnx]', or 'kernelport[onnx-gpu]' for a GPU"
    }

    # Exporters often write shapes that the model's answers do not have, and ONNX Runtime lets them pass.
    checks_output_shapes = False

    def __init__(self, session: "Session") -> None:
        self._session = session
        self.device = session.device
        batchable = _share_first_dimension([*session.inputs, *session.outputs]) and rows_are_independent(
            session.inputs, session.infer
        )
        if not batchable:
            self._warm_up()
        self._stacked_names = [spec.name for spec in session.inputs] if batchable else []
        self.signature = Signature(
            inputs=[*session.inputs, *session.optional_inputs], outputs=session.outputs, batchable=batchable
        )

    @classmethod
    def load(cls, deployment: Deployment) -> Self:
        """Loads the model and runs it once or a few times on small random inputs.

        Raises:
            LoadError: no manifest, a file is missing, ONNX Runtime cannot load the model, a tensor's type is not in
                the contract, or the device names CUDA and it cannot be used here.
        """
        from kernelport_workers.backends.onnx_session import Session

        if deployment.manifest is None:
            raise LoadError("backend onnx needs a manifest that names a file of role `model`")
        try:
            path = deployment.manifest.resolve().get("model")
        except ModelFilesError as error:
            raise LoadError(str(error)) from error
        if path is None:
            raise LoadError("the manifest names no file of role `model`")
        return cls(Session(path, deployment.device))

    def run(self, requests: Sequence[Request]) -> list[Outputs | KernelPortError]:
        """Runs a batch. An item that ONNX Runtime refuses as invalid yields InvalidArgumentError, any other failure
        InternalError, with ONNX Runtime's message."""
        return run_stacked(requests, self._stacked_names, self._session.infer)

    def _warm_up(self) -> None:
        try:
            self._session.infer(sample_inputs(self._session.inputs, rows=1, free=1))
        except KernelPortError as error:
            log.info("no warm-up: the model does not take random inputs with free dimensions of 1: %s", error)


def _share_first_dimension(specs: Iterable[TensorSpec]) -> bool:
    """Whether one named free dimension is the first of every tensor, and is used nowhere else."""
    specs = list(specs)
    first = {spec.shape[0].symbol if spec.shape else "" for spec in specs}
    rest = {dimension.symbol for spec in specs for dimension in spec.shape[1:]}
    return len(first) == 1 and "" not in first and first.isdisjoint(rest)
