"""How the manifest tells of inputs."""

import numpy as np
import pytest

from kernelport import tensors
from kernelport.jobs.inputs import Inputs
from kernelport.tensors import Array

SHA256 = "5" * 64


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.array([1.5], np.float32), 1.5),
        (np.array(7, np.int64), 7),
        (np.array([[True]]), True),
        (np.array([b"en"], object), "en"),
    ],
)
def test_one_element_is_told_by_its_value(array: Array, told: object) -> None:
    assert Inputs({}).described([tensors.from_array("x", array)]) == {"x": told}


@pytest.mark.parametrize(
    "array",
    [np.zeros(2, np.float32), np.array([np.nan], np.float32), np.array([b"\xff"], object), np.zeros((0, 3), np.int32)],
)
def test_anything_else_is_told_by_its_digest(array: Array) -> None:
    told = Inputs({}).described([tensors.from_array("x", array)])["x"]
    assert told["shape"] == list(array.shape)
    assert len(told["sha256"]) == 64


@pytest.mark.parametrize("array", [np.frombuffer(b"anna", np.uint8), np.array([b"anna"], object)])
def test_a_registered_voice_is_told_by_its_name_and_recording(array: Array) -> None:
    voice = tensors.from_array("voice", array)
    assert Inputs({"anna": SHA256}).described([voice]) == {"voice": {"name": "anna", "sha256": SHA256}}
    assert Inputs({}).described([voice]) == {"voice": {"name": "anna", "sha256": None}}
