"""Tensors in .npz files that `numpy.load` reads without pickle.

Each tensor is an array of its name. numpy has no type for two of the contract's:

- BF16 is written as float32, which holds every value.
- STRING is bytes of any value and length. numpy's own strings lose zero bytes at their end, and are all as wide as the
  longest one. So a tensor NAME becomes two arrays: `NAME.bytes` (U8, the elements one after the other) and
  `NAME.offsets` (I64, where each element ends, in the tensor's shape).
"""

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np

from kernelport.counting import counted
from kernelport.tensors import NUMPY_DTYPES, Array
from kernelport.v1 import inference_pb2 as pb

_BYTES, _OFFSETS = ".bytes", ".offsets"


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
    for name in [name.removesuffix(_OFFSETS) for name in arrays if name.endswith(_OFFSETS)]:
        if name + _BYTES in arrays:
            arrays[name] = _strings(name, arrays.pop(name + _BYTES), arrays.pop(name + _OFFSETS))
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
        yield name + _BYTES, np.frombuffer(b"".join(elements), np.uint8)
        yield name + _OFFSETS, np.cumsum(lengths, dtype=np.int64).reshape(array.shape)


def _read_array(archive: zipfile.ZipFile, name: str) -> Array:
    with archive.open(name) as entry:
        array: Array = np.lib.format.read_array(entry, allow_pickle=False)
        return array


def _strings(name: str, data: Array, offsets: Array) -> Array:
    ends: list[int] = offsets.ravel().tolist()
    starts = [0, *ends[:-1]]
    sound = data.dtype == np.uint8 and offsets.dtype == np.int64 and ([0, *ends])[-1] == data.size
    if not sound or any(end < start for start, end in zip(starts, ends, strict=False)):
        raise ValueError(
            f"expected ascending offsets (I64) into {counted(data.size, 'byte')} (U8) in {name}{_OFFSETS}, got others"
        )
    whole = data.tobytes()
    strings = np.empty(offsets.size, dtype=object)
    strings[:] = [whole[start:end] for start, end in zip(starts, ends, strict=False)]
    return strings.reshape(offsets.shape)
