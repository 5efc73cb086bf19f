"""Every gRPC method: bytes that are no message, and well-formed messages with odd content."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.message import Message
from hypothesis import strategies as st

from kernelport.client.item_files.values import text_tensor
from kernelport.open_inference import inference_pb2 as open_inference_pb2
from kernelport.v1 import (
    access_pb2,
    dead_letter_pb2,
    deployment_pb2,
    inference_pb2,
    job_pb2,
    job_pb2_grpc,
    voice_pb2,
)
from tests.fuzz.readers import recording
from tests.fuzz.target import Target, expect
from tests.fuzz.values import garbled, messages, mostly, tensors, unicode_texts
from tests.fuzz.world import FUZZED, SPEECH, World
from tests.jobs.calls import JobCalls, spoken, tiny

INFER = "/kernelport.v1.InferenceService/Infer"
_MODULES = (access_pb2, dead_letter_pb2, deployment_pb2, inference_pb2, job_pb2, open_inference_pb2, voice_pb2)
# A key that is made here shuts everybody else out.
_NOT_HERE = ("CreateKey",)
_X = open_inference_pb2.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 1, 1, 1])
# By nature without an end, or with one that may be far away.
_ENDLESS = ("WatchJob",)
TIMEOUT_S, ENDLESS_S = 20.0, 0.3
_UNFORESEEN = (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNIMPLEMENTED)
_ALL_OF_A_WAIT = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
# What a call may be told while Redis holds what nobody of ours wrote.
UNREADABLE = "cannot be read"


@dataclass(frozen=True)
class Method:
    """A method of ours."""

    path: str
    name: str
    request: type[Message]
    takes_stream: bool
    gives_stream: bool

    @property
    def is_endless(self) -> bool:
        """Whether it answers for as long as it is listened to."""
        return self.name in _ENDLESS


def all_methods() -> list[Method]:
    """Those of every service of the contract."""
    services = [service for module in _MODULES for service in module.DESCRIPTOR.services_by_name.values()]
    return [
        Method(
            f"/{service.full_name}/{method.name}",
            method.name,
            message_factory.GetMessageClass(method.input_type),
            method.client_streaming,
            method.server_streaming,
        )
        for service in services
        for method in service.methods
        if method.name not in _NOT_HERE
    ]


def call(
    channel: grpc.Channel, method: Method, bodies: Sequence[bytes], timeout_s: float = TIMEOUT_S
) -> grpc.RpcError | None:
    """Calls a method and listens to all that it says; the error that it ends with."""
    shape = f"{'stream' if method.takes_stream else 'unary'}_{'stream' if method.gives_stream else 'unary'}"
    start = getattr(channel, shape)(method.path)
    try:
        given: Any = iter(bodies) if method.takes_stream else bodies[0]
        answer = start(given, timeout=ENDLESS_S if method.is_endless else timeout_s)
        for _ in answer if method.gives_stream else ():
            pass
    except grpc.RpcError as error:
        return error
    return None


def check_ending(method: Method, error: grpc.RpcError | None, *, forged: bool = False) -> None:
    """Raises FindingError unless a call ended as one may.

    Args:
        forged: whether Redis holds what nobody of ours wrote: then it may be told that this cannot be read.
    """
    if error is None or (forged and UNREADABLE in (error.details() or "")):
        return
    code = error.code()
    may_wait = method.is_endless or forged
    expect(
        code not in _UNFORESEEN and (may_wait or code not in _ALL_OF_A_WAIT),
        f"{method.name}: {code.name} {error.details()}",
    )


def methods(world: World, seed: int) -> list[Target]:
    """Every method of the front door, with bytes and with messages; two jobs are made for them to be about.

    Args:
        seed: names what is made, so that no two rounds meet.
    """
    jobs = JobCalls(job_pb2_grpc.JobServiceStub(world.channel))
    made = [
        jobs.wait(jobs.submit(FUZZED, [tiny("a"), tiny("b")]).id).id,
        jobs.submit(FUZZED, [tiny("a")], open=True).id,
        jobs.submit(SPEECH, [spoken("a", "Hello.")], webhook={"url": "http://127.0.0.1:1/x"}).id,
    ]
    deployments = st.sampled_from([FUZZED, FUZZED, SPEECH, f"no-{seed}"])
    job_ids = st.sampled_from(made)
    known = {
        **dict.fromkeys(["model", "model_name", "deployment"], deployments),
        "datatype": st.sampled_from(["FP32", "BYTES", "INT64", "BF16"]),
        "InferInputTensor": st.just(_X),
        "ModelInferRequest.raw_input_contents": st.sampled_from([b"\0" * 4, b"\0" * 16]),
        **dict.fromkeys(["job_id"], job_ids),
        **dict.fromkeys(["id", "item_id"], job_ids | st.sampled_from(["a", "b"])),
        "page_token": st.sampled_from(["1:0", "0", "1", f"{made[0]}", "9" * 30]),
        "request_id": st.sampled_from([f"{seed}-a", f"{seed}-b"]),
        "name": st.just(f"voice-{seed}"),
        "tensor": st.sampled_from(["x", "text", "speed"]),
        "NewItem": st.sampled_from([tiny("a"), tiny("b"), tiny("é😀"), spoken("s", "Hello.")]),
        "AddVoiceRequest.audio": st.just(recording()),
        "url": st.sampled_from(["http://127.0.0.1:1/x", "http://[::1]:2"]),
    }

    def check(example: tuple[Method, Sequence[bytes]]) -> None:
        method, bodies = example
        check_ending(method, call(world.channel, method, bodies))
        world.check()

    found = []
    for method in all_methods():
        sound_bodies = messages(method.request, known).map(lambda message: message.SerializeToString())
        if method.path == INFER:
            sound_bodies |= _requests().map(lambda message: message.SerializeToString())
        bodies = mostly(sound_bodies, garbled(sound_bodies) | st.binary(max_size=40))
        some = st.lists(bodies, min_size=not method.takes_stream, max_size=3)
        examples = st.tuples(st.just(method), some)
        found.append(Target(f"method-{method.name}", examples, check, most=15, shrinks=False))
    return found


@st.composite
def _requests(draw: Any) -> inference_pb2.InferRequest:
    """Requests that are nearly right, and texts to speak."""
    x, text = tensors(st.just("x")), unicode_texts.filter(str.strip).map(partial(text_tensor, "text"))
    model, inputs = draw(st.sampled_from([(FUZZED, st.lists(x, max_size=2)), (SPEECH, st.lists(text | x, max_size=2))]))
    return inference_pb2.InferRequest(model=model, inputs=draw(inputs))
