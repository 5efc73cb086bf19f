"""What a model takes and gives, and whether a request fits it."""

from collections.abc import Iterable, Iterator, Sequence

from kernelport.errors import FieldViolation
from kernelport.tensors import dtype_name
from kernelport.v1 import deployment_pb2
from kernelport.v1 import inference_pb2 as pb

Signature = deployment_pb2.Signature
TensorSpec = deployment_pb2.TensorSpec


def tensor_spec(
    name: str,
    dtype: pb.DType,
    shape: Sequence[int | str] | None,
    *,
    optional: bool = False,
    description: str = "",
    other_dtypes: Sequence[pb.DType] = (),
) -> TensorSpec:
    """Describes one tensor.

    Args:
        shape: per dimension its fixed size, or the name of a free one; None when any rank is accepted.
        other_dtypes: element types accepted beside `dtype`.
    """
    dimensions = [
        deployment_pb2.Dimension(size=size) if isinstance(size, int) else deployment_pb2.Dimension(size=-1, symbol=size)
        for size in shape or ()
    ]
    return TensorSpec(
        name=name,
        dtype=dtype,
        shape=dimensions,
        ranked=shape is not None,
        optional=optional,
        description=description,
        other_dtypes=other_dtypes,
    )


def violations(
    tensors: Sequence[pb.Tensor], specs: Iterable[TensorSpec], field: str = "inputs"
) -> Iterator[FieldViolation]:
    """How sound tensors miss what a model declares: unknown or missing names, dtype, rank, fixed dimensions."""
    declared = {spec.name: spec for spec in specs}
    for index, tensor in enumerate(tensors):
        spec = declared.pop(tensor.name, None)
        if spec is None:
            expected = ", ".join(f'"{name}"' for name in declared) or "no further inputs"
            yield FieldViolation(
                f"{field}[{index}].name", f'the model has no input "{tensor.name}"; expected {expected}'
            )
            continue
        finding = _finding(tensor, spec)
        if finding:
            yield FieldViolation(f"{field}[{index}].{finding[0]}", f'tensor "{tensor.name}": {finding[1]}')
    for spec in declared.values():
        if not spec.optional:
            yield FieldViolation(field, f'input "{spec.name}" is missing; expected {describe(spec)}')


def describe(spec: TensorSpec) -> str:
    """A spec in one short line, such as `F32[batch, 3, 224]`."""
    dtypes = "|".join(dtype_name(dtype) for dtype in (spec.dtype, *spec.other_dtypes))
    if not spec.ranked:
        return f"{dtypes}[...]"
    return f"{dtypes}[{', '.join(d.symbol or '?' if d.size < 0 else str(d.size) for d in spec.shape)}]"


def _finding(tensor: pb.Tensor, spec: TensorSpec) -> tuple[str, str] | None:
    if tensor.dtype != spec.dtype and tensor.dtype not in spec.other_dtypes:
        return "dtype", f"expected {describe(spec)}, got {dtype_name(tensor.dtype)}"
    if not spec.ranked:
        return None
    if len(tensor.shape) != len(spec.shape):
        return "shape", f"expected rank {len(spec.shape)} as in {describe(spec)}, got rank {len(tensor.shape)}"
    for axis, (size, dimension) in enumerate(zip(tensor.shape, spec.shape, strict=True)):
        if dimension.size >= 0 and size != dimension.size:
            return f"shape[{axis}]", f"expected {dimension.size} as in {describe(spec)}, got {size}"
    return None
