"""`make bench-gpu`, every step of it on the CPU at tiny size."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from kernelport_ops.bench.gpu import power, steps, texts, wheels
from kernelport_ops.bench.gpu.__main__ import faults
from kernelport_ops.bench.gpu.machine import checkpoints
from kernelport_ops.bench.gpu.report import markdown
from kernelport_ops.bench.gpu.setting import Record, Setting, attempt
from kernelport_workers.luxtts.batching import plan_batches
from kernelport_workers.luxtts.bench.random_checkpoint import MODEL
from kernelport_workers.luxtts.config import ModelConfig
from tests.needs import PIPER_PHONEMIZE

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    found = Setting.of(tmp_path_factory.mktemp("work"), dry=True)
    list(checkpoints(found))
    return found


@pytest.mark.thorough
@pytest.mark.parametrize("name", [name for name in steps.STEPS if name not in ("checkpoints", "tuned-kernels")])
def test_a_step_gives_records_and_a_table(name: str, setting: Setting) -> None:
    module, _, function = steps.STEPS[name].function.partition(":")
    step = getattr(importlib.import_module(f"kernelport_ops.bench.gpu.{module}"), function)
    result = json.loads(json.dumps({"records": list(step(setting))}))
    assert result["records"]
    assert not faults(result)
    section = markdown({"dry": True, "steps": {name: result}})
    assert name == "machine" or "|---|" in section


@pytest.mark.thorough
def test_a_run_writes_what_it_has_measured(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kernelport_ops.bench.gpu", "--dry", "--steps", "first-audio"]
    folders = ["--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    done = subprocess.run([*command, *folders], capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((tmp_path / "out" / "gpu.json").read_text())
    assert document["complete"]
    records = document["steps"]["first-audio"]["records"]
    assert [each["listeners"] for each in records] == [1, 2]
    assert all(0 < each["median_seconds"] <= each["last_seconds"] for each in records)
    assert "### First audio" in (tmp_path / "out" / "gpu.md").read_text()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_without_a_gpu_a_run_ends_at_once(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "kernelport_ops.bench.gpu",
        "--out",
        str(tmp_path),
        "--work",
        str(tmp_path / "work"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert done.returncode == 1
    document = json.loads((tmp_path / "gpu.json").read_text())
    assert not document["complete"]
    assert list(document["steps"]) == ["machine"]
    assert document["steps"]["machine"]["failure"].startswith("ended with 1: ")


def test_a_step_that_ends_badly_leaves_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(steps.STEPS, "odd", steps.Step("machine:nothing", 60))
    result = steps.run_step("odd", tmp_path, 60, dry=True)
    assert result["failure"].startswith("ended with 1: AttributeError: ")
    assert faults(result) == [result["failure"]]


def test_a_step_is_stopped_when_its_time_is_over(tmp_path: Path) -> None:
    result = steps.run_step("machine", tmp_path, 0.05, dry=True)
    assert result["failure"] == "stopped after 0 s"
    assert result["seconds"] < 5


def test_what_was_recorded_before_the_end_is_kept(tmp_path: Path) -> None:
    records = tmp_path / "cut.jsonl"
    records.write_text('{"batch": 1}\n{"batch": 2}\n{"bat')
    assert list(steps._read(records)) == [{"batch": 1}, {"batch": 2}]


def test_the_records_of_a_part_survive_its_failure() -> None:
    def measure() -> Iterator[Record]:
        yield {"batch": 1}
        raise RuntimeError("out of memory\nand a long trace")

    assert list(attempt({"path": "torch"}, measure)) == [
        {"path": "torch", "batch": 1},
        {"path": "torch", "failure": "RuntimeError: out of memory"},
    ]


def test_wrong_results_are_faults() -> None:
    assert len(faults({"records": [{"ok": False}, {"ok": True}, {"failure": "no"}, {"absent": "no"}]})) == 2


def test_power_is_sampled_while_something_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = tmp_path / "written"
    os.mkfifo(written)
    fake = tmp_path / "nvidia-smi"
    samples = "100.0, 50, 1000, 1980, 40\n300.0, 100, 2000, 1980, 60"
    fake.write_text(f"#!/bin/sh\necho '{samples}'\necho > {written}\nexec sleep 60\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with power.metered() as figures:
        written.read_text()
    assert (figures["samples"], figures["watts"], figures["watts_max"]) == (2, 200.0, 300.0)


def test_samples_that_are_not_whole_are_left_out() -> None:
    assert power.summary("[N/A], 1, 2, 3, 4\n250.5, 99, 1024, 1755, 61\n250")["samples"] == 1
    assert "absent" in power.summary("")


def test_little_of_the_backlog_is_padding() -> None:
    config = ModelConfig.from_mapping({"model": MODEL, "feature": {}}, vocab_size=360).fm_decoder
    frames = [item.job.frames for item in texts.passes(2_000, 5.0, 4)]
    batches = plan_batches(frames, config, lambda jobs, longest: True, 64)
    computed = sum(len(batch) * max(frames[index] for index in batch) for batch in batches)
    assert 1 - sum(frames) / computed < 0.05
    assert len(batches) < 100


@PIPER_PHONEMIZE
def test_the_tokens_are_those_of_the_sentences() -> None:
    assert json.loads(texts.TOKENS.read_text()) == texts.tokenized()


def test_every_wheel_has_a_version() -> None:
    lines = wheels.requirements((REPOSITORY / "constraints.txt").read_text())
    assert [line.partition("==")[0] for line in lines] == list(wheels.PACKAGES)
    with pytest.raises(ValueError, match="expected a line for each of cffi, "):
        wheels.requirements("numpy==2.4.6\n")
