"""JobService as the benchmarks call it."""

import contextlib
import itertools
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import numpy as np

from kernelport import tensors
from kernelport.config.settings import Settings, bundled_deployments
from kernelport.supervisor.stack import Stack
from kernelport.v1 import job_pb2 as pb
from kernelport.v1 import job_pb2_grpc
from kernelport_ops.bench.processes import BenchError
from kernelport_ops.bench.systems import START_TIMEOUT_S

# Items a message of AddItems.
MESSAGE_ITEMS = 1000
DELETION_POLL_S = 0.05


@dataclass(frozen=True)
class Calls:
    """The service at one front door."""

    stub: job_pb2_grpc.JobServiceStub

    def submit(self, deployment: str, items: Iterable[pb.NewItem]) -> pb.Job:
        """A sealed job of any number of items, the first of them in the call that makes it, as clients send them."""
        coming = iter(items)
        first = list(itertools.islice(coming, MESSAGE_ITEMS))
        is_open = len(first) == MESSAGE_ITEMS
        spec = pb.JobSpec(deployment=deployment)
        job = self.stub.SubmitJob(pb.SubmitJobRequest(spec=spec, items=first, open=is_open)).job
        return self.add(job.id, coming, seal=True) if is_open else job

    def add(self, job_id: str, items: Iterable[pb.NewItem], seal: bool) -> pb.Job:
        """Streams items into an open job."""
        return self.stub.AddItems(_messages(job_id, items, seal)).job

    def get(self, job_id: str) -> pb.Job:
        """The job now."""
        return self.stub.GetJob(pb.GetJobRequest(job_id=job_id)).job

    def cancel(self, job_id: str) -> pb.Job:
        """The job, cancelled."""
        return self.stub.CancelJob(pb.CancelJobRequest(job_id=job_id)).job

    def delete(self, job_id: str) -> None:
        """Forgets a job that is over, and its outputs; returns when they are gone: what follows is not measured beside
        it."""
        self.stub.DeleteJob(pb.DeleteJobRequest(job_id=job_id, delete_outputs=True))
        while self._is_there(job_id):
            time.sleep(DELETION_POLL_S)

    def _is_there(self, job_id: str) -> bool:
        try:
            self.get(job_id)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return False
            raise
        return True

    def wait(self, job_id: str, timeout_s: float) -> pb.Job:
        """The job once it is over, watched as `--watch` does: asking often takes from the workers beside it.

        Raises:
            BenchError: when it is not in time.
        """
        events = self.stub.WatchJob(pb.WatchJobRequest(job_id=job_id), timeout=timeout_s)
        try:
            *_, last = events
        except grpc.RpcError as error:
            raise BenchError(f"job {job_id} is not over after {timeout_s:g} s") from error
        return last.job

    def items(self, job_id: str) -> list[pb.Item]:
        """All items of a job."""
        found: list[pb.Item] = []
        token = ""
        while True:
            page = self.stub.ListItems(pb.ListItemsRequest(job_id=job_id, page_size=5000, page_token=token))
            found += page.items
            token = page.next_page_token
            if not token:
                return found


@contextlib.contextmanager
def calls_to(target: str) -> Iterator[Calls]:
    """Calls to the front door at host:port."""
    with grpc.insecure_channel(target, options=[("grpc.max_receive_message_length", -1)]) as channel:
        yield Calls(job_pb2_grpc.JobServiceStub(channel))


@contextlib.contextmanager
def stack_running(folder: Path, deployments: Sequence[str]) -> Iterator[Stack]:
    """A stack of its own with one worker for each deployment, which serve."""
    shutil.rmtree(folder, ignore_errors=True)
    settings = replace(Settings(), listen="127.0.0.1:0", deployments_file=bundled_deployments())
    with Stack(settings, deployments, folder) as stack:
        stack.wait_ready(START_TIMEOUT_S)
        yield stack


def spoken(item_id: str, text: str) -> pb.NewItem:
    """An item of speech."""
    return pb.NewItem(id=item_id, inputs=[tensors.from_array("text", np.frombuffer(text.encode(), np.uint8))])


def tiny_items(count: int) -> Iterator[pb.NewItem]:
    """Items of identity-onnx with 4 numbers each."""
    x = tensors.from_array("x", np.ones((1, 1, 1, 4), np.float32))
    for number in range(count):
        yield pb.NewItem(id=f"item-{number:07}", inputs=[x])


def _messages(job_id: str, items: Iterable[pb.NewItem], seal: bool) -> Iterator[pb.AddItemsRequest]:
    message = pb.AddItemsRequest(job_id=job_id)
    for item in items:
        message.items.append(item)
        if len(message.items) == MESSAGE_ITEMS:
            yield message
            message = pb.AddItemsRequest(job_id=job_id)
    message.seal = seal
    yield message
