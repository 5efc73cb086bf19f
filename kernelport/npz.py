"""Tensors in .npz files that `numpy.load` reads without pickle.

Each tensor is an array of its name. numpy has no type for two of the contract's:

- BF16 is written as float32, which holds every value.
- STRING is written as numpy's fixed-width bytes (S), where that gives back the same elements and is not too large. An
  element that ends in a zero byte would lose it, and one long element makes all of them wide: such a tensor NAME
  becomes two arrays, `NAME.string_bytes` (U8, the elements one after the other) and `NAME.string_lengths` (I64, in the
  tensor's shape).
"""

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np

from kernelport.tensors import NUMPY_DTYPES, Array
from kernelport.v1 import inference_pb2 as pb

_MOST_FIXED_WIDTH_BYTES = 64 * 2**20
_BYTES, _LENGTHS = ".string_bytes", ".string_lengths"


def write(file: Path | IO[bytes], arrays: Mapping[str, Array]) -> None:
    """Writes arrays as the contract has them: STRING elements are `bytes` objects."""
    # Not numpy.savez: it takes no array of a name that is one of its own parameters, such as `file`.
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            for part_name, part in _parts(name, array):
                with archive.open(f"{part_name}.npy", "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, part, allow_pickle=False)


def read(file: Path | IO[bytes]) -> dict[str, Array]:
    """The arrays of an .npz file, STRING elements as `bytes` objects.

    Raises:
        ValueError: when it is no such file, or damaged.
        OSError: when it cannot be read.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            arrays = {name.removesuffix(".npy"): _read_array(archive, name) for name in names}
    except OSError:
        raise
    except Exception as error:  # zipfile, zlib and numpy's own parser raise a dozen kinds on damaged bytes
        raise ValueError(f"expected an .npz file of arrays: {error}") from error
    for name in [name.removesuffix(_LENGTHS) for name in arrays if name.endswith(_LENGTHS)]:
        if name + _BYTES in arrays:
            arrays[name] = _strings(name, arrays.pop(name + _BYTES), arrays.pop(name + _LENGTHS))
    return {name: array.astype(object) if array.dtype.kind == "S" else array for name, array in arrays.items()}


def read_npy(file: Path) -> Array:
    """The array of an .npy file.

    Raises:
        ValueError: when it is no such file, or damaged.
        OSError: when it cannot be read.
    """
    try:
        with file.open("rb") as opened:
            array: Array = np.lib.format.read_array(opened, allow_pickle=False)
            return array
    except OSError:
        raise
    except Exception as error:  # numpy's parser raises a dozen kinds on damaged bytes
        raise ValueError(f"expected an .npy file of an array: {error}") from error


def _parts(name: str, array: Array) -> Iterator[tuple[str, Array]]:
    """The arrays that a tensor is written as."""
    if array.dtype == NUMPY_DTYPES[pb.BF16]:
        yield name, array.astype(np.float32)
    elif not array.dtype.hasobject:
        yield name, array
    else:
        elements: list[bytes] = array.ravel().tolist()
        lengths = np.fromiter(map(len, elements), np.int64, len(elements))
        width = int(lengths.max(initial=1))
        if width * len(elements) <= _MOST_FIXED_WIDTH_BYTES and not any(each.endswith(b"\0") for each in elements):
            yield name, array.astype(f"S{width}")
        else:
            yield name + _BYTES, np.frombuffer(b"".join(elements), np.uint8)
            yield name + _LENGTHS, lengths.reshape(array.shape)


def _read_array(archive: zipfile.ZipFile, name: str) -> Array:
    with archive.open(name) as entry:
        array: Array = np.lib.format.read_array(entry, allow_pickle=False)
        return array


def _strings(name: str, data: Array, lengths: Array) -> Array:
    ends = np.cumsum(lengths, dtype=np.int64).tolist()
    if lengths.size and (lengths.min() < 0 or ends[-1] != data.size):
        raise ValueError(f"expected lengths of {data.size} bytes in {name}{_LENGTHS}, got others")
    whole = data.tobytes()
    strings = np.empty(lengths.size, dtype=object)
    strings[:] = [whole[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return strings.reshape(lengths.shape)
