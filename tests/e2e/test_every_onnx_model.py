"""Every ONNX model answers through the front door as ONNX Runtime does when it is called directly."""

from collections.abc import Iterator, Mapping

import grpc
import numpy as np
import onnx
import pytest

from kernelport.supervisor.stack import Stack
from kernelport.tensors import NUMPY_DTYPES, Array, from_array, from_arrays, to_arrays
from kernelport.v1 import inference_pb2 as pb
from tests.conftest import stack_settings
from tests.e2e.calls import response, start
from tests.e2e.conftest import shared_worker
from tests.models.deployed import deploy
from tests.models.onnx_zoo import ZooModel, run_directly, zoo

ZOO = {entry.name: entry for entry in zoo()}
CALLERS = 8


@pytest.fixture(scope="module")
def zoo_channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    """A channel to a stack whose one worker serves every model, each deployed through a manifest of its own."""
    folder = tmp_path_factory.mktemp("zoo")
    models = {deployment_name(entry): entry.model for entry in ZOO.values()}
    with (
        Stack(stack_settings(deploy(models, folder)), [], folder / "state") as stack,
        shared_worker(stack, list(models), folder),
        grpc.insecure_channel(stack.target) as channel,
    ):
        yield channel


@pytest.mark.parametrize("entry", ZOO.values(), ids=ZOO)
def test_same_bytes_as_onnx_runtime(entry: ZooModel, zoo_channel: grpc.Channel) -> None:
    for inputs in entry.requests:
        outputs = response(start(zoo_channel, request(entry, inputs))).outputs
        assert [tensor.SerializeToString() for tensor in outputs] == wire(run_directly(entry.model, inputs))


@pytest.mark.parametrize("entry", ZOO.values(), ids=ZOO)
def test_callers_at_once_each_get_their_own_answer(entry: ZooModel, zoo_channel: grpc.Channel) -> None:
    asked = [varied(inputs, caller) for caller in range(CALLERS) for inputs in entry.requests]
    calls = [start(zoo_channel, request(entry, inputs)) for inputs in asked]
    for inputs, call in zip(asked, calls, strict=True):
        outputs, expected = to_arrays(response(call).outputs), run_directly(entry.model, inputs)
        assert outputs.keys() == expected.keys()
        for name, array in expected.items():
            assert_same_but_for_rounding(outputs[name], array)


def test_callers_at_once_share_runs_of_the_model(zoo_channel: grpc.Channel) -> None:
    entry = ZOO["elementwise"]
    calls = [start(zoo_channel, request(entry, entry.requests[0])) for _ in range(64)]
    # Requests that ran together ran for the same time.
    assert len({response(call).backend_us for call in calls}) < 32


def test_the_models_cover_every_dtype_and_kind_of_shape() -> None:
    assert len(ZOO) >= 25
    values = [value for entry in ZOO.values() for value in entry.model.graph.input]
    dtypes = {onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type) for value in values}
    assert dtypes == set(NUMPY_DTYPES.values())
    shapes = [value.type.tensor_type.shape.dim for value in values]
    assert any(dim.dim_param for shape in shapes for dim in shape), "symbolic"
    assert any(dim.dim_value > 1 for shape in shapes for dim in shape), "fixed"
    assert any(dim.HasField("dim_value") and dim.dim_value == 0 for shape in shapes for dim in shape), "zero-size"
    assert any(not shape for shape in shapes), "scalar"


def deployment_name(entry: ZooModel) -> str:
    return entry.name.replace("_", "-")


def request(entry: ZooModel, inputs: Mapping[str, Array]) -> pb.InferRequest:
    return pb.InferRequest(model=deployment_name(entry), inputs=from_arrays(inputs))


def wire(outputs: Mapping[str, Array]) -> list[bytes]:
    """Outputs as they travel."""
    return [from_array(name, array).SerializeToString() for name, array in outputs.items()]


def varied(inputs: Mapping[str, Array], caller: int) -> dict[str, Array]:
    """The inputs with their elements moved round, by another distance for each caller."""
    return {name: np.roll(array, caller) for name, array in inputs.items()}


def assert_same_but_for_rounding(array: Array, expected: Array) -> None:
    """Stacked floats may differ in the last bits: ONNX Runtime picks its algorithm by the number of rows."""
    assert (array.dtype, array.shape) == (expected.dtype, expected.shape)
    if expected.dtype.hasobject or expected.dtype.kind in "iub":
        assert array.tolist() == expected.tolist()
    else:
        np.testing.assert_allclose(array.astype(np.float64), expected.astype(np.float64), rtol=1e-5, atol=1e-6)
