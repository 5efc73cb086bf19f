"""Calls of JobService as tests make them, and what jobs leave behind."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from kernelport import tensors
from kernelport.jobs.records import FINAL
from kernelport.v1 import job_pb2 as pb
from kernelport.v1 import job_pb2_grpc
from tests.waiting import wait_for

_FINAL = {pb.JobState.Value(f"JOB_STATE_{name.upper()}") for name in FINAL}
JOB_TIMEOUT_S = 60.0


class JobCalls:
    """JobService, by methods that take and give what tests are about."""

    def __init__(self, stub: job_pb2_grpc.JobServiceStub) -> None:
        self.stub = stub

    def submit(self, deployment: str, items: Iterable[pb.NewItem], **options: Any) -> pb.Job:
        """A job; further options are fields of its spec, or of the request."""
        request = {name: options.pop(name) for name in ("request_id", "open") if name in options}
        spec = pb.JobSpec(deployment=deployment, **options)
        return self.stub.SubmitJob(pb.SubmitJobRequest(spec=spec, items=items, **request)).job

    def get(self, job_id: str) -> pb.Job:
        return self.stub.GetJob(pb.GetJobRequest(job_id=job_id)).job

    def wait(self, job_id: str, timeout_s: float = JOB_TIMEOUT_S) -> pb.Job:
        """The job once it is over."""
        wait_for(lambda: self.get(job_id).state in _FINAL, timeout_s, f"the end of job {job_id}")
        return self.get(job_id)

    def cancel(self, job_id: str) -> pb.Job:
        return self.stub.CancelJob(pb.CancelJobRequest(job_id=job_id)).job

    def add(self, job_id: str, items: Iterable[pb.NewItem] = (), **fields: Any) -> pb.Job:
        """Adds items in one message; further fields are those of the request."""
        return self.stub.AddItems(iter([pb.AddItemsRequest(job_id=job_id, items=items, **fields)])).job

    def delete(self, job_id: str, outputs: bool = True) -> None:
        self.stub.DeleteJob(pb.DeleteJobRequest(job_id=job_id, delete_outputs=outputs))

    def is_gone(self, job_id: str) -> bool:
        try:
            self.get(job_id)
        except grpc.RpcError as error:
            return error.code() is grpc.StatusCode.NOT_FOUND
        return False

    def resume(self, job_id: str) -> pb.Job:
        return self.stub.ResumeJob(pb.ResumeJobRequest(job_id=job_id)).job

    def replace(self, job_id: str, items: Iterable[pb.NewItem]) -> pb.Job:
        return self.stub.ReplaceItems(pb.ReplaceItemsRequest(job_id=job_id, items=items)).job

    def watch(self, job_id: str, **options: Any) -> Iterable[pb.WatchJobResponse]:
        return self.stub.WatchJob(pb.WatchJobRequest(job_id=job_id, interval_s=0.1, **options), timeout=JOB_TIMEOUT_S)

    def items(self, job_id: str, states: Sequence[pb.ItemState] = (), page_size: int = 0) -> list[pb.Item]:
        """All items of a job, page by page."""
        found: list[pb.Item] = []
        token = ""
        while True:
            page = self.stub.ListItems(
                pb.ListItemsRequest(job_id=job_id, states=states, page_size=page_size, page_token=token)
            )
            found += page.items
            token = page.next_page_token
            if not token:
                return found

    def output(self, job_id: str, item_id: str) -> bytes:
        """The file of an item."""
        answers = self.stub.GetItemOutput(pb.GetItemOutputRequest(job_id=job_id, item_id=item_id))
        return b"".join(answer.chunk for answer in answers)


def spoken(item_id: str, text: str, **inputs: Any) -> pb.NewItem:
    """An item of speech."""
    arrays = {"text": np.frombuffer(text.encode(), np.uint8), **inputs}
    return pb.NewItem(id=item_id, inputs=tensors.from_arrays(arrays))


def tiny(item_id: str, value: float = 0.0, width: int = 4) -> pb.NewItem:
    """An item of the deployment identity-onnx."""
    array = np.full((1, 1, 1, width), value, np.float32)
    return pb.NewItem(id=item_id, inputs=[tensors.from_array("x", array)])


def journal_item(number: int, seconds: float = 0.0) -> pb.NewItem:
    """An item of the journal's deployment, named by its number."""
    arrays = {"number": np.array([number], np.int64), "seconds": np.array([seconds], np.float32)}
    return pb.NewItem(id=str(number), inputs=tensors.from_arrays(arrays))


def manifest(job: pb.Job) -> list[dict[str, Any]]:
    """The lines of a job's manifest, of a job whose outputs are in a directory."""
    text = (Path(job.output_url) / "manifest.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]
