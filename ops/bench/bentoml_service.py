"""BentoML serving the identity model: an endpoint of raw bytes, and one of arrays that it batches.

Runs in an environment of its own: bentoml serve bentoml_service:Identity, with the model's path in BENCH_MODEL. Over
HTTP a batched endpoint takes its arrays as JSON text, and an endpoint of raw bytes is not batched: which of the two is
faster depends on the payload, so both are measured.
"""

import os
from typing import Annotated

import bentoml
import numpy as np
import onnxruntime as ort
from bentoml.validators import ContentType

OCTETS = ContentType("application/octet-stream")


@bentoml.service(
    workers=1, traffic={"timeout": 120}, metrics={"enabled": False}, logging={"access": {"enabled": False}}
)
class Identity:
    def __init__(self) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        model = os.environ["BENCH_MODEL"]
        self.session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    @bentoml.api(route="/predict")
    def predict(self, data: Annotated[bytes, OCTETS], /) -> Annotated[bytes, OCTETS]:
        side = int((len(data) // 4) ** 0.5)
        x = np.frombuffer(data, np.float32).reshape(1, 1, side, side)
        return self.session.run(None, {"x": x})[0].tobytes()

    @bentoml.api(route="/predict_batched", batchable=True, max_batch_size=32)
    def predict_batched(self, x: np.ndarray) -> np.ndarray:
        return self.session.run(None, {"x": x.astype(np.float32)})[0]
