"""Deployments made for the tests: pipelines that a user could have written, and files that deploy them."""

import ctypes
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import yaml

from kernelport.config.deployments import Deployment
from kernelport.errors import KernelPortError
from kernelport.signature import Signature, tensor_spec
from kernelport.tensors import Array
from kernelport.v1 import inference_pb2 as pb
from kernelport_workers.backends.base import Backend, LoadError, Outputs, Request
from kernelport_workers.backends.stepped import Frame, SteppedBackend, Utterance

HELD = float("inf")


class Sleeper(Backend):
    """Sleeps for input `seconds` F32[1] per request and answers with its process id; a negative time kills it."""

    device = "cpu"
    signature = Signature(
        inputs=[tensor_spec("seconds", pb.F32, [1])], outputs=[tensor_spec("pid", pb.I64, [1])], batchable=False
    )

    @classmethod
    def load(cls, deployment: Deployment) -> Self:
        return cls()

    def run(self, requests: Sequence[Request]) -> list[Outputs | KernelPortError]:
        return [self._sleep(float(request.inputs["seconds"][0])) for request in requests]

    def _sleep(self, seconds: float) -> Outputs:
        if seconds < 0:
            os._exit(3)
        time.sleep(seconds)
        return {"pid": np.array([os.getpid()], np.int64)}


class Counting(SteppedBackend):
    """Counts up to input `count` I64[1], a number a piece and 20 ms a step; ends its process at `fatal` I64[1]."""

    device = "cpu"
    joined = frozenset({"numbers"})
    signature = Signature(
        inputs=[tensor_spec("count", pb.I64, [1]), tensor_spec("fatal", pb.I64, [1])],
        outputs=[tensor_spec("numbers", pb.I64, ["count"])],
        batchable=False,
    )

    @classmethod
    def load(cls, deployment: Deployment) -> Self:
        return cls()

    def open(self, request: Request, first: int = 0) -> Utterance:
        utterance = Utterance(request, first)
        utterance.is_done = first >= int(request.inputs["count"][0])
        return utterance

    def step(self, utterances: Sequence[Utterance]) -> list[Frame | KernelPortError]:
        time.sleep(0.02)
        return [self._count(each) for each in utterances]

    def _count(self, utterance: Utterance) -> Frame:
        index, inputs = utterance.next_index, utterance.request.inputs
        if index == int(inputs["fatal"][0]):
            os._exit(3)
        utterance.next_index += 1
        utterance.is_done = utterance.next_index >= int(inputs["count"][0])
        return Frame(index, {"numbers": np.array([index], np.int64)}, 0.02, utterance.is_done)


class Stumbling(Counting):
    """The same, but fails at the number that it is told is fatal, and names it."""

    def _count(self, utterance: Utterance) -> Frame:
        if (index := utterance.next_index) == int(utterance.request.inputs["fatal"][0]):
            raise ValueError(f"cannot count to {4321 + index}")
        return super()._count(utterance)


class Careless(SteppedBackend):
    """Counts up to input `count` I64[1] in lists, and makes the mistake that input `mistake` STRING[1] names."""

    device = "cpu"
    joined = frozenset({"numbers"})
    signature = Signature(
        inputs=[tensor_spec("count", pb.I64, [1]), tensor_spec("mistake", pb.STRING, [1])],
        outputs=[
            tensor_spec("numbers", pb.I64, ["count"], other_dtypes=[pb.F64]),
            tensor_spec("names", pb.STRING, ["names"], optional=True),
        ],
        batchable=False,
    )

    @classmethod
    def load(cls, deployment: Deployment) -> Self:
        return cls()

    def open(self, request: Request, first: int = 0) -> Utterance:
        if request.inputs["mistake"][0] == b"raises":
            raise KeyError("an abacus")
        return Utterance(request, first)

    def step(self, utterances: Sequence[Utterance]) -> list[Any]:
        return [self._count(each) for each in utterances]

    def _count(self, utterance: Utterance) -> Any:
        index, mistake = utterance.next_index, utterance.request.inputs["mistake"][0]
        utterance.next_index += 1
        utterance.is_done = utterance.next_index >= int(utterance.request.inputs["count"][0])
        if mistake == b"no frame":
            return None
        outputs: dict[str, Any] = {"numbers": [float(index) if mistake == b"another dtype" and index else index]}
        if mistake == b"no text":
            outputs["names"] = np.array([index], object)
        return Frame(index, outputs, 0.02, utterance.is_done)


class CountingTogether(Counting):
    """The same for eight at a time."""

    pieces_a_step = 8


class Journal(Backend):
    """Notes each request it runs, then works in steps of 20 ms and answers with its number.

    Inputs: `number` I64[1]; `seconds` F32[1], how long it works. The journal is the file KERNELPORT_TEST_JOURNAL; each
    request adds a line "number batch-size". A negative time kills the process, unless there is a file named mercy
    beside the journal; more than an hour hangs without a step; HELD lasts until there is a file named go.
    """

    device = "cpu"
    signature = Signature(
        inputs=[tensor_spec("number", pb.I64, [1]), tensor_spec("seconds", pb.F32, [1])],
        outputs=[tensor_spec("number", pb.I64, [1])],
        batchable=False,
    )

    @classmethod
    def load(cls, deployment: Deployment) -> Self:
        return cls()

    def run(self, requests: Sequence[Request]) -> list[Outputs | KernelPortError]:
        return [self._answer(request, len(requests)) for request in requests]

    def _answer(self, request: Request, batch_size: int) -> Outputs | KernelPortError:
        number, seconds = request.inputs["number"], float(request.inputs["seconds"][0])
        journal = Path(os.environ["KERNELPORT_TEST_JOURNAL"])
        with journal.open("a") as file:
            file.write(f"{number[0]} {batch_size}\n")
        if seconds < 0 and not (journal.parent / "mercy").exists():
            os._exit(3)
        if 3600 < seconds < HELD:
            time.sleep(seconds)
        try:
            go, ends_at = journal.parent / "go", time.monotonic() + seconds
            while not go.exists() if seconds == HELD else time.monotonic() < ends_at:
                time.sleep(0.02)
                request.check()
        except KernelPortError as error:
            return error
        return {"number": number}


class Moody(Backend):
    """Answers with its input `x` F32[1], and fails on a negative one, which it names."""

    device = "cpu"
    signature = Signature(inputs=[tensor_spec("x", pb.F32, [1])], outputs=[tensor_spec("y", pb.F32, [1])])

    @classmethod
    def load(cls, deployment: Deployment) -> Self:
        return cls()

    def run(self, requests: Sequence[Request]) -> list[Outputs | KernelPortError]:
        return [{"y": self._answer(request.inputs["x"])} for request in requests]

    def _answer(self, x: Array) -> Array:
        try:
            if x[0] < 0:
                raise ValueError(f"{x[0]} is below 0")
        except ValueError as error:
            raise RuntimeError(f"{x[0]} is no number for today") from error
        return x


class Hung(Backend):
    """Loads for ever; while it does, nothing else in the process comes to run."""

    @classmethod
    def load(cls, deployment: Deployment) -> Self:
        ctypes.PyDLL(None).sleep(10_000)
        raise AssertionError

    def run(self, requests: Sequence[Request]) -> list[Outputs | KernelPortError]:
        raise NotImplementedError


class Unloadable(Backend):
    """Never loads."""

    @classmethod
    def load(cls, deployment: Deployment) -> Self:
        raise LoadError("the weights are missing: run the download")

    def run(self, requests: Sequence[Request]) -> list[Outputs | KernelPortError]:
        raise NotImplementedError


def write_deployments(folder: Path, **entries: dict[str, Any]) -> Path:
    """A deployments file with one entry a keyword; underscores in names become dashes."""
    path = folder / "deployments.yaml"
    path.write_text(yaml.safe_dump({"deployments": {name.replace("_", "-"): entry for name, entry in entries.items()}}))
    return path


def pipeline(name: str, **policy: Any) -> dict[str, Any]:
    """The entry of a deployment that runs one of the classes above."""
    return {"backend": "onnx", "image": "test", "pipeline": f"tests.stack.models:{name}", **policy}
