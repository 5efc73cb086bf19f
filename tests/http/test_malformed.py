"""HTTP as nobody should send it: each gets the right status in the shape of its API, and nobody else notices."""

import gzip
import itertools
import json
import re
import socket
import struct
import zlib
from typing import Any
from urllib.parse import urlsplit

import pytest

from kernelport.supervisor.stack import Stack
from tests.http.calls import ask

SPEECH, INFER = "/v1/audio/speech", "/v2/models/identity-onnx/infer"
JSON = {"Content-Type": "application/json"}
BINARY = {"Content-Type": "application/octet-stream"}
FORM = {"Content-Type": "multipart/form-data; boundary=b"}
X = {"name": "x", "shape": [1, 1, 1, 1], "datatype": "FP32"}
DEEP = b'{"model": ' + b"[" * 50_000


def part(disposition: str, body: str = "a") -> bytes:
    return f"--b\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{body}\r\n--b--\r\n".encode()


def tensor(**changed: Any) -> bytes:
    return json.dumps({"inputs": [{**X, "data": [1.0], **changed}]}).encode()


def bomb(mebibytes: int) -> bytes:
    """A gzip body that unpacks to so many MiB of zeros: one compressed block, again and again."""
    zeros = bytes(2**20)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    for _ in range(mebibytes):
        checksum = zlib.crc32(zeros, checksum)
    end = packer.flush() + struct.pack("<II", checksum, mebibytes * 2**20 % 2**32)
    return gzip.compress(b"")[:10] + block * mebibytes + end


# Method, path, body, headers, status.
CALLS: list[tuple[str, str, bytes, dict[str, str], int]] = [
    # speech
    ("POST", SPEECH, b"", JSON, 400),
    ("POST", SPEECH, b"null", JSON, 400),
    ("POST", SPEECH, b'"text"', JSON, 400),
    ("POST", SPEECH, b'{"model": "hibari-en", "input": "Hi."', JSON, 400),
    ("POST", SPEECH, b'{"model": "hibari-en", "input": "Hi."} {}', JSON, 400),
    ("POST", SPEECH, b'{"model": "hibari-en", "input": "\\ud800"}', JSON, 400),
    ("POST", SPEECH, b'{"model": "hibari-en", "input": "\xff"}', JSON, 400),
    ("POST", SPEECH, b"\xef\xbb\xbf{}", JSON, 400),
    ("POST", SPEECH, '{"model": "hibari-en", "input": "Hi."}'.encode("utf-16"), JSON, 400),
    ("POST", SPEECH, DEEP, JSON, 400),
    ("POST", SPEECH, b'{"input": "Hi."}', JSON, 400),
    ("POST", SPEECH, b'{"model": "hibari-en", "input": "Hi.", "speed": 1e400}', JSON, 400),
    ("POST", SPEECH, b'{"model": "hibari-en", "input": "Hi.", "speed": NaN}', JSON, 400),
    ("POST", SPEECH, b'{"model": "hibari-en", "input": "Hi.", "seed": 99999999999999999999}', JSON, 400),
    ("POST", SPEECH, b"{}", {"Content-Type": "application/json;charset"}, 400),
    ("POST", SPEECH, b"{}", {"Content-Type": "application/xml"}, 415),
    ("POST", SPEECH, b"{}", {"Content-Type": "application/json, text/plain"}, 415),
    ("POST", SPEECH, b"{}", {**JSON, "Content-Encoding": "gzip, gzip"}, 415),
    ("POST", SPEECH, gzip.compress(b"{}")[:-4], {**JSON, "Content-Encoding": "gzip"}, 400),
    ("POST", SPEECH, gzip.compress(b"{}") + b"more", {**JSON, "Content-Encoding": "gzip"}, 400),
    ("POST", SPEECH, bomb(1024), {**JSON, "Content-Encoding": "gzip"}, 413),
    ("PUT", SPEECH, b"{}", JSON, 405),
    ("TRACE", SPEECH, b"", {}, 405),
    # tensors
    ("POST", INFER, b"", BINARY, 400),
    ("POST", INFER, b"[]", JSON, 400),
    ("POST", INFER, b'{"inputs": {}}', JSON, 400),
    ("POST", INFER, b'{"inputs": [1]}', JSON, 400),
    ("POST", INFER, tensor(name=1), JSON, 400),
    ("POST", INFER, tensor(datatype="FP31"), JSON, 400),
    ("POST", INFER, tensor(shape=[-1, 1, 1, 1]), JSON, 400),
    ("POST", INFER, tensor(shape=[1, 1, 1, 2]), JSON, 400),
    ("POST", INFER, tensor(shape=[2**62, 2**62, 1, 1]), JSON, 400),
    ("POST", INFER, tensor(data=["a"]), JSON, 400),
    ("POST", INFER, tensor().replace(b"1.0", b"1e400"), JSON, 400),
    ("POST", INFER, tensor().replace(b"1.0", b"1" * 5_000), JSON, 400),
    ("POST", INFER, tensor(data=[[1.0], []]), JSON, 400),
    ("POST", INFER, tensor(parameters={"binary_data_size": -1}), BINARY, 400),
    ("POST", INFER, tensor(parameters={"binary_data_size": 10**9}), BINARY, 400),
    ("POST", INFER, tensor(parameters={"binary_data_size": True}), BINARY, 400),
    ("POST", INFER, tensor() + b"rest", {**BINARY, "Inference-Header-Content-Length": "3"}, 400),
    ("POST", INFER, tensor(), {**BINARY, "Inference-Header-Content-Length": "-1"}, 400),
    ("POST", INFER, tensor(), {**BINARY, "Inference-Header-Content-Length": "1" * 40}, 400),
    ("POST", INFER, tensor(), {**BINARY, "Inference-Header-Content-Length": "1" * 5_000}, 400),
    ("POST", INFER, tensor(), {**BINARY, "Inference-Header-Content-Length": "a"}, 400),
    ("POST", INFER, tensor(shape=[2**63], parameters={"binary_data_size": 0}), JSON, 400),
    ("POST", INFER, tensor(shape=[-(2**70)], parameters={"binary_data_size": 0}), JSON, 400),
    ("POST", "/v2/models/identity-onnx/versions/7/infer", tensor(), JSON, 404),
    ("POST", "/v2/models/none/infer", tensor(), JSON, 404),
    ("POST", "/v2/models/%00/infer", tensor(), JSON, 404),
    ("POST", f"/v2/models/{'m' * 5000}/infer", tensor(), JSON, 404),
    # files and batches
    ("POST", "/v1/files", b"", FORM, 400),
    ("POST", "/v1/files", b"--b\r\n", FORM, 400),
    ("POST", "/v1/files", part('name="purpose"', "batch"), FORM, 400),
    ("POST", "/v1/files", part('name="file"; filename="a.jsonl"'), FORM, 400),
    ("POST", "/v1/files", part('filename="a.jsonl"'), FORM, 400),
    ("POST", "/v1/files", b"--b\r\nContent-Disposition: x\r\n\r\na\r\n--b--\r\n", FORM, 400),
    ("POST", "/v1/files", b"".join(part(f'name="f{n}"')[:-7] + b"\r\n" for n in range(100)) + b"--b--", FORM, 400),
    ("GET", "/v1/files/%2e%2e%2fetc%2fpasswd", b"", {}, 404),
    ("GET", "/v1/files?limit=many", b"", {}, 400),
    ("GET", "/v1/files?order=up", b"", {}, 400),
    ("POST", "/v1/batches", b'{"input_file_id": 1}', JSON, 400),
    # JSON for pages and scripts
    ("GET", "/api/jobs?limit=-1", b"", {}, 400),
    ("GET", "/api/jobs?state=happy", b"", {}, 400),
    ("GET", "/api/jobs?page_token=%ff", b"", {}, 400),
    ("POST", "/api/jobs", b"{", JSON, 400),
    ("POST", "/api/jobs/none/cancel", b"[]", JSON, 400),
    ("DELETE", "/api/jobs/none", b"", {}, 404),
]


def log_of(stack: Stack) -> str:
    return stack.children["front-door"].log_file.read_text()


@pytest.mark.parametrize(("method", "path", "body", "headers", "status"), CALLS, ids=itertools.count())
def test_a_call_is_refused_in_the_shape_of_its_api(
    stack: Stack, method: str, path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    said = len(log_of(stack))
    reply = ask(stack.url, method, path, body, headers)
    assert reply.status == status, reply.body[:500]
    error = reply.json()["error"]
    if path.startswith("/v1"):
        assert set(error) == {"message", "type", "param", "code"}
    elif path.startswith("/v2"):
        assert isinstance(error, str)
    assert "Traceback" not in log_of(stack)[said:]


HEAD = b"POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
RAW = [
    (b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", 400),
    (b"GET /health\r\n\r\n", 403),  # no Host
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),  # TLS
    (b"GET /health HTTP/1.1\r\nHost localhost\r\n\r\n", 400),
    (b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"a: b\r\n" * 20_000, 431),
    (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n", 431),
    (HEAD + b"Content-Length: -5\r\n\r\n", 400),
    (HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
    (HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", 400),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", 400),
    (HEAD + b"Content-Length: 99999999999999999999999999\r\n\r\n", 400),
    (HEAD + b"Content-Length: 4194305\r\n\r\n", 413),
]


@pytest.mark.parametrize(("sent", "status"), RAW, ids=itertools.count())
def test_what_is_no_http_is_told_so_on_its_own_connection(stack: Stack, sent: bytes, status: int) -> None:
    said, where = len(log_of(stack)), urlsplit(stack.url)
    with socket.create_connection((where.hostname, where.port), timeout=20) as connection:
        connection.sendall(sent)
        told = connection.recv(4096)
    assert re.match(rb"HTTP/1.1 (\d+)", told), told[:100]
    assert int(told.split()[1]) == status
    assert ask(stack.url, "GET", "/health").status == 200
    assert "Traceback" not in log_of(stack)[said:]
