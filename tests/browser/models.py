"""A voice made for the tests: it answers with the recording that it is given."""

import io
from collections.abc import Sequence
from typing import Self

import numpy as np
import soundfile

from kernelport.config.deployments import Deployment
from kernelport.errors import KernelPortError
from kernelport.signature import Signature, tensor_spec
from kernelport.v1 import inference_pb2 as pb
from kernelport_workers.backends.base import Backend, Outputs, Request


class Parrot(Backend):
    """Says nothing of its `text`, but plays its `prompt_audio`."""

    device = "cpu"
    signature = Signature(
        inputs=[
            tensor_spec("text", pb.U8, ["bytes"], max_characters=300),
            tensor_spec("prompt_audio", pb.U8, ["bytes"], optional=True),
            tensor_spec("voice", pb.U8, ["bytes"], optional=True, names_voice=True),
        ],
        outputs=[tensor_spec("audio", pb.F32, ["samples"]), tensor_spec("sample_rate", pb.I32, [1])],
        batchable=False,
    )

    @classmethod
    def load(cls, deployment: Deployment) -> Self:
        return cls()

    def run(self, requests: Sequence[Request]) -> list[Outputs | KernelPortError]:
        return [self._play(request) for request in requests]

    def _play(self, request: Request) -> Outputs:
        samples, rate = soundfile.read(io.BytesIO(request.inputs["prompt_audio"].tobytes()), dtype="float32")
        return {"audio": samples, "sample_rate": np.int32([rate])}
