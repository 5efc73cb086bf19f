"""The model that the chaos run serves: it notes every run of every request in a journal that survives its process.

Workers find it on their PYTHONPATH, as they would a pipeline of a user's.
"""

import os
import secrets
import time
from collections.abc import Sequence
from typing import Self

import numpy as np

from kernelport.config.deployments import Deployment
from kernelport.errors import KernelPortError
from kernelport.signature import Signature, tensor_spec
from kernelport.v1 import inference_pb2 as pb
from kernelport_workers.backends.base import Backend, Outputs, Request

STEP_S = 0.02


class Chaos(Backend):
    """Answers with a function of its input, and with a token that no other run has.

    Inputs: `number` I64[1]; `seconds` F32[1], how long it works; `padding` U8[n]. Outputs: `answer` I64[1], three times
    the number and one; `token` I64[1]; `echo` U8[n], the padding backwards.

    The journal is the file KERNELPORT_CHAOS_JOURNAL. A run adds a line "start number pid time token" when it begins and
    one with "end" when it has come to an end of whatever kind; times are Unix seconds.
    """

    device = "cpu"
    signature = Signature(
        inputs=[
            tensor_spec("number", pb.I64, [1]),
            tensor_spec("seconds", pb.F32, [1]),
            tensor_spec("padding", pb.U8, ["n"]),
        ],
        outputs=[
            tensor_spec("answer", pb.I64, [1]),
            tensor_spec("token", pb.I64, [1]),
            tensor_spec("echo", pb.U8, ["n"]),
        ],
        batchable=False,
    )

    def __init__(self, journal: int) -> None:
        self._journal = journal

    @classmethod
    def load(cls, deployment: Deployment) -> Self:
        path = os.environ["KERNELPORT_CHAOS_JOURNAL"]
        return cls(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600))

    def run(self, requests: Sequence[Request]) -> list[Outputs | KernelPortError]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Outputs | KernelPortError:
        number = int(request.inputs["number"][0])
        token = secrets.randbits(62)
        self._note("start", number, token)
        try:
            self._work(request, float(request.inputs["seconds"][0]))
        except KernelPortError as error:
            return error
        finally:
            self._note("end", number, token)
        return {
            "answer": np.array([3 * number + 1], np.int64),
            "token": np.array([token], np.int64),
            "echo": request.inputs["padding"][::-1].copy(),
        }

    def _work(self, request: Request, seconds: float) -> None:
        ends_at = time.monotonic() + seconds
        while (left := ends_at - time.monotonic()) > 0:
            time.sleep(min(left, STEP_S))
            request.check()

    def _note(self, what: str, number: int, token: int) -> None:
        # One write of one line: whole, and in the file whatever happens to this process.
        os.write(self._journal, f"{what} {number} {os.getpid()} {time.time():.6f} {token}\n".encode())
