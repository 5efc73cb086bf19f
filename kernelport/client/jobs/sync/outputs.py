"""The synchronous twin of `jobs/aio/outputs.py`: generated, not to be edited; `make sync` writes it."""

import contextlib
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from kernelport.client.calling.limits import Deadline
from kernelport.client.calling.messages import message
from kernelport.client.calling.sync import in_thread
from kernelport.client.jobs import fetching, folders
from kernelport.client.jobs.messages import PAGE_SIZE, is_over, without_files
from kernelport.client.jobs.sync.calls import JobCalls
from kernelport.coercion import show
from kernelport.errors import OUTPUT_NOT_FOUND, FieldViolation, InvalidArgumentError, KernelPortError, NotFoundError
from kernelport.names import MANIFEST, SUMMARY
from kernelport.v1 import job_pb2 as pb


def items(
    calls: JobCalls, job_id: str, states: Sequence[pb.ItemState | str], whole: Deadline, *, inputs: bool = False
) -> Generator[pb.Item]:
    """A job's items that are in certain states, or all, in the order of submission."""
    request = message(pb.ListItemsRequest, job_id=job_id, states=states, page_size=PAGE_SIZE, inputs=inputs)
    for page in calls.pages("ListItems", request, whole):
        for item in page.items:
            yield item


def chunks(calls: JobCalls, job_id: str, item_id: str, whole: Deadline) -> Generator[bytes]:
    """The file that an item became, in pieces."""
    request = message(pb.GetItemOutputRequest, job_id=job_id, item_id=item_id)
    for answer in calls.stream("GetItemOutput", request, whole):
        yield answer.chunk


def fetch(calls: JobCalls, job_id: str, item: pb.Item, folder: Path, whole: Deadline) -> Path:
    """The output of an item that succeeded as a file in a folder; one that is there and right stays."""
    if not isinstance(item, pb.Item):
        violation = FieldViolation("item", f"expected an Item, as `items` gives it, got {show(item)}")
        raise InvalidArgumentError.of([violation])
    request = message(pb.GetItemOutputRequest, job_id=job_id, item_id=item.id)
    folders.check(folder, job_id)
    if item.file:
        target = fetching.Target(item, folder)
        if in_thread(target.is_there):
            return target.path
    patience = calls.patience()
    while True:
        try:
            return _fetched(calls, request, folder, whole)
        except KernelPortError as error:
            calls.pause(patience, error, whole)


def _fetched(calls: JobCalls, request: pb.GetItemOutputRequest, folder: Path, whole: Deadline) -> Path:
    """The file of an item's output, under the name and with the hash that the front door tells of it."""
    with contextlib.closing(calls.stream("GetItemOutput", request, whole)) as answers:
        item = (next(answers, pb.GetItemOutputResponse())).item
        folders.claim(folder, request.job_id)  # now that there is such a job, and an output
        with fetching.Target(item, folder) as target:
            for answer in answers:
                in_thread(target.write, answer.chunk)
    return target.path


def fetch_all(
    calls: JobCalls,
    job_id: str,
    folder: Path,
    whole: Deadline,
    on_fetched: Callable[[pb.Item, Path], None] | None,
) -> Sequence[Path]:
    """The outputs of all items that have succeeded, as files in a folder, and the manifest of a job that is over."""
    paths: list[Path] = []
    missing: list[FieldViolation] = []
    for item in items(calls, job_id, [pb.ITEM_STATE_SUCCEEDED], whole):
        try:
            path = fetch(calls, job_id, item, folder, whole)
        except NotFoundError as error:
            if error.reason != OUTPUT_NOT_FOUND:
                raise
            missing.append(FieldViolation(item.id, error.message))
            continue
        paths.append(path)
        if on_fetched is not None:
            on_fetched(item, path)
    job = (calls.patient_call("GetJob", message(pb.GetJobRequest, job_id=job_id), whole)).job
    if is_over(job):
        fetch_manifest(calls, job_id, folder, whole)
    if missing:
        raise without_files(missing)
    return paths


def fetch_manifest(calls: JobCalls, job_id: str, folder: Path, whole: Deadline) -> Path:
    """The manifest of a job that is over, as the server wrote it, in a folder; the summary beside it."""
    request = message(pb.GetManifestRequest, job_id=job_id)
    folders.check(folder, job_id)
    patience = calls.patience()
    while True:
        try:
            return _fetched_manifest(calls, request, folder, whole)
        except KernelPortError as error:
            calls.pause(patience, error, whole)


def _fetched_manifest(calls: JobCalls, request: pb.GetManifestRequest, folder: Path, whole: Deadline) -> Path:
    path = folder / MANIFEST
    with contextlib.closing(calls.stream("GetManifest", request, whole)) as answers:
        first = next(answers, pb.GetManifestResponse())
        folders.claim(folder, request.job_id)  # now that there is such a job, and its manifest
        with fetching.whole(path) as manifest, fetching.whole(folder / SUMMARY) as summary:
            summary.write(first.summary)
            manifest.write(first.chunk)
            for answer in answers:
                manifest.write(answer.chunk)
    return path
