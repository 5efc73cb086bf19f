"""LitServe serving the identity model: raw bytes in and out, stacked by its own batching.

Runs in an environment of its own: python litserve_server.py PORT MODEL. Settings after its documentation: the ZeroMQ
queue (`fast_queue`) for throughput, one worker, `max_batch_size` with its default `batch_timeout` of 0: that was faster
at 1 and at 64 callers than waiting for a millisecond.
"""

import sys
from typing import Annotated

import litserve
import numpy as np
import onnxruntime as ort
from fastapi import Body, Response


class Identity(litserve.LitAPI):
    def setup(self, device: str) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(sys.argv[2], options, providers=["CPUExecutionProvider"])

    def decode_request(self, request: Annotated[bytes, Body(media_type="application/octet-stream")]) -> np.ndarray:
        side = int((len(request) // 4) ** 0.5)
        return np.frombuffer(request, np.float32).reshape(1, 1, side, side)

    def batch(self, inputs: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(inputs)

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.session.run(None, {"x": x})[0]

    def unbatch(self, output: np.ndarray) -> list[np.ndarray]:
        return [output[i : i + 1] for i in range(len(output))]

    def encode_response(self, output: np.ndarray) -> Response:
        return Response(output.tobytes(), media_type="application/octet-stream")


if __name__ == "__main__":
    server = litserve.LitServer(
        Identity(max_batch_size=32, batch_timeout=0.0),
        accelerator="cpu",
        devices=1,
        workers_per_device=1,
        timeout=120,
        fast_queue=True,
    )
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
