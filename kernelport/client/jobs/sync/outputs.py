"""The synchronous twin of `jobs/aio/outputs.py`: generated, not to be edited; `make sync` writes it."""

from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from kernelport.client.calling.limits import Deadline
from kernelport.client.calling.messages import checked_name, message
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
    folders.claim(folder, checked_name("job_id", job_id))
    patience = calls.patience()
    while True:
        try:
            with fetching.Target(item, folder) as target:
                if not in_thread(target.is_there):
                    for chunk in chunks(calls, job_id, item.id, whole):
                        in_thread(target.write, chunk)
            return target.path
        except KernelPortError as error:
            calls.pause(patience, error, whole)


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
    folders.claim(folder, job_id)
    path, patience = folder / MANIFEST, calls.patience()
    while True:
        try:
            with fetching.whole(path) as manifest, fetching.whole(folder / SUMMARY) as summary:
                for answer in calls.stream("GetManifest", request, whole):
                    summary.write(answer.summary)
                    manifest.write(answer.chunk)
            return path
        except KernelPortError as error:
            calls.pause(patience, error, whole)
