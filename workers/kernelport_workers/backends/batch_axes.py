"""Decides whether and along which axes the requests to an ONNX model are stacked."""

import importlib.util
import logging
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelport.config.deployments import Deployment
from kernelport.config.manifests import BatchAxes, OutputPad, Pads
from kernelport.errors import KernelPortError
from kernelport.signature import Pad, Signature, TensorSpec, describe
from kernelport.tensors import NUMPY_DTYPES, dtype_name
from kernelport.v1 import deployment_pb2 as pb
from kernelport.v1.inference_pb2 import STRING
from kernelport_workers.backends import stacking_gain, trial
from kernelport_workers.backends.base import LoadError
from kernelport_workers.backends.stacking import Inputs, Stacker, is_off

if TYPE_CHECKING:
    from kernelport_workers.backends.onnx_session import Session
    from kernelport_workers.row_proof import Proof

log = logging.getLogger(__name__)

NOT_TRIED = (
    "no trial could contradict the manifest: it takes two different requests that may share a run in onnx.warm_up"
)
ONNX_MISSING = "the package onnx, which reads the model's graph, is missing: pip install onnx"


def decide(session: "Session", path: Path, deployment: Deployment, warm_up: Sequence[Inputs]) -> Signature:
    """The model's signature, `batchable` where it is proven on the model's graph, or declared by its manifest, that the
    rows of stacked requests do not see each other. Runs the model on small inputs, which warms it up.

    Args:
        path: the model's file.
        warm_up: requests that the model must take; they are tried stacked as well.

    Raises:
        LoadError: the model fails on a warm-up request, or a declaration does not fit it, is refuted by its graph, or
            is contradicted by a trial.
    """
    signature = Signature(inputs=[*session.inputs, *session.optional_inputs], outputs=session.outputs)
    if not is_off(signature, deployment.batching):
        _declare_or_prove(signature, path, deployment)
    for index, inputs in enumerate(warm_up):
        try:
            session.infer(inputs)
        except KernelPortError as error:
            raise LoadError(f"onnx.warm_up.{index}: {error}") from error
    if signature.batchable:
        stacker = Stacker(deployment.name, signature, deployment.batching, session.infer)
        given = stacker.shared_runs(warm_up)
        _try(signature, session, deployment, stacker, given)
        if session.runs_in_caller and signature.row_independence == pb.ROW_INDEPENDENCE_PROVEN:
            _leave_where_slower(signature, session, stacker, given)
    elif not warm_up:
        trial.warm_up(session.inputs, session.infer)
    return signature


def _declare_or_prove(signature: Signature, path: Path, deployment: Deployment) -> None:
    manifest = deployment.manifest
    declared = manifest.batch_axes if manifest else None
    pads = manifest.pad if manifest else None
    if declared == "none":
        signature.row_independence = pb.ROW_INDEPENDENCE_DECLARED
        signature.reason = "the manifest says batch_axes: none"
    elif declared is not None:
        _declare(signature, declared, pads, path)
    elif deployment.batching.axes == "declared":
        signature.reason = "the manifest has no batch_axes, and the deployment's batching.axes is declared"
    else:
        _prove(signature, pads, path)


def _declare(signature: Signature, axes: BatchAxes, pads: Pads | None, path: Path) -> None:
    """Takes the manifest's word, unless the graph says otherwise."""
    _set_axes(signature, axes.inputs, axes.outputs)
    proof = _proof(path, axes.inputs)
    if proof is not None and proof.verdict.name == "REFUTED":
        raise LoadError(f"batch_axes: the model mixes rows: {proof.reason}")
    if proof is not None and proof.verdict.name == "PROVEN" and dict(proof.output_axes) != axes.outputs:
        raise LoadError(f"batch_axes.outputs: expected {dict(proof.output_axes)} as in the model, got {axes.outputs}")
    _set_pads(signature, pads)
    signature.batchable = True
    signature.row_independence, signature.reason = pb.ROW_INDEPENDENCE_DECLARED, "the manifest says batch_axes"


def _prove(signature: Signature, pads: Pads | None, path: Path) -> None:
    proof = _proof(path)
    if proof is None:
        signature.row_independence, signature.reason = pb.ROW_INDEPENDENCE_UNKNOWN, ONNX_MISSING
        return
    signature.row_independence = getattr(pb, f"ROW_INDEPENDENCE_{proof.verdict.name}")
    signature.reason = proof.reason
    if proof.verdict.name == "PROVEN":
        for spec in signature.inputs:
            spec.batch_axis = proof.input_axes.get(spec.name, 0)
        for spec in signature.outputs:
            spec.batch_axis = proof.output_axes[spec.name]
        _set_pads(signature, pads)
        signature.batchable = True
    elif pads is not None:
        raise LoadError(f"pad: needs batch_axes, since the model is not proven to keep rows apart: {proof.reason}")


def _try(
    signature: Signature,
    session: "Session",
    deployment: Deployment,
    stacker: Stacker,
    given: Sequence[Sequence[Inputs]],
) -> None:
    required = [spec for spec in signature.inputs if not spec.optional]
    is_declared = signature.row_independence == pb.ROW_INDEPENDENCE_DECLARED or any(spec.pads for spec in required)
    verdict = trial.judge(required, session.infer, stacker.together, given, random_beside_given=not is_declared)
    difference = verdict.difference
    if difference is not None and is_declared:
        hint = "" if given else "; if callers send no inputs like the random ones of the trial, give onnx.warm_up"
        raise LoadError(f"batch_axes or pad: a trial contradicts the manifest: {difference}{hint}")
    if difference is not None:
        log.error("%s: a proof is wrong, so nothing is stacked: %s (%s)", deployment.name, difference, signature.reason)
        signature.batchable = False
        signature.row_independence = pb.ROW_INDEPENDENCE_UNKNOWN
        signature.reason = f"proven, but a trial contradicts it: {difference}"
    elif is_declared and not verdict.could_differ:
        signature.reason = "; ".join(filter(None, (signature.reason, NOT_TRIED)))


def _leave_where_slower(
    signature: Signature, session: "Session", stacker: Stacker, given: Sequence[Sequence[Inputs]]
) -> None:
    """Leaves requests alone where stacking them was proven right, but is slower. A manifest's own word stands."""
    samples = (trial.sample_inputs(session.inputs, rows=1, free=free) for free in trial.FREE_SIZES)
    for request in (given[0][0],) if given else samples:
        try:
            lost = stacking_gain.loss(request, session.infer, stacker.together)
        except KernelPortError:
            continue  # of inputs that the model rejects nothing can be said
        if lost:
            signature.batchable = False
            signature.reason = f"proven, but slower: {lost}; batch_axes in the manifest would stack them all the same"
        return


def _set_axes(signature: Signature, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> None:
    required = [spec for spec in signature.inputs if not spec.optional]
    for field, specs, axes in (("inputs", required, inputs), ("outputs", signature.outputs, outputs)):
        names = {spec.name for spec in specs}
        if names != axes.keys():
            raise LoadError(
                f"batch_axes.{field}: expected an axis for each of {', '.join(sorted(names))}; got {', '.join(axes)}"
            )
        for spec in specs:
            _check_axis(f"batch_axes.{field}.{spec.name}", axes[spec.name], spec)
            spec.batch_axis = axes[spec.name]


def _set_pads(signature: Signature, pads: Pads | None) -> None:
    if pads is None:
        return
    inputs = {spec.name: spec for spec in signature.inputs if not spec.optional}
    outputs = {spec.name: spec for spec in signature.outputs}
    for name, input_pads in pads.inputs.items():
        field = f"pad.inputs.{name}"
        spec = _named(field, name, inputs)
        if spec.dtype == STRING:
            raise LoadError(f"{field}: expected a tensor of numbers, got STRING")
        for pad in input_pads:
            _check_pad_axis(field, pad.axis, spec)
            if not _holds(NUMPY_DTYPES[spec.dtype], pad.value):
                raise LoadError(f"{field}.value: expected a value of {dtype_name(spec.dtype)}, got {pad.value}")
            spec.pads.append(Pad(axis=pad.axis, value=pad.value))
    for name, output_pads in pads.outputs.items():
        field = f"pad.outputs.{name}"
        spec = _named(field, name, outputs)
        for each in output_pads:
            _check_pad_axis(field, each.axis, spec)
            if each.follows not in pads.inputs:
                raise LoadError(f'{field}.as: expected one of {", ".join(pads.inputs)}, got "{each.follows}"')
            followed = _followed(field, each, pads)
            _check_names(field, spec.shape[each.axis].symbol, inputs[each.follows].shape[followed].symbol, inputs)
            spec.pads.append(Pad(axis=each.axis, follows=each.follows, follows_axis=followed))
    _check_alike(inputs.values())


def _followed(field: str, output_pad: OutputPad, pads: Pads) -> int:
    """The padded axis of the input that an output's axis is as long as."""
    axes = [pad.axis for pad in pads.inputs[output_pad.follows]]
    given = output_pad.follows_axis
    if given is None and len(axes) == 1:
        return axes[0]
    if given not in axes:
        expected = " or ".join(map(str, axes))
        got = "nothing" if given is None else given
        raise LoadError(f"{field}.as_axis: expected {expected}, the padded axes of {output_pad.follows}; got {got}")
    return given


def _check_names(field: str, name: str, followed: str, inputs: Mapping[str, TensorSpec]) -> None:
    """An output's dimension that has the name of a padded one is as long as that."""
    if not name or name == followed:
        return
    padded = [spec.name for spec in inputs.values() for pad in spec.pads if spec.shape[pad.axis].symbol == name]
    if padded:
        raise LoadError(f"{field}.as: expected {' or '.join(padded)}, whose padded axis has the name {name!r}, too")


def _check_alike(inputs: Collection[TensorSpec]) -> None:
    """Dimensions of one name are of one size in a request: where one is padded, all are."""
    padded = {spec.shape[pad.axis].symbol: (spec.name, pad.axis) for spec in inputs if spec.ranked for pad in spec.pads}
    for spec in inputs:
        axes = {spec.batch_axis, *(pad.axis for pad in spec.pads)}
        for axis, dimension in enumerate(spec.shape):
            if dimension.symbol and dimension.symbol in padded and axis not in axes:
                name, other = padded[dimension.symbol]
                raise LoadError(
                    f"pad.inputs.{spec.name}: expected a pad of axis {axis}, which has the name {dimension.symbol!r} "
                    f"like the padded axis {other} of {name}"
                )


def _holds(dtype: np.dtype[Any], value: float) -> bool:
    """Whether a number can stand in such a tensor; floats are rounded, but not to infinity. Of integers, only those up
    to 2**53 are surely what the manifest says."""
    if dtype.kind == "b":
        return value in (0, 1)
    if dtype.kind not in "iu":
        with np.errstate(over="ignore"):
            return not math.isfinite(value) or math.isfinite(float(np.array(value).astype(dtype)))
    limits = np.iinfo(dtype)
    most = min(int(limits.max), 2**53)
    return math.isfinite(value) and value == int(value) and max(int(limits.min), -(2**53)) <= value <= most


def _named(field: str, name: str, specs: Mapping[str, TensorSpec]) -> TensorSpec:
    if name not in specs:
        raise LoadError(f"{field}: the model has no such tensor; expected one of {', '.join(specs)}")
    return specs[name]


def _check_axis(field: str, axis: int, spec: TensorSpec) -> None:
    """A tensor that the file declares no rank of may have any axis."""
    if spec.ranked and (axis >= len(spec.shape) or spec.shape[axis].size >= 0):
        raise LoadError(f"{field}: expected a free axis of {describe(spec)}, got {axis}")


def _check_pad_axis(field: str, axis: int, spec: TensorSpec) -> None:
    _check_axis(f"{field}.axis", axis, spec)
    if axis == spec.batch_axis:
        raise LoadError(f"{field}.axis: expected another axis than the batch axis {axis}")


def _proof(path: Path, input_axes: dict[str, int] | None = None) -> "Proof | None":
    """What the graph says; None without the package that reads it."""
    if importlib.util.find_spec("onnx") is None:
        return None
    from kernelport_workers.row_proof import prove

    return prove(path, input_axes=input_axes)
