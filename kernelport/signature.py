"""What a model takes and gives, and whether a request and its answer fit it."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from kernelport.errors import FieldViolation
from kernelport.limits import Limits
from kernelport.tensors import Array, Shapes, dtype_name, wire_dtype
from kernelport.v1 import deployment_pb2
from kernelport.v1 import inference_pb2 as pb

Signature = deployment_pb2.Signature
TensorSpec = deployment_pb2.TensorSpec
Pad = deployment_pb2.Pad

# Callers ask with the same shapes again and again: so many are remembered.
_FITTING_KEPT = 1024
# Of a name that nobody knows.
_SHOWN = 64


def tensor_spec(
    name: str,
    dtype: pb.DType,
    shape: Sequence[int | str] | None,
    *,
    optional: bool = False,
    description: str = "",
    other_dtypes: Sequence[pb.DType] = (),
    batch_axis: int = 0,
    pads: Sequence[Pad] = (),
    minimum: float | None = None,
    maximum: float | None = None,
    max_characters: int = 0,
    max_digits: int = 0,
    choices: Sequence[str] = (),
    names_voice: bool = False,
    default: float | None = None,
    languages: Sequence[str] = (),
) -> TensorSpec:
    """Describes one tensor.

    Args:
        shape: per dimension its fixed size, or the name of a free one; None when any rank is accepted.
        other_dtypes: element types accepted beside `dtype`.
        batch_axis: along which requests are stacked, in a signature that is `batchable`.
        pads: further axes along which stacked requests may differ.
        minimum: the least value that an element of an input may have.
        maximum: the greatest.
        max_characters: of the UTF-8 text that a U8 input holds; 0 for no limit.
        max_digits: of a number in that text; 0 for no limit.
        choices: what that text may be; empty for anything.
        names_voice: whether that text names a registered voice.
        default: what a numeric input of one element is when it is left out.
        languages: `en` or `zh`, in which that text must have something to say, as `kernelport.text` reads it; empty
            for anything.
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
        batch_axis=batch_axis,
        pads=pads,
        minimum=minimum,
        maximum=maximum,
        max_characters=max_characters,
        max_digits=max_digits,
        choices=choices,
        names_voice=names_voice,
        default_value=default,
        languages=languages,
    )


class Declared:
    """The inputs that a model declares, unpacked once: reading a message's fields takes longer than comparing them."""

    def __init__(self, specs: Iterable[TensorSpec]) -> None:
        specs = list(specs)
        self._inputs = {spec.name: _Expected.of(spec) for spec in specs}
        self._limits = {spec.name: limits for spec in specs if (limits := Limits.of(spec))}
        # Shapes that were seen to fit, where values do not matter.
        self._fitting: set[Shapes] = set()

    def violations(
        self, tensors: Iterable[pb.Tensor], field: str = "inputs", elsewhere: Collection[str] = ()
    ) -> Iterator[FieldViolation]:
        """How sound tensors miss what is declared: unknown or missing names, dtype, rank, fixed dimensions, or
        values outside the limits.

        Args:
            elsewhere: names of inputs that are given, and looked at, in another place.
        """
        missing = self._inputs.copy()
        for index, tensor in enumerate(tensors):
            declared = missing.pop(tensor.name, None)
            if declared is None:
                names = (f'"{name}"' for name in missing if name not in elsewhere)
                expected = ", ".join(names) or "no further inputs"
                yield FieldViolation(
                    f"{field}[{index}].name", f'the model has no input "{tensor.name}"; expected {expected}'
                )
                continue
            finding = declared.finding(tensor)
            if finding:
                yield FieldViolation(f"{field}[{index}].{finding[0]}", f'tensor "{tensor.name}": {finding[1]}')
                continue
            limits = self._limits.get(tensor.name)
            if limits is not None and (outside := limits.finding(tensor)):
                yield FieldViolation(f'{field}["{tensor.name}"]', outside)
        for name, declared in missing.items():
            if not declared.spec.optional and name not in elsewhere:
                yield FieldViolation(field, f'input "{name}" is missing; expected {describe(declared.spec)}')

    def misfits(self, tensors: Iterable[pb.Tensor], shapes: Shapes) -> Iterable[FieldViolation]:
        """The same; at once when tensors of these shapes, which are theirs, were seen to fit before."""
        if shapes in self._fitting:
            return
        fits = True
        for violation in self.violations(tensors):
            fits = False
            yield violation
        if fits and not self._limits:
            if len(self._fitting) >= _FITTING_KEPT:
                self._fitting.clear()
            self._fitting.add(shapes)


class DeclaredOutputs:
    """The outputs that a model declares, unpacked once.

    Args:
        shapes: whether ranks and fixed dimensions are compared, too.
    """

    def __init__(self, specs: Iterable[TensorSpec], *, shapes: bool = True) -> None:
        self._outputs = {spec.name: _Expected.of(spec, shape=shapes) for spec in specs}

    def findings(self, arrays: Mapping[str, Array]) -> Iterator[str]:
        """How arrays miss what is declared: unknown or missing names, dtype, rank, fixed dimensions."""
        for name, declared in self._outputs.items():
            array = arrays.get(name)
            if array is None:
                if not declared.spec.optional:
                    yield f'output "{name}" is missing; expected {describe(declared.spec)}'
                continue
            if wire_dtype(array) not in declared.dtypes:
                yield f'output "{name}": expected {describe(declared.spec)}, got {array.dtype.name}{list(array.shape)}'
            elif finding := declared.shape_finding(array.shape):
                yield f'output "{name}": {finding[1]}'
        for name in arrays:
            if name not in self._outputs:
                expected = ", ".join(f'"{known}"' for known in self._outputs) or "none"
                yield f'output "{name}" is not declared; expected {expected}'


def output_violations(names: Sequence[str], signature: Signature, field: str = "outputs") -> Iterator[FieldViolation]:
    """How names of wanted outputs miss what a model gives: unknown, or given twice. Of too many names only as many are
    looked at as tell that."""
    known = dict.fromkeys(spec.name for spec in signature.outputs)
    seen: set[str] = set()
    for index, name in enumerate(names[: len(known) + 1]):
        if name not in known:
            found = f'the model has no output "{name[:_SHOWN]}"; expected {", ".join(known) or "none"}'
            yield FieldViolation(f"{field}[{index}]", found)
        elif name in seen:
            yield FieldViolation(f"{field}[{index}]", f'expected each name once, got "{name}" again')
        seen.add(name)


def is_speech(signature: Signature) -> bool:
    """Whether the outputs are those of speech: `audio` and `sample_rate`."""
    return {"audio", "sample_rate"} <= {spec.name for spec in signature.outputs}


def describe(spec: TensorSpec) -> str:
    """A spec in one short line, such as `F32[batch, 3, 224]`."""
    dtypes = "|".join(dtype_name(dtype) for dtype in (spec.dtype, *spec.other_dtypes))
    if not spec.ranked:
        return f"{dtypes}[...]"
    return f"{dtypes}[{', '.join(d.symbol or '?' if d.size < 0 else str(d.size) for d in spec.shape)}]"


@dataclass(frozen=True)
class _Expected:
    """One tensor.

    Attributes:
        rank: of its shape; None when any is accepted.
        fixed: the dimensions with one size only, by their axis.
    """

    spec: TensorSpec
    dtypes: tuple[int, ...]
    rank: int | None
    fixed: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, spec: TensorSpec, *, shape: bool = True) -> Self:
        ranked = spec.ranked and shape
        sizes = [dimension.size for dimension in spec.shape] if ranked else []
        fixed = tuple((axis, size) for axis, size in enumerate(sizes) if size >= 0)
        return cls(spec, (spec.dtype, *spec.other_dtypes), len(sizes) if ranked else None, fixed)

    def finding(self, tensor: pb.Tensor) -> tuple[str, str] | None:
        """The field at fault and what is wrong with it; None when the tensor fits."""
        if tensor.dtype not in self.dtypes:
            return "dtype", f"expected {describe(self.spec)}, got {dtype_name(tensor.dtype)}"
        return self.shape_finding(tensor.shape)

    def shape_finding(self, shape: Sequence[int]) -> tuple[str, str] | None:
        """The same for the shape alone."""
        if self.rank is None:
            return None
        if len(shape) != self.rank:
            return "shape", f"expected rank {self.rank} as in {describe(self.spec)}, got rank {len(shape)}"
        for axis, size in self.fixed:
            if shape[axis] != size:
                return f"shape[{axis}]", f"expected {size} as in {describe(self.spec)}, got {shape[axis]}"
        return None
