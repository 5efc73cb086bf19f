"""Every ONNX model answers as ONNX Runtime does when it is called directly, whatever carries the request: our contract,
or the Open Inference Protocol over gRPC, REST with JSON, and REST with elements as they are."""

from collections.abc import Iterator, Mapping
from typing import Any

import grpc
import numpy as np
import onnx
import pytest

from kernelport.open_inference import inference_pb2 as oip
from kernelport.open_inference import inference_pb2_grpc
from kernelport.supervisor.stack import Stack
from kernelport.tensors import NUMPY_DTYPES, Array, from_array, from_arrays, to_arrays
from kernelport.v1 import inference_pb2 as pb
from kernelport_api.doors.open_inference.tensors import DATATYPES, DTYPES
from tests.conftest import stack_settings
from tests.e2e.calls import response, start
from tests.e2e.conftest import shared_worker
from tests.http.calls import ask
from tests.http.test_open_inference import binary, outputs_of
from tests.models.deployed import deploy
from tests.models.onnx_zoo import ZooModel, run_directly, zoo

ZOO = {entry.name: entry for entry in zoo()}
CALLERS = 8


@pytest.fixture(scope="module")
def zoo_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose one worker serves every model, each deployed through a manifest of its own."""
    folder = tmp_path_factory.mktemp("zoo")
    models = {deployment_name(entry): entry.model for entry in ZOO.values()}
    with (
        Stack(stack_settings(deploy(models, folder)), [], folder / "state") as stack,
        shared_worker(stack, list(models), folder),
    ):
        yield stack


@pytest.fixture(scope="module")
def zoo_channel(zoo_stack: Stack) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(zoo_stack.target) as channel:
        yield channel


@pytest.mark.parametrize("entry", ZOO.values(), ids=ZOO)
def test_same_bytes_as_onnx_runtime(entry: ZooModel, zoo_channel: grpc.Channel) -> None:
    for inputs in entry.requests:
        outputs = response(start(zoo_channel, request(entry, inputs))).outputs
        assert [tensor.SerializeToString() for tensor in outputs] == wire(run_directly(entry.model, inputs))


@pytest.mark.parametrize("entry", ZOO.values(), ids=ZOO)
def test_same_bytes_over_every_protocol(entry: ZooModel, zoo_stack: Stack, zoo_channel: grpc.Channel) -> None:
    path = f"/v2/models/{deployment_name(entry)}/infer"
    for inputs in entry.requests:
        expected = {each.name: each.data for each in response(start(zoo_channel, request(entry, inputs))).outputs}
        assert over_grpc(zoo_channel, entry, inputs) == expected
        tensors = from_arrays(inputs)
        raw = [{**told(each), "parameters": {"binary_data_size": len(each.data)}} for each in tensors]
        body, headers = binary(
            {"inputs": raw, "parameters": {"binary_data_output": True}}, *(each.data for each in tensors)
        )
        assert outputs_of(ask(zoo_stack.url, "POST", path, body, headers)) == expected
        if (values := as_json(inputs)) is None:
            continue
        given = [{**told(each), "data": values[each.name]} for each in tensors]
        wanted = [{"name": name, "parameters": {"binary_data": True}} for name in expected]
        assert outputs_of(ask(zoo_stack.url, "POST", path, {"inputs": given, "outputs": wanted})) == expected
        answer = ask(zoo_stack.url, "POST", path, {"inputs": given})
        if answer.status == 200:  # else JSON cannot say an output
            assert {each["name"]: data_of(each) for each in answer.json()["outputs"]} == expected
        else:
            assert "as binary data" in answer.json()["error"]


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


def over_grpc(channel: grpc.Channel, entry: ZooModel, inputs: Mapping[str, Array]) -> dict[str, bytes]:
    asked = oip.ModelInferRequest(model_name=deployment_name(entry))
    for tensor in from_arrays(inputs):
        asked.inputs.add(name=tensor.name, datatype=DATATYPES[tensor.dtype], shape=tensor.shape)
        asked.raw_input_contents.append(tensor.data)
    stub: Any = inference_pb2_grpc.GRPCInferenceServiceStub(channel)
    answer = stub.ModelInfer(asked, timeout=30)
    return dict(zip((each.name for each in answer.outputs), answer.raw_output_contents, strict=True))


def told(tensor: pb.Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": DATATYPES[tensor.dtype], "shape": list(tensor.shape)}


def as_json(inputs: Mapping[str, Array]) -> dict[str, Any] | None:
    """The values as JSON has them; None where it has no word for one."""
    found: dict[str, Any] = {}
    for name, array in inputs.items():
        try:
            if array.dtype.kind in "fV" and not np.isfinite(array.astype(np.float64)).all():
                return None
            values = array.astype(np.float64) if array.dtype.kind in "fV" else array
            found[name] = [each.decode() if isinstance(each, bytes) else each for each in values.ravel().tolist()]
        except UnicodeDecodeError:
            return None
    return found


def data_of(output: Mapping[str, Any]) -> bytes:
    """The elements of an output in JSON as they would travel."""
    values, dtype = output["data"], DTYPES[output["datatype"]]
    if dtype == pb.STRING:
        array: Any = np.array([each.encode() for each in values], object)
    else:
        array = np.array(values, NUMPY_DTYPES[dtype])
    return from_array("x", array).data
