"""Serves cases as deployments: straight through the ONNX backend, or by a whole stack with callers and bulk jobs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import grpc
import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort

from kernelport import npz
from kernelport.config.deployments import load_deployments
from kernelport.errors import KernelPortError
from kernelport.supervisor.stack import Stack
from kernelport.tensors import from_arrays, to_arrays
from kernelport.v1 import inference_pb2, job_pb2, job_pb2_grpc
from kernelport_workers.backends.base import LoadError, Request
from kernelport_workers.backends.onnx import OnnxBackend
from tests.conftest import stack_settings, sync_each_write
from tests.e2e.calls import response, start
from tests.e2e.conftest import shared_worker
from tests.jobs.calls import JobCalls
from tests.models.deployed import deploy
from tests.row_independence.cases import Alone, Answer, Case, first_difference

JOB_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Judgement:
    """How a case came out.

    Attributes:
        stacked: whether its requests are stacked, as its signature says.
        runs: of the model, for the crowd; 0 where they were not counted.
        compared: answers.
        wrong: what is wrong with the first answer that is; None when all are right.
    """

    name: str
    stacked: bool
    runs: int
    compared: int
    wrong: str | None


def judge_backend(cases: Sequence[Case], folder: Path) -> Iterator[Judgement]:
    """Each case as one batch of the ONNX backend, compared with its requests alone."""
    deployments = load_deployments(deploy(_models(cases), folder))
    for (name, deployment), case in zip(deployments.items(), cases, strict=True):
        try:
            backend = OnnxBackend.load(deployment)
        except LoadError as error:
            yield Judgement(case.name, False, 0, 0, f"does not load: {error}")
            continue
        with _counted_runs() as runs:
            results = backend.run([Request(inputs) for inputs in case.requests])
        answers = [None if isinstance(result, KernelPortError) else result for result in results]
        wrong = first_difference(answers, _alone(case))
        yield Judgement(case.name, backend.signature.batchable, len(runs), len(answers), wrong)
        (folder / f"{name}.onnx").unlink()


@dataclass(frozen=True)
class ServedCases:
    """Cases that a running stack serves, each under a deployment of its own."""

    channel: grpc.Channel
    deployments: dict[str, str]
    folder: Path

    def judge_callers(self, case: Case) -> str | None:
        """What is wrong with the answers that the case's requests get when all call at once; None when nothing is."""
        deployment = self.deployments[case.name]
        bodies = [inference_pb2.InferRequest(model=deployment, inputs=from_arrays(each)) for each in case.requests]
        calls = [start(self.channel, body, timeout_s=60) for body in bodies]
        answers = [None if call.exception() else to_arrays(response(call).outputs) for call in calls]
        return first_difference(answers, _alone(case))

    def submit(self, case: Case) -> str:
        """A bulk job of the case's requests."""
        items = [
            job_pb2.NewItem(id=str(number), inputs=from_arrays(inputs)) for number, inputs in enumerate(case.requests)
        ]
        return self._jobs.submit(self.deployments[case.name], items).id

    def judge_job(self, case: Case, job_id: str) -> str | None:
        """What is wrong with the results of the case's job; None when nothing is."""
        outputs, alone = Path(self._jobs.wait(job_id, JOB_TIMEOUT_S).output_url), _alone(case)
        answers = [_from_file(outputs / f"{number}.npz", expected) for number, expected in enumerate(alone)]
        return first_difference(answers, alone)

    @property
    def _jobs(self) -> JobCalls:
        return JobCalls(job_pb2_grpc.JobServiceStub(self.channel))


@contextmanager
def served(cases: Sequence[Case], folder: Path) -> Iterator[ServedCases]:
    """One Redis, one front door and one worker that serves all cases."""
    deployments_file = deploy(_models(cases), folder)
    names = list(load_deployments(deployments_file))
    with (
        Stack(stack_settings(deployments_file), [], folder / "state") as stack,
        shared_worker(stack, names, folder),
        grpc.insecure_channel(stack.target) as channel,
    ):
        sync_each_write(stack)
        yield ServedCases(channel, dict(zip((case.name for case in cases), names, strict=True)), folder)


def _models(cases: Sequence[Case]) -> dict[str, onnx.ModelProto]:
    """The models by the names of their deployments."""
    return {f"case-{number}": case.model for number, case in enumerate(cases)}


def _alone(case: Case) -> list[Answer]:
    alone = Alone(case.model)
    return [alone.answer(inputs) for inputs in case.requests]


@contextmanager
def _counted_runs() -> Iterator[list[None]]:
    """Counts the runs of ONNX Runtime's sessions in this process."""
    runs: list[None] = []
    with mock.patch.multiple(
        ort.InferenceSession,
        run=_counting(ort.InferenceSession.run, runs),
        run_with_ort_values=_counting(ort.InferenceSession.run_with_ort_values, runs),
    ):
        yield runs


def _counting(method: Callable[..., object], runs: list[None]) -> Callable[..., object]:
    def counted(*args: object) -> object:
        runs.append(None)
        return method(*args)

    return counted


def _from_file(file: Path, expected: Answer) -> Answer:
    """The arrays of an item's file, if there is one. It has float32 for the bfloat16 that is expected."""
    if not file.exists():
        return None
    bfloat16 = [name for name, array in (expected or {}).items() if array.dtype == ml_dtypes.bfloat16]
    return {
        name: array.astype(ml_dtypes.bfloat16) if name in bfloat16 and array.dtype == np.float32 else array
        for name, array in npz.read(file).items()
    }
