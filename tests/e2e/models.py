"""Deployments made for the tests: they serve well until they are asked to fail, or to answer with much."""

import sys
from collections.abc import Sequence
from typing import Self

import numpy as np

from kernelport.config.deployments import Deployment
from kernelport.errors import KernelPortError
from kernelport.signature import Signature, tensor_spec
from kernelport.v1 import inference_pb2 as pb
from kernelport_workers.backends.base import Backend, Outputs, Request


class Broad(Backend):
    """Answers with as many zero bytes as its input `size` I64[1] says; they take no memory until they travel."""

    device = "cpu"
    signature = Signature(inputs=[tensor_spec("size", pb.I64, [1])], outputs=[tensor_spec("zeros", pb.U8, ["bytes"])])

    @classmethod
    def load(cls, deployment: Deployment) -> Self:
        return cls()

    def run(self, requests: Sequence[Request]) -> list[Outputs | KernelPortError]:
        zero = np.zeros(1, np.uint8)
        return [{"zeros": np.broadcast_to(zero, int(request.inputs["size"][0]))} for request in requests]


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


class Quitter(Fragile):
    """The same, and what it does then is to call sys.exit."""

    def run(self, requests: Sequence[Request]) -> list[Outputs | KernelPortError]:
        try:
            return super().run(requests)
        except ZeroDivisionError:
            sys.exit("bad argument")
