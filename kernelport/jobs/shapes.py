"""The one shape of jobs and items for programs: in manifests, in `--json`, and of the SDK's messages.

Names and units are those of the contract: times are microseconds of Unix time, durations seconds. States are small
words, and hashes hex digits.
"""

import hashlib
from typing import Any

from kernelport.enums import ItemState
from kernelport.items import TEXT_INPUT
from kernelport.jobs.inputs import Inputs
from kernelport.shapes import plain
from kernelport.v1 import job_pb2 as pb

# Of an item, beside its id, index and state: left out where they are empty or 0.
_ITEM_FIELDS = (
    *("attempts", "reason", "lasting", "text", "file", "file_bytes", "audio_s", "backend_s", "batch_size"),
    *("finished_unix_us", "revision", "device", "compute_path"),
)


def job_dict(job: pb.Job) -> dict[str, Any]:
    """A job with all of its fields, for JSON."""
    return plain(job)


def item_dict(item: pb.Item, inputs: Inputs | None = None) -> dict[str, Any]:
    """An item for JSON; fields that are empty or 0 are left out. Of its inputs, where it comes with them, there are
    `text`, or else the `input_sha256` of all, and in `inputs` what the others are.

    Args:
        inputs: tells what inputs are; by itself without the recordings of voices.
    """
    shown: dict[str, Any] = {"id": item.id, "index": item.index, "state": ItemState.of(item)}
    shown |= {name: value for name in _ITEM_FIELDS if (value := getattr(item, name))}
    if item.sha256:
        shown["sha256"] = item.sha256.hex()
    if item.warnings:
        shown["warnings"] = list(item.warnings)
    if not item.text and item.inputs:
        shown["input_sha256"] = _digest(item)
    others = [tensor for tensor in item.inputs if not (item.text and tensor.name == TEXT_INPUT)]
    if others:
        shown["inputs"] = (inputs or Inputs({})).described(others)
    return shown


def _digest(item: pb.Item) -> str:
    """SHA-256 over the inputs in the order of their names, each serialized as a Tensor."""
    digest = hashlib.sha256()
    for tensor in sorted(item.inputs, key=lambda tensor: tensor.name):
        digest.update(tensor.SerializeToString(deterministic=True))
    return digest.hexdigest()
