"""One model after the other: the plain loop, callers of `Infer`, and a bulk job, in turn."""

import statistics
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from kernelport import Client, tensors
from kernelport.jobs.records import MICROSECONDS
from kernelport.tensors import Array
from kernelport.v1 import job_pb2 as pb
from kernelport_ops.bench.bulk import workers_running
from kernelport_ops.bench.cells import Job
from kernelport_ops.bench.generator import Generator
from kernelport_ops.bench.jobs.calls import Calls, calls_to
from kernelport_ops.bench.onnx_models.direct import DirectLoops, open_session
from kernelport_ops.bench.onnx_models.zoo import Model
from kernelport_ops.bench.processes import BenchError

# What a model that takes this long should reach of the plain loop's throughput.
GOAL, GOAL_FROM_MS = 0.9, 5.0
# Of a job: enough for every worker to run several full batches, and no more than the queue takes at once.
_LEAST_ITEMS, _MOST_ITEMS, _MOST_BYTES = 128, 5000, 64 * 2**20
# A job lasts about so many turns of calls: what it waits for at either end is the smaller part.
_JOB_TURNS = 4
_JOB_TIMEOUT_S = 300.0
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Result:
    """What came of a model.

    Attributes:
        model_mib: of the file.
        request_bytes: of one request's inputs.
        stacked: whether requests share a run.
        model_ms: milliseconds of a run in one process alone, by round.
        direct, calls, job: requests a second by round: of the plain loop, of callers, of a job.
    """

    model: Model
    model_mib: float
    request_bytes: int
    stacked: bool
    model_ms: list[float]
    direct: list[float]
    calls: list[float]
    job: list[float]

    @property
    def calls_ratio(self) -> float:
        """Of callers to the plain loop: the median of the rounds' ratios."""
        return _median_ratio(self.calls, self.direct)

    @property
    def job_ratio(self) -> float:
        """Of a job to the plain loop: the median of the rounds' ratios."""
        return _median_ratio(self.job, self.direct)

    @property
    def misses_goal(self) -> bool:
        """Whether the model takes long enough for the goal, and callers or a job stay below it."""
        return statistics.median(self.model_ms) >= GOAL_FROM_MS and min(self.calls_ratio, self.job_ratio) < GOAL


def measure(
    model: Model,
    folder: Path,
    workers: int,
    callers: int,
    rounds: int,
    seconds: float,
    generator: Generator,
    notify: Callable[[str], None],
) -> Result:
    """Measures one model. Every other round goes through the three in the opposite order.

    Args:
        folder: for the model, logs and data.
        workers: our worker processes, and those of the plain loop.
        seconds: about how long loop and calls each take in a round; a job takes a few times as long.
        notify: told what comes next.

    Raises:
        BenchError: something ends or fails, or our answer is not that of ONNX Runtime.
        StackError: the stack does not start.
    """
    notify(f"{model.name}: starting")
    folder.mkdir(parents=True, exist_ok=True)
    path, inputs_file = folder / "model.onnx", folder / "inputs.npz"
    model.write(path)
    inputs = model.inputs()
    np.savez(inputs_file, **inputs)  # type: ignore[arg-type]
    with ExitStack() as running:
        direct = running.enter_context(DirectLoops(path, inputs_file, workers))
        stack, _ = running.enter_context(
            workers_running(folder / "stack", workers, model.name, _deployments_file(model.name, path))
        )
        calls = running.enter_context(calls_to(stack.target))
        first_output, stacked = _check_answer(stack.target, model.name, inputs, path)
        load = Job(
            transport="grpc",
            target=stack.target,
            model=model.name,
            shape=[],
            answer_bytes=first_output.nbytes,
            concurrency=callers,
            seconds=seconds,
            inputs_file=str(inputs_file),
        )
        request_bytes = sum(array.nbytes for array in inputs.values())
        most = min(_MOST_ITEMS, _MOST_BYTES // request_bytes)
        items = int(np.clip(direct.run(seconds) * seconds * _JOB_TURNS, _LEAST_ITEMS, most))
        turns: dict[str, Callable[[], float]] = {
            "direct": lambda: direct.run(seconds),
            "calls": lambda: _calls_per_second(generator, load),
            "job": lambda: _items_per_second(calls, model.name, inputs, items),
        }
        model_ms: list[float] = []
        figures: dict[str, list[float]] = {name: [] for name in turns}
        for number in range(1, rounds + 1):
            notify(f"{model.name}: round {number}/{rounds}")
            model_ms.append(direct.run_alone(seconds))
            for name in turns if number % 2 else reversed(turns):
                figures[name].append(turns[name]())
    model_mib = path.stat().st_size / 2**20
    path.unlink()
    return Result(model, model_mib, request_bytes, stacked, model_ms, **figures)


def _deployments_file(name: str, model: Path) -> Path:
    """A deployments file, beside the model, with a deployment of it."""
    manifest = {
        "id": name,
        "source": {"kind": "local", "path": str(model.parent.absolute())},
        "format": "onnx",
        "backend": "onnx",
        "files": {"model": model.name},
    }
    entry = {"backend": "onnx", "image": "none", "device": "cpu", "manifest": "manifest.yaml"}
    (model.parent / "manifest.yaml").write_text(yaml.safe_dump(manifest))
    deployments = model.parent.absolute() / "deployments.yaml"
    deployments.write_text(yaml.safe_dump({"deployments": {name: entry}}))
    return deployments


def _check_answer(target: str, name: str, inputs: Mapping[str, Array], model: Path) -> tuple[Array, bool]:
    """ONNX Runtime's own first output, and whether requests are stacked. Raises BenchError when our answer differs."""
    session = open_session(model)
    expected: list[Array] = session.run(None, dict(inputs))
    with Client(target, timeout_s=60) as client:
        answer = client.infer(name, dict(inputs))
        for output, array in zip(session.get_outputs(), expected, strict=True):
            if not np.allclose(answer[output.name], array, rtol=_TOLERANCE, atol=_TOLERANCE):
                raise BenchError(f"{name}: output {output.name} is not what ONNX Runtime gives")
        stacked = client.deployment(name).signature.batchable
    return expected[0], stacked


def _calls_per_second(generator: Generator, load: Job) -> float:
    figures = generator.run(load)
    if figures.errors:
        raise BenchError(f"{load.model}: calls were not answered: {figures.errors}")
    return figures.per_second


def _items_per_second(calls: Calls, name: str, inputs: Mapping[str, Array], count: int) -> float:
    """From the moment at which a worker takes the first item to the manifest."""
    request = tensors.from_arrays(dict(inputs))
    items = (pb.NewItem(id=f"item-{number:05}", inputs=request) for number in range(count))
    job = calls.wait(calls.submit(name, items).id, _JOB_TIMEOUT_S)
    if job.state != pb.JOB_STATE_SUCCEEDED:
        raise BenchError(f"{name}: the job is {pb.JobState.Name(job.state)}: {job.reason}")
    calls.delete(job.id)
    return count * MICROSECONDS / (job.finished_unix_us - job.started_unix_us)


def _median_ratio(ours: list[float], direct: list[float]) -> float:
    return statistics.median(each / base for each, base in zip(ours, direct, strict=True))


def to_dict(result: Result) -> dict[str, Any]:
    """As JSON can hold it."""
    return {
        "model": result.model.name,
        "about": result.model.build.__doc__,
        "model_mib": result.model_mib,
        "request_bytes": result.request_bytes,
        "stacked": result.stacked,
        "calls_to_direct": result.calls_ratio,
        "job_to_direct": result.job_ratio,
        "misses_goal": result.misses_goal,
        "rounds": {
            "model_ms": result.model_ms,
            "direct_per_second": result.direct,
            "calls_per_second": result.calls,
            "job_items_per_second": result.job,
        },
    }
