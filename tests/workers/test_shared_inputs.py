"""What the items of a job share, in a worker."""

import time
from collections.abc import Sequence
from typing import Self

import numpy as np

from kernelport import tensors
from kernelport.config.deployments import Deployment
from kernelport.errors import KernelPortError
from kernelport.signature import Signature, tensor_spec
from kernelport.v1 import inference_pb2 as pb
from kernelport_workers.backends.base import Backend, Outputs, Request
from kernelport_workers.execution.execution import Execution, Work


class Speaker(Backend):
    """Answers with the sum of its voice, and keeps what it was given."""

    device = "cpu"
    signature = Signature(
        inputs=[tensor_spec("voice", pb.F32, ["n"]), tensor_spec("pitch", pb.F32, [1])],
        outputs=[tensor_spec("sum", pb.F32, [])],
    )

    def __init__(self) -> None:
        self.given: list[Request] = []

    @classmethod
    def load(cls, deployment: Deployment) -> Self:
        return cls()

    def run(self, requests: Sequence[Request]) -> list[Outputs | KernelPortError]:
        self.given += requests
        return [{"sum": np.asarray(request.inputs["voice"].sum(), np.float32)} for request in requests]


class NothingBeside:
    def begin(self) -> None:
        pass

    def alone(self) -> None:
        pass


def test_a_shared_input_is_in_memory_once_and_gives_way_to_an_items_own() -> None:
    (voice,) = tensors.from_arrays({"voice": np.ones(1_000, np.float32)})
    shared = {"voice": (voice, tensors.to_array(voice))}

    def item(**inputs: np.ndarray[tuple[int], np.dtype[np.float32]]) -> Work:
        own = tensors.from_arrays({"pitch": np.ones(1, np.float32), **inputs})
        return Work(b"", own, 2**62, lambda: None, shared=shared)

    speaker = Speaker()
    ran = Execution(speaker).run_all(
        [item(), item(), item(voice=np.full(2, 0.5, np.float32))], time.monotonic(), NothingBeside()
    )
    assert [float(result["sum"]) for result in ran.results if isinstance(result, dict)] == [1_000, 1_000, 1]
    first, second, third = (request.inputs["voice"] for request in speaker.given)
    assert np.shares_memory(first, second)
    assert not np.shares_memory(first, third)
