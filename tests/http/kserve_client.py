"""What users of KServe's client do: `kserve_client.py GRPC_ADDRESS URL`, in an environment that has it."""

import asyncio
import sys
from typing import Any

import numpy as np
from kserve import InferInput, InferRequest
from kserve.inference_client import InferenceGRPCClient, InferenceRESTClient, RESTConfig

NAME = "identity-onnx"
X = np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)


def request(model: str, binary: bool) -> InferRequest:
    given = InferInput("x", list(X.shape), "FP32")
    given.set_data_from_numpy(X, binary_data=binary)
    return InferRequest(model, [given], request_id="7")


async def over_rest(url: str) -> None:
    client: Any = InferenceRESTClient(config=RESTConfig(protocol="v2", timeout=30))
    assert await client.is_server_live(url)
    assert await client.is_server_ready(url)
    assert await client.is_model_ready(url, NAME)
    for binary in (False, True):
        answer = await client.infer(url, request(NAME, binary), model_name=NAME)
        assert np.array_equal(answer.outputs[0].as_numpy(), X)
        assert answer.id == "7"
    text = InferInput("text", [1], "BYTES")
    text.set_data_from_numpy(np.array([b"Good morning."], object), binary_data=True)
    spoken = await client.infer(url, InferRequest("hibari-en", [text]), model_name="hibari-en")
    assert [each.name for each in spoken.outputs] == ["audio", "sample_rate"]
    told = ""
    try:
        await client.infer(url, request("nobody", True), model_name="nobody")
    except Exception as error:
        told = str(error)
    assert "there are:" in told


async def over_grpc(address: str) -> None:
    client: Any = InferenceGRPCClient(url=address)
    assert await client.is_server_ready()
    assert await client.is_model_ready(NAME)
    answer = await client.infer(request(NAME, True))
    assert np.array_equal(answer.outputs[0].as_numpy(), X)


async def main() -> None:
    await over_rest(sys.argv[2])
    await over_grpc(sys.argv[1])


if __name__ == "__main__":
    asyncio.run(main())
