"""The models that chaos runs serve: one notes every run of every request in a journal that survives its process, one
answers in pieces.

Workers find them on their PYTHONPATH, as they would a pipeline of a user's.
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
from kernelport_workers.backends.stepped import Frame, SteppedBackend, Utterance

STEP_S = 0.02
SAMPLE_RATE, SAMPLES_A_PIECE = 8000, 160


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


class Reciting(SteppedBackend):
    """Answers a text U8[n] piece by piece, a character each: in `audio` F32[samples] a number of samples that have its
    code. `sample_rate` I32[1] is in Hz. A piece takes 20 ms.
    """

    device = "cpu"
    signature = Signature(
        inputs=[tensor_spec("text", pb.U8, ["bytes"])],
        outputs=[tensor_spec("audio", pb.F32, ["samples"]), tensor_spec("sample_rate", pb.I32, [1])],
        batchable=False,
    )

    @classmethod
    def load(cls, deployment: Deployment) -> Self:
        return cls()

    def open(self, request: Request, first: int = 0) -> Utterance:
        utterance = Utterance(request, first)
        utterance.is_done = first >= len(request.inputs["text"])
        return utterance

    def step(self, utterances: Sequence[Utterance]) -> list[Frame | KernelPortError]:
        time.sleep(STEP_S)
        return [self._recite(each) for each in utterances]

    def _recite(self, utterance: Utterance) -> Frame:
        index, text = utterance.next_index, utterance.request.inputs["text"]
        utterance.next_index += 1
        utterance.is_done = utterance.next_index >= len(text)
        outputs = {
            "audio": np.full(SAMPLES_A_PIECE, text[index], np.float32),
            "sample_rate": np.array([SAMPLE_RATE], np.int32),
        }
        return Frame(index, outputs, SAMPLES_A_PIECE / SAMPLE_RATE, utterance.is_done)
