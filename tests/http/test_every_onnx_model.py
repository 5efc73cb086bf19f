"""Every ONNX model of the tests gives the same bytes, whatever carries the request: our contract, or the Open Inference
Protocol over gRPC, REST with JSON, and REST with elements as they are."""

from collections.abc import Iterator, Mapping
from typing import Any

import grpc
import numpy as np
import pytest

from kernelport.open_inference import inference_pb2 as oip
from kernelport.open_inference import inference_pb2_grpc
from kernelport.supervisor.stack import Stack
from kernelport.tensors import NUMPY_DTYPES, Array, from_array, from_arrays
from kernelport.v1 import inference_pb2 as pb
from kernelport_api.doors.open_inference.tensors import DATATYPES, DTYPES
from tests.conftest import stack_settings
from tests.e2e.calls import response, start
from tests.e2e.conftest import shared_worker
from tests.e2e.test_every_onnx_model import ZOO, deployment_name, request
from tests.http.calls import ask
from tests.http.test_open_inference import binary, outputs_of
from tests.models.deployed import deploy
from tests.models.onnx_zoo import ZooModel


@pytest.fixture(scope="module")
def zoo_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("zoo")
    models = {deployment_name(entry): entry.model for entry in ZOO.values()}
    with (
        Stack(stack_settings(deploy(models, folder)), [], folder / "state") as stack,
        shared_worker(stack, list(models), folder),
    ):
        yield stack


@pytest.fixture(scope="module")
def channel(zoo_stack: Stack) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(zoo_stack.target) as connected:
        yield connected


@pytest.mark.parametrize("entry", ZOO.values(), ids=ZOO)
def test_the_same_bytes_over_every_protocol(entry: ZooModel, zoo_stack: Stack, channel: grpc.Channel) -> None:
    path = f"/v2/models/{deployment_name(entry)}/infer"
    for inputs in entry.requests:
        expected = {each.name: each.data for each in response(start(channel, request(entry, inputs))).outputs}
        assert over_grpc(channel, entry, inputs) == expected
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
