"""Naive Celery, the front: a thread-pool gRPC server whose handler waits for `apply_async(...).get()`.

NAIVE_REDIS_URL=... python -m kernelport_ops.bench.naive_server PORT
"""

import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from kernelport.v1 import inference_pb2 as pb
from kernelport.v1 import inference_pb2_grpc
from kernelport_ops.bench.naive_tasks import infer

THREADS = 64
TIMEOUT_S = 120
_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class Front(inference_pb2_grpc.InferenceServiceServicer):
    """One task a request; the thread waits for its result."""

    def Infer(self, request: pb.InferRequest, context: Any) -> pb.InferResponse:
        """The result backend is Celery's own, on the same Redis."""
        body: bytes = infer.apply_async((request.SerializeToString(),)).get(timeout=TIMEOUT_S)
        return pb.InferResponse.FromString(body)

    def InferStream(self, request: pb.InferRequest, context: Any) -> Iterator[pb.InferResponse]:
        """The same in one message."""
        yield self.Infer(request, context)


def main() -> None:
    """Serves until SIGTERM."""
    server = grpc.server(ThreadPoolExecutor(THREADS), options=_UNLIMITED)
    inference_pb2_grpc.add_InferenceServiceServicer_to_server(Front(), server)  # type: ignore[abstract]
    server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    server.start()
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    stopped.wait()
    server.stop(grace=0)


if __name__ == "__main__":
    main()
