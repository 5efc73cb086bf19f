"""Tensors in .npz files come back as they were, and numpy reads them without pickle."""

import io
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from kernelport import npz
from tests.shared.test_tensors import ARRAYS

STRINGS = [
    np.array([b"plain", "grün".encode(), b"\xff\xfe", b"zero\0inside", b""], object),
    np.array([[b"ab\0", b"\0\0"], [b"c", b""]], object),
    np.array([b"\0"] * 3, object),
    np.array(b"scalar", object),
    np.empty((0, 2), object),
    np.array([], object),
]


def written(**arrays: np.ndarray) -> io.BytesIO:
    file = io.BytesIO()
    npz.write(file, arrays)
    file.seek(0)
    return file


@pytest.mark.parametrize("array", [*ARRAYS, *STRINGS], ids=lambda array: f"{array.dtype}-{array.shape}")
def test_an_array_comes_back_as_it_went(array: np.ndarray) -> None:
    back = npz.read(written(t=array))
    assert back.keys() == {"t"}
    assert back["t"].dtype == (np.float32 if array.dtype == ml_dtypes.bfloat16 else array.dtype)
    assert back["t"].shape == array.shape
    assert back["t"].tolist() == array.tolist()


def test_numpy_reads_strings_as_their_bytes_and_where_each_ends() -> None:
    with np.load(written(t=STRINGS[1])) as arrays:
        assert arrays["t.bytes"].tobytes() == b"ab\0\0\0c"
        np.testing.assert_array_equal(arrays["t.offsets"], np.array([[3, 5], [6, 6]]), strict=True)


def test_one_long_string_does_not_make_all_of_them_wide() -> None:
    array = np.array([b"x" * 2**20, *[b"y"] * 1000], object)
    file = written(t=array)
    assert len(file.getvalue()) < 2 * 2**20
    assert npz.read(file)["t"].tolist() == array.tolist()


def test_any_name_will_do() -> None:
    arrays = {name: np.arange(3) for name in ("file", "allow_pickle", "a/b", "ü x")}
    file = io.BytesIO()
    npz.write(file, arrays)
    assert npz.read(file).keys() == arrays.keys()
    file.seek(0)
    with np.load(file) as loaded:
        assert set(loaded) == arrays.keys()


def test_what_is_no_npz_file_is_refused(tmp_path: Path) -> None:
    whole = written(t=np.arange(1000)).getvalue()
    objects = io.BytesIO()
    np.savez(objects, t=np.array([{}], object))
    lengths = io.BytesIO()
    npz.write(lengths, {"t.bytes": np.zeros(3, np.uint8), "t.offsets": np.array([2, 1])})
    spoiled = bytearray(whole)
    spoiled[300] ^= 1
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("t.npy", b"not an array")
    for data in (
        b"",
        b"noise" * 50,
        whole[:-40],
        bytes(spoiled),
        objects.getvalue(),
        lengths.getvalue(),
        other.getvalue(),
    ):
        (tmp_path / "a.npz").write_bytes(data)
        with pytest.raises(ValueError, match="expected"):
            npz.read(tmp_path / "a.npz")
