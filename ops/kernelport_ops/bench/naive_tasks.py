"""Naive Celery, the worker: the app that people write by hand around a model.

    NAIVE_REDIS_URL=... NAIVE_MODEL=model.onnx celery -A kernelport_ops.bench.naive_tasks worker

Done honestly: msgpack rather than pickle or base64 in JSON, the model loaded once a process, no events, gossip or rate
limits, results that expire before they fill the memory.
"""

import os
from typing import Any

import onnxruntime as ort
from celery import Celery
from celery.signals import worker_process_init

from kernelport import tensors
from kernelport.v1 import inference_pb2 as pb

RESULT_EXPIRES_S = 10

_url = os.environ.get("NAIVE_REDIS_URL", "")
app = Celery("naive", broker=_url, backend=_url)
app.conf.update(
    task_serializer="msgpack",
    result_serializer="msgpack",
    accept_content=["msgpack"],
    result_expires=RESULT_EXPIRES_S,
    worker_disable_rate_limits=True,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
    redis_max_connections=None,
)
_session: Any = None


@worker_process_init.connect  # type: ignore[untyped-decorator]
def load(**_: Any) -> None:
    """Loads the model in each process of the pool, after the fork."""
    global _session
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    _session = ort.InferenceSession(os.environ["NAIVE_MODEL"], options, providers=["CPUExecutionProvider"])


@app.task(name="naive.infer")  # type: ignore[untyped-decorator]
def infer(body: bytes) -> bytes:
    """Runs one serialized InferRequest; gives the serialized InferResponse."""
    request = pb.InferRequest.FromString(body)
    outputs = _session.run(None, tensors.to_arrays(request.inputs))
    return pb.InferResponse(outputs=tensors.from_arrays({"y": outputs[0]})).SerializeToString()
