"""The manifest and the summary that land beside a job's outputs."""

import contextlib
import hashlib
import math
import time
from collections.abc import Iterable, Mapping
from typing import Any

from kernelport.jobs.pages import TEXT_INPUT
from kernelport.jobs.records import MICROSECONDS, JobRecord
from kernelport.jobs.voices import names_in
from kernelport.tensors import dtype_name, to_array
from kernelport.v1 import job_pb2 as pb
from kernelport.v1.inference_pb2 import BF16, U8, Tensor

# Bytes of a string that is told as it is.
LONGEST_VALUE = 1000

_STATES = {
    pb.ITEM_STATE_WAITING: "waiting",
    pb.ITEM_STATE_RUNNING: "running",
    pb.ITEM_STATE_SUCCEEDED: "succeeded",
    pb.ITEM_STATE_FAILED: "failed",
    pb.ITEM_STATE_CANCELLED: "cancelled",
}


class Inputs:
    """Tells what items are made from.

    Args:
        voices: what the job's voices mean: the SHA-256 of each one's recording by its name.
    """

    def __init__(self, voices: Mapping[str, str]) -> None:
        self._voices = voices

    def described(self, inputs: Iterable[Tensor]) -> dict[str, Any]:
        """By name: the value of an input of one element, the name and recording of a registered voice, and of any other
        the dtype, shape and SHA-256 of its data."""
        return {tensor.name: self._described(tensor) for tensor in inputs}

    def _described(self, tensor: Tensor) -> Any:
        is_single = math.prod(tensor.shape) == 1
        if is_single or tensor.dtype == U8:
            for name in names_in([tensor]):
                return {"name": name, "sha256": self._voices.get(name)}
        if is_single and (value := _value(tensor)) is not None:
            return value
        digest = hashlib.sha256(tensor.data).hexdigest()
        return {"dtype": dtype_name(tensor.dtype), "shape": list(tensor.shape), "sha256": digest}


def _value(tensor: Tensor) -> Any:
    """The one element, where JSON has such a value."""
    value = to_array(tensor).ravel()[0]
    if isinstance(value, bytes):
        with contextlib.suppress(UnicodeDecodeError):
            return value.decode() if len(value) <= LONGEST_VALUE else None
        return None
    value = float(value) if tensor.dtype == BF16 else value.item()
    return value if math.isfinite(value) else None


def row(item: pb.Item, submitted: bytes, inputs: Inputs) -> dict[str, Any]:
    """The manifest's line about an item.

    Args:
        submitted: the item's serialized NewItem.
    """
    new = pb.NewItem.FromString(submitted)
    what: dict[str, Any] = {"text": item.text} if item.text else {"input_sha256": _input_digest(new)}
    if own := inputs.described(tensor for tensor in new.inputs if not (item.text and tensor.name == TEXT_INPUT)):
        what["inputs"] = own
    found: dict[str, Any] = {"id": item.id, "state": _STATES[item.state], **what}
    if item.state == pb.ITEM_STATE_SUCCEEDED:
        found |= {"file": item.file, "bytes": item.file_bytes, "sha256": item.sha256.hex()}
        found |= {"format": item.file.rpartition(".")[2], "revision": item.revision, "device": item.device}
        if item.audio_s:
            found["seconds"] = round(item.audio_s, 6)
        found["warnings"] = list(item.warnings)
    if item.finished_unix_us:
        found["attempts"] = item.attempts
        found["timings"] = {
            "finished_unix_s": item.finished_unix_us / MICROSECONDS,
            "backend_s": round(item.backend_s, 6),
            "batch_size": item.batch_size,
        }
    if item.reason:
        found["error"] = item.reason
    return found


def summary(job: JobRecord, state: str, reason: str, shared: dict[str, Any]) -> dict[str, Any]:
    """The job as a whole.

    Args:
        state: what it ends in.
        reason: why; empty when there is nothing to tell.
        shared: the inputs of every item, as `Inputs` describes them.
    """
    known = job.job()
    progress = known.progress
    return {
        "job": job.id,
        "deployment": job.deployment,
        "state": state,
        "reason": reason,
        "metadata": dict(known.spec.metadata),
        "shared_inputs": shared,
        "items": progress.items,
        "succeeded": progress.succeeded,
        "failed": progress.failed,
        "cancelled": progress.items - progress.succeeded - progress.failed,
        "audio_s": progress.audio_s,
        "backend_s": progress.backend_s,
        # Seconds of work per second of audio, over all workers.
        "real_time_factor": progress.backend_s / progress.audio_s if progress.audio_s else None,
        "output_bytes": progress.output_bytes,
        # What padding batches to their longest item adds, as a share of the useful length.
        "padding_waste": progress.padded_cost / progress.useful_cost - 1 if progress.useful_cost else 0.0,
        "created_unix_s": known.created_unix_us / MICROSECONDS,
        "started_unix_s": known.started_unix_us / MICROSECONDS,
        "finished_unix_s": time.time(),
    }


def _input_digest(item: pb.NewItem) -> str:
    """SHA-256 over the inputs in the order of their names, each serialized as a Tensor."""
    tensors = sorted(item.inputs, key=lambda tensor: tensor.name)
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.SerializeToString(deterministic=True))
    return digest.hexdigest()
