"""What a user of Triton's stock client does over TLS: `python -m tests.tls.triton_client grpc|http ADDRESS CA`.

It runs in a process of its own: it brings the protocol's messages under the names that those of a front door have.
"""

import ssl
import sys
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.http

X = np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)


def client(protocol: str, address: str, ca: str) -> Any:
    if protocol == "grpc":
        return tritonclient.grpc.InferenceServerClient(address, ssl=True, root_certificates=ca)
    trusting = ssl.create_default_context(cafile=ca)
    return tritonclient.http.InferenceServerClient(address, ssl=True, ssl_context_factory=lambda: trusting)


def main(protocol: str, address: str, ca: str) -> None:
    of: Any = {"grpc": tritonclient.grpc, "http": tritonclient.http}[protocol]
    given = of.InferInput("x", list(X.shape), "FP32")
    given.set_data_from_numpy(X)
    answer = client(protocol, address, ca).infer("identity-onnx", [given])
    assert np.array_equal(answer.as_numpy("y"), X)


if __name__ == "__main__":
    main(*sys.argv[1:])
