"""The bench runs on any checkpoint, and its arithmetic agrees with the published figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernelport_workers.luxtts.bench import _MODEL as REAL
from kernelport_workers.luxtts.bench import PATHS, Workload, decoder_flops, jobs_of, report, run
from kernelport_workers.luxtts.config import ModelConfig


def test_every_path_is_measured_and_reported(tiny_onnx: Path) -> None:
    workloads = [Workload(seconds=0.4, reference=0.5, steps=2, batch=batch) for batch in (1, 2)]
    rows = list(run(tiny_onnx, workloads, repeat=1))
    assert [(row.path, row.batch) for row in rows] == [(path, batch) for path in PATHS for batch in (1, 2)]
    for row in rows:
        assert row.total == pytest.approx(row.text + row.step * 2 + row.vocoder)
        assert row.audio_seconds == pytest.approx(row.batch * 0.4, abs=0.02 * row.batch)
    table = report(rows, workloads[0])
    assert all(path in table for path in PATHS)
    assert "1.00x" in table


def test_an_unknown_path_is_refused(tiny_onnx: Path) -> None:
    with pytest.raises(ValueError, match="expected one of"):
        list(run(tiny_onnx, [Workload()], ["jax"]))


@pytest.mark.parametrize(("frames", "gigaflops"), [(938, 146.9), (1874, 311.0)])
def test_flops_of_a_decoder_step_at_the_real_dimensions(frames: int, gigaflops: float) -> None:
    config = ModelConfig.from_mapping({"model": REAL, "feature": {}}, vocab_size=360).fm_decoder
    assert decoder_flops(config, frames) / 1e9 == pytest.approx(gigaflops, rel=0.02)


def test_jobs_have_the_asked_lengths() -> None:
    jobs = jobs_of(Workload(seconds=15.0, reference=5.0, batch=3), 100)
    assert {(job.prompt_frames, job.frames - job.prompt_frames) for job in jobs} == {(468, 1406)}
    assert len({job.seed for job in jobs}) == 3
