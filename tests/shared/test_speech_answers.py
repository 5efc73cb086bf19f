"""A client takes for speech only what has samples and a rate."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from kernelport.client import Client
from kernelport.errors import InternalError
from kernelport.tensors import from_arrays
from kernelport.v1 import inference_pb2, inference_pb2_grpc


class Silent(inference_pb2_grpc.InferenceServiceServicer):
    """Answers without the samples."""

    def Infer(self, request: inference_pb2.InferRequest, context: object) -> inference_pb2.InferResponse:
        return inference_pb2.InferResponse(outputs=from_arrays({"sample_rate": np.array([8000])}))


def test_an_answer_without_samples_is_an_error_that_names_them() -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    inference_pb2_grpc.add_InferenceServiceServicer_to_server(Silent(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with Client(f"127.0.0.1:{port}") as client, pytest.raises(InternalError, match='none of the name "audio"'):
            client.speak("silent", "Hello.")
    finally:
        server.stop(None).wait()
