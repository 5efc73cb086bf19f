"""A deployment made for the tests: it serves well until it is asked to fail."""

from collections.abc import Sequence
from typing import Self

from kernelport.deployments import Deployment
from kernelport.errors import KernelPortError
from kernelport.signature import Signature, tensor_spec
from kernelport.v1 import inference_pb2 as pb
from kernelport_workers.backends.base import Backend, Outputs, Request


class Fragile(Backend):
    """Gives its input `ok` BOOL[1] back, or raises what no backend should when that is false."""

    device = "cpu"
    signature = Signature(inputs=[tensor_spec("ok", pb.BOOL, [1])], outputs=[tensor_spec("ok", pb.BOOL, [1])])

    @classmethod
    def load(cls, deployment: Deployment) -> Self:
        return cls()

    def run(self, requests: Sequence[Request]) -> list[Outputs | KernelPortError]:
        if not all(request.inputs["ok"][0] for request in requests):
            raise ZeroDivisionError("a bug in the model")
        return [{"ok": request.inputs["ok"]} for request in requests]
