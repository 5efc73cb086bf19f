"""mosec serving the identity model: raw bytes in and out, stacked by its own batching.

Runs in an environment of its own: python mosec_server.py --port PORT ... with the model's path in BENCH_MODEL.
"""

import os

import numpy as np
import onnxruntime as ort
from mosec import Server, Worker


class Identity(Worker):
    def __init__(self) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        model = os.environ["BENCH_MODEL"]
        self.session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def deserialize(self, data: bytes) -> np.ndarray:
        side = int((len(data) // 4) ** 0.5)
        return np.frombuffer(data, np.float32).reshape(1, 1, side, side)

    def forward(self, data: list[np.ndarray]) -> list[np.ndarray]:
        output = self.session.run(None, {"x": np.concatenate(data)})[0]
        return [output[i : i + 1] for i in range(len(data))]

    def serialize(self, data: np.ndarray) -> bytes:
        return data.tobytes()


if __name__ == "__main__":
    server = Server()
    server.append_worker(Identity, num=1, max_batch_size=32, max_wait_time=1)  # milliseconds, 1 being the least
    server.run()
