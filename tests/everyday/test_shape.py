"""An item and a job look the same in the manifest, as `--json`, and in the SDK."""

import json
from pathlib import Path

from kernelport import Client, ItemState, JobState
from kernelport.jobs.shapes import item_dict, job_dict
from tests.cli.running import called
from tests.everyday.conftest import UNSPEAKABLE, text_file


def test_items_and_jobs_have_one_shape(tmp_path: Path, client: Client) -> None:
    source = text_file(tmp_path / "items.csv", "text,speed", "One.,1.5", f"{UNSPEAKABLE},")
    job_id = called("jobs", "submit", source, "-o", "out", expect=1).stdout.split()[0]
    manifest = [json.loads(line) for line in Path("out/manifest.jsonl").read_text("utf-8").splitlines()]
    shown = [json.loads(line) for line in called("jobs", "items", job_id, "--json").stdout.splitlines()]
    assert manifest == shown == [item_dict(item) for item in client.jobs.items(job_id, inputs=True)]
    good, bad = manifest
    assert (good["state"], bad["state"]) == (ItemState.SUCCEEDED, ItemState.FAILED)
    assert bytes.fromhex(good["sha256"]) == next(client.jobs.items(job_id, [ItemState.SUCCEEDED])).sha256
    assert good["inputs"] == {"speed": 1.5}
    assert bad["lasting"] is True

    job = json.loads(called("jobs", "show", job_id, "--json").stdout)
    listed = json.loads(called("jobs", "list", "--json").stdout.splitlines()[0])
    assert job == listed == job_dict(client.jobs.get(job_id))
    assert job["state"] == JobState.FAILED
    summary = json.loads(Path("out/summary.json").read_text("utf-8"))
    same = set(summary) & set(job) - {"spec"}
    assert {name: summary[name] for name in same} == {name: job[name] for name in same}
    assert summary["expires_unix_us"] > summary["finished_unix_us"] > summary["created_unix_us"]
    assert {"id", "state", "reason", "progress", "output_url", "finished_unix_us", "expires_unix_us"} <= same
    assert next(client.jobs.list(states=["failed"])).id == job_id
    told = called("jobs", "watch", job_id, "--json", expect=1).stdout.splitlines()[-1]
    assert json.loads(told)["job"] == job
