"""The manifest that lies beside fetched outputs: a line of JSON for every item of the job, in its order."""

import json
from pathlib import Path

from kernelport.client import Client
from kernelport.jobs.manifest import row
from kernelport.jobs.naming import MANIFEST


def write_manifest(client: Client, job_id: str, folder: Path) -> Path:
    """Writes the manifest of a job that is over; it appears when it is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / MANIFEST
    unfinished = path.with_name(f".{MANIFEST}.part")
    with unfinished.open("w", encoding="utf-8") as file:
        for item in client.jobs.items(job_id):
            file.write(json.dumps(row(item), ensure_ascii=False) + "\n")
    return unfinished.replace(path)
