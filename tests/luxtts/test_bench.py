"""The bench runs on any checkpoint, and its arithmetic agrees with the published figures."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from kernelport_workers.luxtts.batching import step_flops
from kernelport_workers.luxtts.bench.measure import Bench, Round
from kernelport_workers.luxtts.bench.random_checkpoint import MODEL
from kernelport_workers.luxtts.bench.workload import Workload, jobs_of, mixed_lengths
from kernelport_workers.luxtts.config import ModelConfig


@pytest.mark.thorough
def test_the_command_reports_every_path_mixed_items_and_kernels(tiny_onnx: Path) -> None:
    options = ["--seconds", "0.4", "--reference", "0.5", "--steps", "2", "--repeat", "1", "--mixed", "2", "--kernels"]
    finished = subprocess.run(
        [sys.executable, "-m", "kernelport.cli", "bench", "luxtts", "--model", str(tiny_onnx), *options],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    lines = finished.stdout.splitlines()
    for path in ("plain", "torch", "onnx", "onnx-int8"):
        assert [line.split()[1] for line in lines if line.split()[0] == path] == ["1"]
    start = next(index for index, line in enumerate(lines) if line.endswith(", calls of items of mixed length"))
    call, summary = lines[start + 1 : start + 3]
    assert call.startswith("  2 items, ")
    together, ratio, single = (float(word.strip(",")) for word in re.findall(r"\d\.\d{3,4}", call))
    assert ratio == pytest.approx(together / single, rel=0.01, abs=0.01)
    assert "2 items of mixed length (even) in 1 call(s)" in summary
    assert "1.00x" in next(line for line in lines if line.split()[0] == "plain")
    assert any(line.startswith("limit:") for line in lines)
    assert any(line.startswith("reference:") for line in lines)
    kernels = lines[next(index for index, line in enumerate(lines) if line.startswith("kernels")) + 1 :][:3]
    assert all("error" in line for line in kernels), kernels


@pytest.mark.thorough
@pytest.mark.parametrize("path", ["torch", "onnx", "onnx-int8"])
def test_mixed_items_are_each_in_one_call(tiny_onnx: Path, path: str) -> None:
    told: list[Round] = []
    workload = Workload(seconds=0.2, reference=0.3, steps=1)
    mixed = Bench(tiny_onnx).mixed(60, workload, path, "even", told.append)
    assert told == list(mixed.rounds)
    assert [each.items for each in mixed.rounds] == [50, 10]
    assert sum(each.audio_seconds for each in mixed.rounds) == pytest.approx(
        sum(mixed_lengths(60, 0.2, "even")), rel=0.1
    )
    for each in mixed.rounds:
        assert each.ratio == pytest.approx(each.seconds / each.audio_seconds / each.best)
    assert min(each.ratio for each in mixed.rounds) <= mixed.ratio <= max(each.ratio for each in mixed.rounds)
    assert mixed.arithmetic >= 1


def test_an_unknown_path_is_refused(tiny: Path) -> None:
    with pytest.raises(ValueError, match="expected one of"):
        list(Bench(tiny).rows([Workload()], ["jax"]))


def test_the_times_of_a_row_add_up(tiny: Path) -> None:
    (row,) = Bench(tiny).rows([Workload(seconds=0.4, reference=0.5, steps=2, batch=2)], ["torch"], repeat=1)
    assert row.total == pytest.approx(row.text + row.step * 2 + row.vocoder)
    assert row.audio_seconds == pytest.approx(0.8, abs=0.04)
    assert row.memory > 1 << 20


@pytest.mark.parametrize(("frames", "gigaflops"), [(938, 146.9), (1874, 311.0)])
def test_flops_of_a_decoder_step_at_the_real_dimensions(frames: int, gigaflops: float) -> None:
    config = ModelConfig.from_mapping({"model": MODEL, "feature": {}}, vocab_size=360).fm_decoder
    assert step_flops(config, frames) / 1e9 == pytest.approx(gigaflops, rel=0.02)


@pytest.mark.parametrize(("mix", "shortest", "mean"), [("even", 3.0, 9.0), ("short", 1.0, 4.7)])
def test_mixed_lengths_are_spread_as_named(mix: str, shortest: float, mean: float) -> None:
    lengths = mixed_lengths(1_000, 15.0, mix)
    assert lengths == sorted(lengths)
    assert lengths[0] == pytest.approx(shortest, abs=0.01)
    assert lengths[-1] == pytest.approx(15.0, abs=0.01)
    assert sum(lengths) / 1_000 == pytest.approx(mean, rel=0.02)


def test_an_unknown_mix_is_refused() -> None:
    with pytest.raises(ValueError, match="expected even or short"):
        mixed_lengths(3, 15.0, "odd")


def test_jobs_have_the_asked_lengths() -> None:
    jobs = jobs_of(Workload(seconds=15.0, reference=5.0, batch=3), 100)
    assert {(job.prompt_frames, job.frames - job.prompt_frames) for job in jobs} == {(468, 1406)}
    assert len({job.seed for job in jobs}) == 3
