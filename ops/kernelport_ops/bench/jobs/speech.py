"""A job of speech beside the plain loop of the same pipeline: throughput, and whether every item is there once."""

import hashlib
import json
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

from kernelport.jobs.records import MICROSECONDS
from kernelport.v1 import job_pb2 as pb
from kernelport_ops.bench.bulk import MODEL, workers_running
from kernelport_ops.bench.jobs.calls import calls_to, spoken
from kernelport_ops.bench.plain_loop import run_plain_loop
from kernelport_ops.bench.texts import sentences

TIMEOUT_S = 3600.0


def measure(items: int, workers: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Medians over rounds, each of a job and a plain loop of the same sentences.

    The plain loop speaks one half before the job and the other after it, so that a machine that grows slower or faster
    favours neither. The job's time counts from creation to final state: files, hashes and manifest included, of which
    the plain loop has none.
    """
    texts = sentences(items)
    found: list[dict[str, Any]] = []
    for _ in range(rounds):
        before = run_plain_loop(texts[::2], workers)
        run = _run_job(texts, workers, folder)
        after = run_plain_loop(texts[1::2], workers)
        run["plain_items_per_second"] = items / (before.seconds + after.seconds)
        run["ratio"] = run["items_per_second"] / run["plain_items_per_second"]
        found.append(run)
    median = {name: statistics.median(run[name] for run in found) for name in found[0] if name != "problems"}
    return {"items": items, "workers": workers, "median": median, "runs": found}


def _run_job(texts: list[str], workers: int, folder: Path) -> dict[str, Any]:
    with workers_running(folder, workers) as (stack, _), calls_to(stack.target) as calls:
        job = calls.submit(MODEL, (spoken(f"line-{number:05}", text) for number, text in enumerate(texts, 1)))
        job = calls.wait(job.id, TIMEOUT_S)
        seconds = (job.finished_unix_us - job.created_unix_us) / MICROSECONDS
        progress = job.progress
        return {
            "items_per_second": len(texts) / seconds,
            "audio_seconds_per_second": progress.audio_s / seconds,
            "padding_waste": progress.padded_cost / progress.useful_cost - 1,
            "problems": problems_of(job, len(texts)),
        }


def problems_of(job: pb.Job, items: int) -> list[str]:
    """What is not as it must be with a job's outputs: none when every item is there once, and its hash is right."""
    folder = Path(job.output_url)
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text("utf-8").splitlines()]
    problems = [f"{count} rows of {item_id}" for item_id, count in Counter(r["id"] for r in rows).items() if count > 1]
    if job.state != pb.JOB_STATE_SUCCEEDED or len(rows) != items:
        problems.append(f"{pb.JobState.Name(job.state)} with {len(rows)} rows for {items} items: {job.reason}")
    for row in rows:
        data = (folder / row["file"]).read_bytes() if "file" in row else b""
        if hashlib.sha256(data).hexdigest() != row.get("sha256"):
            problems.append(f"{row['id']}: the file is not what the manifest says")
    extra = {path.name for path in folder.iterdir()} - {row.get("file") for row in rows}
    if extra != {"manifest.jsonl", "summary.json"}:
        problems.append(f"files that belong to nothing: {sorted(extra)[:5]}")
    return problems
