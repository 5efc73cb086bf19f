"""Errors travel: what a worker raises is what a client catches."""

import socket
import struct
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.rpc import status_pb2

from kernelport import Client, errors
from kernelport.errors import (
    FailedPreconditionError,
    FieldViolation,
    InternalError,
    InvalidArgumentError,
    UnavailableError,
)
from kernelport.supervisor.stack import Stack

CLASSES = [
    each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.KernelPortError)
]


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_keeps_its_class_message_violations_and_retry_delay(kind: type[errors.KernelPortError]) -> None:
    sent = kind("what happened", violations=[FieldViolation("inputs[0].shape", "too long")], retry_after_s=1.25)
    received = errors.from_status(status_pb2.Status.FromString(errors.to_status(sent).SerializeToString()))
    assert type(received) is (InternalError if kind is errors.KernelPortError else kind)
    assert (received.message, received.violations) == (sent.message, sent.violations)
    assert received.retry_after_s == 1.25


def test_each_class_has_its_own_status_code() -> None:
    codes = [kind.code for kind in CLASSES if kind is not errors.KernelPortError]
    assert len(set(codes)) == len(codes)


def test_a_status_of_unknown_code_is_an_internal_error_that_names_it() -> None:
    error = errors.from_status(status_pb2.Status(code=grpc.StatusCode.DATA_LOSS.value[0], message="gone"))
    assert isinstance(error, InternalError)
    assert error.message == "DATA_LOSS: gone"


def test_an_unreachable_front_door_is_unavailable() -> None:
    from kernelport import Client
    from kernelport.supervisor.ports import free_port

    with Client(f"127.0.0.1:{free_port()}", timeout_s=10) as client, pytest.raises(UnavailableError):
        client.deployments()


def test_violations_make_the_message() -> None:
    error = InvalidArgumentError.of([FieldViolation("model", "empty"), FieldViolation("inputs", "none")])
    assert error.message == "model: empty; inputs: none"


def test_an_error_in_words_that_are_no_unicode_text_travels_with_them_escaped() -> None:
    sent = InvalidArgumentError.of([FieldViolation('inputs["\udc80"]', "expected a \ud83d")])
    received = errors.from_status(errors.to_status(sent))
    assert received.message == str(sent) == 'inputs["\\udc80"]: expected a \\ud83d'
    assert received.violations == (FieldViolation('inputs["\\udc80"]', "expected a \\ud83d"),)


def test_any_exception_has_words() -> None:
    class SilentError(Exception):
        def __str__(self) -> str:
            raise SystemExit

    assert errors.in_words(ValueError("no such \nvoice")) == "ValueError: no such voice"
    assert errors.in_words(OSError("bad \udc80 file")) == "OSError: bad \\udc80 file"
    assert errors.in_words(TypeError("what is <X object at 0x7ff5aF>?")) == "TypeError: what is <X object>?"
    assert errors.in_words(ValueError("no \x1b[31mvoice\x00")) == "ValueError: no [31mvoice"
    long = errors.in_words(ValueError("x" * 5_000_000))
    assert (long[:15], long[-5:], len(long)) == ("ValueError: xxx", "x ...", 1000)
    assert errors.in_words(SilentError()) == "SilentError, which does not say more"


@pytest.mark.parametrize("target", ["127.0.0.1:1", "[::1]:1"])
def test_a_refused_connection_names_the_address_and_the_command_that_helps(target: str) -> None:
    with Client(target) as client, pytest.raises(UnavailableError) as refused:
        client.deployments()
    assert str(refused.value) == (
        f"cannot connect to {target}: Connection refused; `kernelport up` starts a front door"
    )


def test_a_host_that_is_not_there_is_named() -> None:
    with Client("nohost.invalid:50051") as client, pytest.raises(UnavailableError) as unknown:
        client.deployments()
    assert str(unknown.value) == "cannot find the host nohost.invalid"


def test_the_address_for_http_is_told_from_a_front_door(stack: Stack) -> None:
    address = stack.url.removeprefix("http://")
    with Client(address) as client, pytest.raises(UnavailableError) as wrong:
        client.deployments()
    told = "it speaks HTTP/1, not gRPC: it may be the HTTP address of the front door"
    assert str(wrong.value) == f"cannot connect to {address}: {told}"


def test_what_speaks_neither_is_not_told_to_speak_http() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        greeting = pool.submit(_greet, server)
        with (
            Client(f"127.0.0.1:{server.getsockname()[1]}", max_retries=0) as client,
            pytest.raises(UnavailableError, match="it does not speak gRPC"),
        ):
            client.deployments()
        greeting.result().close()


def test_a_web_server_that_speaks_no_grpc_is_told_from_a_front_door() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        answering = pool.submit(_answer_as_the_web_does, server)
        with (
            Client(f"127.0.0.1:{server.getsockname()[1]}") as client,
            pytest.raises(FailedPreconditionError, match="is no KernelPort front door"),
        ):
            client.jobs.wait("j")
        answering.result().close()


def _answer_as_the_web_does(server: socket.socket) -> socket.socket:
    """A connection on which the server has answered the first call by HTTP/2: 200, and a page."""
    connection, _ = server.accept()
    with connection.makefile("rb") as sent:
        sent.read(len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
        connection.sendall(_frame(_SETTINGS, 0, 0))
        kind = None
        while kind != _HEADERS:
            length, kind, _, stream = struct.unpack(">3sBBI", sent.read(9))
            sent.read(int.from_bytes(length))
    status_200, content_type = b"\x88", b"\x5f\x09text/html"
    connection.sendall(_frame(_HEADERS, _END_HEADERS, stream, status_200 + content_type))
    connection.sendall(_frame(_DATA, _END_STREAM, stream, b"<html>"))
    return connection


_DATA, _HEADERS, _SETTINGS = 0, 1, 4
_END_STREAM, _END_HEADERS = 1, 4


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">3sBBI", len(payload).to_bytes(3), kind, flags, stream) + payload


def _greet(server: socket.socket) -> socket.socket:
    """A connection on which the server has said what it is, as SSH does."""
    connection, _ = server.accept()
    connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
    return connection
