"""Tensors on the wire and as numpy arrays.

The wire holds elements little-endian and row-major. `STRING` elements are byte strings of any length, each preceded by
its length (unsigned 32-bit little-endian); as an array they are `bytes` objects in an `object` array.
"""

import math
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeGuard

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from kernelport.counting import counted
from kernelport.errors import FieldViolation
from kernelport.v1 import inference_pb2 as pb

Array = NDArray[Any]
# Name, dtype and shape of each of some tensors.
Shapes = tuple[tuple[str, int, tuple[int, ...]], ...]

NUMPY_DTYPES: dict[pb.DType, np.dtype[Any]] = {
    pb.F32: np.dtype(np.float32),
    pb.F16: np.dtype(np.float16),
    pb.I64: np.dtype(np.int64),
    pb.I32: np.dtype(np.int32),
    pb.U8: np.dtype(np.uint8),
    pb.F64: np.dtype(np.float64),
    pb.I8: np.dtype(np.int8),
    pb.I16: np.dtype(np.int16),
    pb.U16: np.dtype(np.uint16),
    pb.U32: np.dtype(np.uint32),
    pb.U64: np.dtype(np.uint64),
    pb.BOOL: np.dtype(np.bool_),
    pb.BF16: np.dtype(ml_dtypes.bfloat16),
    pb.STRING: np.dtype(object),
}
WIRE_DTYPES = {dtype: wire for wire, dtype in NUMPY_DTYPES.items()}
ITEMSIZES: dict[int, int] = {wire: dtype.itemsize for wire, dtype in NUMPY_DTYPES.items() if wire != pb.STRING}
_DTYPE_NAMES: dict[int, str] = {dtype: name for name, dtype in pb.DType.items()}
_LENGTH = struct.Struct("<I")
# Of the data of an array that numpy makes.
_ALIGNMENT = 16
_SWAP = sys.byteorder == "big"
# What gRPC and protobuf carry in one message.
MAX_MESSAGE_BYTES = 2**31 - 1
# More than what is no data takes: of a message its timings, of a tensor all but its name and shape.
_MESSAGE_OVERHEAD, _TENSOR_OVERHEAD, _DIMENSION_OVERHEAD = 64, 32, 10
# What numpy can hold. Only the shape of a tensor without elements can exceed the size.
MAX_RANK = 64
_POINTER_BYTES = 8  # of a STRING element
_MAX_BYTES = 2**63 - 1
# The dtypes of torch that numpy has none for.
_WITHOUT_NUMPY = ("torch.bfloat16", "torch.float8")


def dtype_name(dtype: int) -> str:
    """The contract's name of a dtype, such as `F32`; the number itself when it is not in the contract."""
    return _DTYPE_NAMES.get(dtype, str(dtype))


def wire_dtype(array: Array) -> pb.DType | None:
    """The contract's dtype of an array's elements; None when they have no counterpart in it."""
    found = WIRE_DTYPES.get(array.dtype)
    if found is not None:
        return found
    return pb.STRING if array.dtype.kind in "SUT" else WIRE_DTYPES.get(array.dtype.newbyteorder("="))


def is_bytes(value: object) -> TypeGuard[bytes | bytearray | memoryview]:
    """Whether a value is a string of bytes, of any type of Python's own that holds one."""
    is_view = isinstance(value, memoryview) and value.ndim == 1 and value.format in ("B", "c")
    return is_view or isinstance(value, (bytes, bytearray))


def is_masked(value: Any, levels: int = MAX_RANK) -> bool:
    """Whether a value is a masked array, or a list of lists of at most so many levels with one in it. What numpy makes
    an array of shows what was masked."""
    if not levels or not isinstance(value, (list, tuple)):
        return isinstance(value, np.ma.MaskedArray)
    parts = set(map(type, value))  # a list of a million numbers has one
    if any(issubclass(part, np.ma.MaskedArray) for part in parts):
        return True
    return any(issubclass(part, (list, tuple)) for part in parts) and any(is_masked(part, levels - 1) for part in value)


def as_numpy_reads(value: Any, levels: int = MAX_RANK) -> Any:
    """A value that numpy makes an array of: a tensor of torch without its gradient, in the memory of the CPU, and of
    floats that numpy does not know as float32, which holds each; what has no other way than DLPack by that. The same in
    lists of lists of at most so many levels. All else stays as it is.

    Raises:
        ValueError: when a tensor has no such array, as one without memory, or one whose rows differ in length.
    """
    if isinstance(value, (list, tuple)):
        parts = set(map(type, value))
        if not levels or not any(issubclass(part, (list, tuple)) or hasattr(part, "__dlpack__") for part in parts):
            return value
        return [as_numpy_reads(part, levels - 1) for part in value]
    if isinstance(value, np.ndarray) or not hasattr(value, "__dlpack__"):
        return value
    try:
        if hasattr(value, "detach"):
            return _of_torch(value)
        return value if hasattr(value, "__array__") else np.from_dlpack(value)
    except (TypeError, RuntimeError, BufferError, NotImplementedError) as error:
        expected = "expected a dense tensor of a dtype that numpy has"
        raise ValueError(f"{expected}, got one that it cannot read: {error}") from error


def uneven_rows(value: Any) -> str:
    """Which rows of lists of lists differ in length: `row 0 has 3 and row 1 has 2`; empty where none do."""
    rows: list[tuple[tuple[int, ...], Any]] = [((), value)]
    for _ in range(MAX_RANK):
        if not all(isinstance(row, (list, tuple)) or (isinstance(row, np.ndarray) and row.ndim) for _, row in rows):
            return ""
        for place, row in rows:
            if len(row) != len(rows[0][1]):
                first = f"{_row(rows[0][0])} has {len(rows[0][1])}"
                return f"{first} and {_row(place)} has {len(row)}"
        rows = [((*place, index), part) for place, row in rows for index, part in enumerate(row)]
    return ""


def from_array(name: str, array: Any) -> pb.Tensor:
    """A wire tensor of anything numpy can make an array of.

    Raises:
        TypeError: when the element type has no counterpart in the contract, or gaps are masked.
    """
    if type(array) is not np.ndarray:
        array = _plain_array(name, array)
    wire = wire_dtype(array)
    if wire == pb.STRING:
        elements = [_element_bytes(name, element) for element in array.ravel().tolist()]
        data = b"".join(part for element in elements for part in (_LENGTH.pack(len(element)), element))
        return pb.Tensor(name=name, dtype=pb.STRING, shape=array.shape, data=data)
    if wire is None:
        raise TypeError(f"tensor {name!r}: numpy dtype {array.dtype} cannot travel; expected one of {_known_dtypes()}")
    if _SWAP or array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    return pb.Tensor(name=name, dtype=wire, shape=array.shape, data=array.tobytes())


def to_array(tensor: pb.Tensor, data: bytes | memoryview | None = None) -> Array:
    """The array of a tensor that `violations` finds nothing wrong with. Read-only: it may share the memory of the data.

    Args:
        data: the elements, where the tensor comes without them.
    """
    shape = tuple(tensor.shape)
    data = tensor.data if data is None else data
    if tensor.dtype == pb.STRING:
        elements = np.empty(math.prod(shape), dtype=object)
        elements[:] = list(_split_strings(data))
        elements.setflags(write=False)
        return elements.reshape(shape)
    array = np.frombuffer(data, dtype=NUMPY_DTYPES[tensor.dtype]).reshape(shape)
    if _SWAP:
        array = array.byteswap()
        array.setflags(write=False)
    return array


def wire_bytes(arrays: Mapping[str, Array]) -> int:
    """The bytes that a message of named arrays has at most, without making it: its data, and a few dozen a tensor."""
    total = _MESSAGE_OVERHEAD
    for name, array in arrays.items():
        size = _text_bytes(array) if array.dtype.kind in "SUTO" else array.nbytes
        total += size + len(name.encode(errors="surrogatepass")) + _DIMENSION_OVERHEAD * array.ndim + _TENSOR_OVERHEAD
    return total


def from_arrays(arrays: Mapping[str, Any]) -> list[pb.Tensor]:
    """Wire tensors of named arrays, in order."""
    return [from_array(name, array) for name, array in arrays.items()]


def to_arrays(tensors: Sequence[pb.Tensor], data: Sequence[memoryview] = ()) -> dict[str, Array]:
    """Named arrays of wire tensors.

    Args:
        data: of each of them, where they come without; such an array may share its memory.
    """
    if not data:
        return {tensor.name: to_array(tensor) for tensor in tensors}
    return {tensor.name: _aligned(to_array(tensor, each)) for tensor, each in zip(tensors, data, strict=True)}


def _aligned(array: Array) -> Array:
    """An array whose elements begin where vector instructions may read them; copied where they do not."""
    if array.dtype.hasobject or array.ctypes.data % _ALIGNMENT == 0:
        return array
    array = array.copy()
    array.setflags(write=False)
    return array


def plain(array: Array) -> Any:
    """The elements as Python's own numbers, in nested lists: those of F32 and F16 as people wrote them (1.2, not
    1.2000000476837158), which is the same number in that dtype."""
    if array.dtype.kind in "fV" and array.dtype.itemsize < 8:
        array = np.array([float(str(element)) for element in array.ravel()]).reshape(array.shape)
    return array.tolist()


def travelled(name: str, array: Array) -> Array:
    """An array as whoever receives it has it, for STRING elements and foreign byte orders, too.

    Raises:
        TypeError: as `from_array`.
    """
    return array if is_plain(array) and array.flags.c_contiguous else to_array(from_array(name, array))


def is_plain(array: Array) -> bool:
    """Whether an array's elements, in row-major order, are what the wire holds on this machine."""
    return not _SWAP and type(array) is np.ndarray and array.dtype in WIRE_DTYPES and not array.dtype.hasobject


def shapes_of(tensors: Iterable[pb.Tensor]) -> Shapes:
    """Names, dtypes and shapes."""
    return tuple([(tensor.name, tensor.dtype, tuple(tensor.shape)) for tensor in tensors])


def violations(
    tensors: Iterable[pb.Tensor], field: str = "inputs", data_sizes: Sequence[int] = ()
) -> Iterator[FieldViolation]:
    """What is wrong with tensors taken by themselves, whatever the model: at most one finding a tensor.

    Args:
        data_sizes: bytes of each tensor's data, where that of numbers is not at hand.
    """
    seen: set[str] = set()
    for index, tensor in enumerate(tensors):
        name = tensor.name
        if not name:
            yield FieldViolation(f"{field}[{index}].name", "expected a tensor name, got an empty string")
        elif name in seen:
            yield FieldViolation(f"{field}[{index}].name", f'"{name}" is given twice; expected unique names')
        elif finding := _finding(tensor, data_sizes[index] if data_sizes else None):
            yield FieldViolation(f"{field}[{index}].{finding[0]}", f'tensor "{name}": {finding[1]}')
        seen.add(name)


def _finding(tensor: pb.Tensor, data_size: int | None) -> tuple[str, str] | None:
    """The field at fault and what is wrong with it; None when the tensor is sound.

    Args:
        data_size: bytes of the data, which is copied to be asked for its size; None where that is not known.
    """
    dtype = tensor.dtype
    if dtype not in NUMPY_DTYPES:
        return "dtype", f"unknown dtype {dtype_name(dtype)}; expected one of {_known_dtypes()}"
    sizes = tensor.shape
    if len(sizes) > MAX_RANK:
        return "shape", f"expected at most {MAX_RANK} dimensions, got {len(sizes)}"
    shape = list(sizes)
    if shape and min(shape) < 0:
        axis = next(axis for axis, size in enumerate(shape) if size < 0)
        return f"shape[{axis}]", f"expected a size of at least 0, got {shape[axis]}"
    count = math.prod(shape)
    itemsize = ITEMSIZES.get(dtype, _POINTER_BYTES)
    if (count or math.prod(filter(None, shape))) * itemsize > _MAX_BYTES:
        return "shape", f"expected sizes whose product is below 2^63 bytes, got {shape}"
    if dtype == pb.STRING:
        return _string_finding(tensor.data, count)
    expected, found = count * itemsize, len(tensor.data) if data_size is None else data_size
    if found != expected:
        return "data", f"expected {counted(expected, 'byte')} for {dtype_name(dtype)} {shape}, got {found:,}"
    if dtype == pb.BOOL and tensor.data.translate(None, b"\0\1"):
        return "data", "expected each BOOL byte to be 0 or 1"
    return None


def _string_finding(data: bytes, count: int) -> tuple[str, str] | None:
    size, length_at = len(data), _LENGTH.unpack_from
    position = found = 0
    try:
        while position < size and found <= count:
            position += _LENGTH.size + length_at(data, position)[0]
            found += 1
    except struct.error:
        return "data", f"the length of STRING element {found} is cut off at byte {position}"
    if position > size:
        return "data", f"STRING element {found - 1} ends at byte {position}, past the end of the data at {size}"
    if found != count:
        got = found if found < count else f"{found} or more"
        return "data", f"expected {count} STRING elements as the shape says, got {got}"
    return None


def _split_strings(data: bytes | memoryview) -> Iterator[bytes]:
    position = 0
    while position < len(data):
        start = position + _LENGTH.size
        position = start + _LENGTH.unpack_from(data, position)[0]
        yield bytes(data[start:position])


def _text_bytes(array: Array) -> int:
    elements = array.ravel().tolist()
    texts = (element.encode("utf-8", "surrogatepass") if isinstance(element, str) else element for element in elements)
    return sum(len(text) for text in texts if is_bytes(text)) + _LENGTH.size * array.size


def _of_torch(tensor: Any) -> Any:
    """The array of a tensor of torch."""
    if getattr(tensor, "is_nested", False):
        raise ValueError(
            "expected rows of equal length, got a nested tensor: pad it, as with "
            "`torch.nested.to_padded_tensor(tensor, 0.0)`"
        )
    if str(tensor.dtype).startswith(_WITHOUT_NUMPY):
        tensor = tensor.float()
    return tensor.numpy(force=True)


def _row(place: Sequence[int]) -> str:
    return f"row {place[0] if len(place) == 1 else list(place)}"


def _plain_array(name: str, given: Any) -> Array:
    if is_masked(given):
        raise TypeError(f"tensor {name!r}: a masked array cannot travel: fill its gaps, as with `array.filled(0)`")
    given = as_numpy_reads(given)
    try:
        array = np.asarray(given)
    except ValueError as error:
        uneven = uneven_rows(given)
        raise ValueError(f"expected rows of equal length, {uneven}" if uneven else str(error)) from None
    # numpy's own strings end before their trailing zero bytes
    return np.array(given, dtype=object) if array.dtype.kind in "SUT" else array


def _element_bytes(name: str, element: object) -> bytes:
    if isinstance(element, str):
        try:
            return element.encode()
        except UnicodeEncodeError as error:
            raise TypeError(f"tensor {name!r}: a STRING element must be Unicode text: {error}") from error
    if is_bytes(element):
        return bytes(element)
    raise TypeError(f"tensor {name!r}: a STRING element must be str or bytes, got {type(element).__name__}")


def _known_dtypes() -> str:
    return ", ".join(dtype_name(wire) for wire in NUMPY_DTYPES)
