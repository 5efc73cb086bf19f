"""The loads that both sides carry. They come from this tree, whatever the side, so only the servers differ."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from kernelport.jobs.records import MICROSECONDS
from kernelport.v1 import job_pb2 as pb
from kernelport_ops.bench.cells import Job, Payload
from kernelport_ops.bench.generator import Generator
from kernelport_ops.bench.jobs.calls import calls_to, spoken, tiny_items
from kernelport_ops.bench.pair.rounds import Measurement
from kernelport_ops.bench.pair.stacks import Standing
from kernelport_ops.bench.processes import BenchError, cpu_seconds
from kernelport_ops.bench.texts import sentences

IDENTITY, SPEECH = "identity-onnx", "hibari-en"
# A few seconds of work each: CPU time is counted in hundredths of a second, and each of the two calls that submit a job
# waits for the disk for up to a second, in which both stacks take what they take when idle.
TINY_ITEMS, SENTENCES = 3000, 120
_JOB_TIMEOUT_S = 300.0


class Load(Protocol):
    """Something to do, the same in every round."""

    @property
    def deployment(self) -> str:
        """The name of the deployment that it needs."""

    @property
    def turns(self) -> int:
        """How often each side carries it in a round."""

    def run(self, stack: Standing, generator: Generator, seconds: float) -> Measurement:
        """Carries it out once. Raises BenchError when anything is not answered as it should."""


@dataclass(frozen=True)
class Calls:
    """Callers of `Infer`, each of which sends its next request when it has its answer, for so many seconds."""

    payload: Payload
    callers: int
    deployment: str = IDENTITY
    turns: int = 4

    def run(self, stack: Standing, generator: Generator, seconds: float) -> Measurement:
        """As the protocol says."""
        job = Job(
            transport="grpc",
            target=stack.target,
            model=self.deployment,
            shape=list(self.payload.shape),
            answer_bytes=self.payload.size,
            concurrency=self.callers,
            seconds=seconds,
            processes=stack.processes,
        )
        figures = generator.run(job)
        if figures.errors or not figures.answered:
            raise BenchError(f"calls of {stack.target} were not answered: {figures.errors}")
        cpu_s = {label: figures.cpu_s[label] for label in stack.processes}
        return Measurement(figures.answered, figures.seconds, cpu_s)


@dataclass(frozen=True)
class WholeJob:
    """A bulk job from its first item to its manifest. It is kept: ext4 looks long for inodes after many files have been
    deleted, and the next job, of either side, would take up to three times the CPU time."""

    deployment: str
    items: Callable[[], list[pb.NewItem]]
    turns: int = 1

    def run(self, stack: Standing, generator: Generator, seconds: float) -> Measurement:
        """As the protocol says; how long it takes is the job's own affair."""
        items = self.items()
        with calls_to(stack.target) as calls:
            before = {label: cpu_seconds(pids) for label, pids in stack.processes.items()}
            job = calls.wait(calls.submit(self.deployment, items).id, _JOB_TIMEOUT_S)
            cpu_s = {label: cpu_seconds(pids) - before[label] for label, pids in stack.processes.items()}
            if job.state != pb.JOB_STATE_SUCCEEDED:
                raise BenchError(f"a job at {stack.target} is {pb.JobState.Name(job.state)}: {job.reason}")
        # Whoever watches a job learns of its end up to half a second late.
        return Measurement(len(items), (job.finished_unix_us - job.created_unix_us) / MICROSECONDS, cpu_s)


def _speech() -> list[pb.NewItem]:
    return [spoken(f"line-{number:03}", text) for number, text in enumerate(sentences(SENTENCES))]


LOADS: dict[str, Load] = {
    "16B-1": Calls(Payload.parse("16B"), callers=1),
    "16B-64": Calls(Payload.parse("16B"), callers=64),
    "64KiB-16": Calls(Payload.parse("64KiB"), callers=16),
    "4MiB-4": Calls(Payload.parse("4MiB"), callers=4),
    "tiny-job": WholeJob(IDENTITY, lambda: list(tiny_items(TINY_ITEMS))),
    "speech-job": WholeJob(SPEECH, _speech),
}
