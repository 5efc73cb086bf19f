"""The synchronous twin of `jobs/aio/outputs.py`: generated, not to be edited; `make sync` writes it."""

from collections.abc import Generator
from pathlib import Path

from kernelport.client.calling.limits import Deadline
from kernelport.client.calling.messages import message
from kernelport.client.calling.sync import in_thread
from kernelport.client.jobs import fetching, folders
from kernelport.client.jobs.sync.calls import JobCalls
from kernelport.errors import KernelPortError
from kernelport.names import MANIFEST, SUMMARY
from kernelport.v1 import job_pb2 as pb


def chunks(calls: JobCalls, job_id: str, item_id: str, whole: Deadline) -> Generator[bytes]:
    """The file that an item became, in pieces."""
    request = message(pb.GetItemOutputRequest, job_id=job_id, item_id=item_id)
    for answer in calls.stream("GetItemOutput", request, whole):
        yield answer.chunk


def fetch(calls: JobCalls, job_id: str, item: pb.Item, folder: Path, whole: Deadline) -> Path:
    """The output of an item that succeeded as a file in a folder; one that is there and right stays."""
    folders.claim(folder, job_id)
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


def fetch_manifest(calls: JobCalls, job_id: str, folder: Path, whole: Deadline) -> Path:
    """The manifest of a job that is over, as the server wrote it, in a folder; the summary beside it."""
    folders.claim(folder, job_id)
    path, patience = folder / MANIFEST, calls.patience()
    request = message(pb.GetManifestRequest, job_id=job_id)
    while True:
        try:
            with fetching.whole(path) as manifest, fetching.whole(folder / SUMMARY) as summary:
                for answer in calls.stream("GetManifest", request, whole):
                    summary.write(answer.summary)
                    manifest.write(answer.chunk)
            return path
        except KernelPortError as error:
            calls.pause(patience, error, whole)
