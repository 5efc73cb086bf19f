"""The manifest that lies beside fetched outputs: a line of JSON for every item of the job, in its order."""

import json
from pathlib import Path
from typing import Any

from kernelport.cli.jobs.words import item_state
from kernelport.client import Client
from kernelport.v1 import job_pb2 as pb

MANIFEST = "manifest.jsonl"


def write_manifest(client: Client, job_id: str, folder: Path) -> Path:
    """Writes the manifest of a job that is over; it appears when it is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / MANIFEST
    unfinished = path.with_name(f".{MANIFEST}.part")
    with unfinished.open("w", encoding="utf-8") as file:
        for item in client.jobs.items(job_id):
            file.write(json.dumps(entry(item), ensure_ascii=False) + "\n")
    return unfinished.replace(path)


def entry(item: pb.Item) -> dict[str, Any]:
    """What the manifest says of an item."""
    return {
        "id": item.id,
        "state": item_state(item),
        "text": item.text,
        "file": item.file,
        "bytes": item.file_bytes,
        "sha256": item.sha256.hex(),
        "seconds": item.audio_s,
        "backend_s": item.backend_s,
        "batch_size": item.batch_size,
        "attempts": item.attempts,
        "error": item.reason,
    }
