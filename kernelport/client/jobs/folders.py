"""Whose outputs a folder holds: a folder belongs to one job, which its mark names."""

import contextlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

from kernelport.names import MANIFEST, SUMMARY

MARK = ".kernelport-job"
OUTPUTS = (".wav", ".flac", ".ogg", ".mp3", ".npz", ".aac", ".pcm")


def check(folder: Path, job_id: str = "", request_id: str = "") -> None:
    """Looks whether a folder can take a job's outputs: it holds none yet, or those of this very job.

    Args:
        job_id: the job; empty while there is none.
        request_id: of the submission that makes the job; empty when it has none of its own.

    Raises:
        FileExistsError: when it holds outputs of another job, or of nobody knows what.
    """
    first = _first_output(folder)  # looked for before the mark, which others write before their outputs
    owner = owner_of(folder)
    if owner is None:
        if first is not None:
            raise FileExistsError(f"{folder} holds {first} already, and nothing says whose it is")
    elif owner["job"] != job_id and not (request_id and owner.get("request_id") == request_id):
        raise FileExistsError(f"{folder} holds the outputs of job {owner['job']}")


def claim(folder: Path, job_id: str, *, request_id: str = "", overwrite: bool = False) -> None:
    """Makes a folder, if it is not there, and marks it as the job's.

    Args:
        request_id: of the submission that made the job, so that it can be repeated with the same folder.
        overwrite: whether the folder is taken over from whom it belonged to.

    Raises:
        FileExistsError: when it holds outputs of another job, or of nobody knows what, and is not taken over.
    """
    if not overwrite:
        owner = owner_of(folder)
        if owner is not None and owner["job"] == job_id:
            return
        check(folder, job_id)
    folder.mkdir(parents=True, exist_ok=True)
    mark = {"job": job_id, "request_id": request_id} if request_id else {"job": job_id}
    part = folder / f"{MARK}.{secrets.token_hex(4)}"
    part.write_text(json.dumps(mark) + "\n", "utf-8")
    part.replace(folder / MARK)


def owner_of(folder: Path) -> dict[str, Any] | None:
    """The `job` that the folder's mark names, and the `request_id`; of outputs that were fetched before there were
    marks, the job of their summary."""
    for name in (MARK, SUMMARY):
        with contextlib.suppress(OSError, ValueError):
            found = json.loads((folder / name).read_text("utf-8"))
            if isinstance(found, dict) and (job := found.get("job", found.get("id"))):
                return {"job": job, "request_id": found.get("request_id")}
    return None


def _first_output(folder: Path) -> str | None:
    """The name of a file that may be an output."""
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        return next((e.name for e in entries if e.name in (MANIFEST, SUMMARY) or e.name.endswith(OUTPUTS)), None)
    return None
