"""The benchmarks run and their figures hang together. How large the figures are is no test's business."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kernelport_ops.bench.batching import CostModel, mean_batch
from kernelport_ops.bench.cells import Cell, Figures, Payload
from kernelport_ops.bench.compare import Record
from kernelport_ops.bench.report import medians, ratios
from kernelport_ops.bench.streaming.listeners import Level
from kernelport_ops.bench.texts import sentences

REPOSITORY = Path(__file__).resolve().parents[2]
SMALL = Payload.parse("16B")


def bench(module: str, out: Path, *options: str) -> str:
    """Runs one of the benchmarks as a process; its output."""
    command = [sys.executable, "-m", module, "--rounds", "1", "--out", str(out), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=REPOSITORY, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.thorough
def test_a_tiny_comparison_measures_each_system_in_each_cell(tmp_path: Path) -> None:
    systems = ["echo", "celery", "kernelport", "kernelport-http"]
    options = ("--systems", ",".join(systems), "--payloads", "16B", "--concurrency", "1,4", "--requests", "12")
    output = bench("kernelport_ops.bench", tmp_path, *options)
    document = json.loads((tmp_path / "bench.json").read_text())
    assert document["complete"]
    assert [(record["system"], record["concurrency"]) for record in document["records"]] == [
        (system, callers) for system in systems for callers in (1, 4)
    ]
    for record in document["records"]:
        figures = record["figures"]
        assert (figures["answered"], figures["errors"]) == (12, {})
        assert 0 < figures["p50_ms"] <= figures["p95_ms"] <= figures["p99_ms"]
        assert figures["cpu_s"]["client"] > 0
    labels = {label for record in document["records"] for label in record["figures"]["cpu_s"]}
    assert labels >= {"client", "echo", "front", "worker", "redis", "front-door", "worker-identity-onnx"}
    assert all(row["per_second"] > 0 for row in document["medians"])
    assert all(row["throughput_to_echo"] > 0 and row["throughput_to_celery"] > 0 for row in document["ratios"])
    assert all(system in output for system in systems)


@pytest.mark.thorough
def test_the_simulated_backend_tells_the_size_of_its_batches(tmp_path: Path) -> None:
    options = ("--fixed-ms", "5", "--seconds", "0.3", "--concurrency", "8")
    bench("kernelport_ops.bench.batching", tmp_path, *options)
    (point,) = json.loads((tmp_path / "batching.json").read_text())["medians"]
    assert 1 <= point["mean_batch"] <= 8
    assert 0 < point["of_ideal"] <= 1


@pytest.mark.thorough
def test_bulk_speaks_as_much_through_the_stack_as_a_plain_loop_but_for_its_silence(tmp_path: Path) -> None:
    bench("kernelport_ops.bench.bulk", tmp_path, "--items", "4", "--workers", "1")
    stack, plain = json.loads((tmp_path / "bulk.json").read_text())["runs"]
    assert stack["items"] == plain["items"] == 4
    assert 0.6 < stack["audio_s"] / plain["audio_s"] < 1


@pytest.mark.thorough
def test_listeners_hear_streams_and_whole_requests(tmp_path: Path) -> None:
    systems = ["streams", "whole requests"]
    options = ("--levels", "30,60", "--seconds", "3")
    bench("kernelport_ops.bench.streaming", tmp_path, *options)
    document = json.loads((tmp_path / "streaming.json").read_text())
    assert document["complete"]
    assert [(row["system"], row["listeners"]) for row in document["medians"]] == [
        (system, listeners) for system in systems for listeners in (30, 60)
    ]
    for row in document["medians"]:
        assert row["texts"] > 0
        assert row["errors"] == 0
        assert 0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
        assert row["playing"] > 0
    assert document["plain_loop"]["feeds"] > 1
    assert 0 < document["calls"]["p95_alone_ms"] < document["calls"]["p95_beside_ms"]
    section = (tmp_path / "streaming.md").read_text()
    assert all(f"| {system} | {listeners} |" in section for system in systems for listeners in (30, 60))
    assert all(finding in section for finding in document["findings"])


def test_as_many_listen_from_the_beginning_to_the_end_of_a_level() -> None:
    level = Level(listeners=200, seconds=400, sentence_s=4.5)
    playing = np.zeros(400)
    for at, count in level.arrivals():
        playing[int(at) : int(at + 4.5 * count)] += 1
    assert playing[100:].mean() == pytest.approx(200, rel=0.1)
    assert list(level.arrivals()) == list(level.arrivals()), "every system has the same listeners"


def test_a_payload_is_a_square_of_floats() -> None:
    assert [Payload.parse(text).side for text in ("16B", "64KiB", "4MiB")] == [2, 128, 1024]
    with pytest.raises(ValueError, match="square of floats"):
        Payload.parse("20B")


def test_medians_are_taken_over_rounds_and_ratios_against_the_ceiling() -> None:
    records = [
        Record(number, system, Cell(SMALL, 1), _figures(answered))
        for number, answered in enumerate((10, 40, 20))
        for system, answered in (("echo", 2 * answered), ("kernelport", answered))
    ]
    records.append(Record(4, "kernelport", Cell(SMALL, 1), None, "the load generator ended"))
    rows = medians(records)
    assert [(row.system, row.per_second) for row in rows] == [("echo", 40), ("kernelport", 20)]
    assert rows[1].errors == {"the load generator ended": 1}
    _, ours = ratios(rows, {"16B": SMALL.size})
    assert (ours["throughput_to_echo"], ours["bytes_per_second"]) == (0.5, 20 * 2 * 16)


def test_a_batch_is_counted_once_however_many_answers_tell_of_it() -> None:
    assert mean_batch(_figures(8, {"4": 4, "2": 2, "1": 2})) == 2  # four calls: of 4, 2, 1 and 1


def test_the_ideal_is_a_full_batch_after_the_other() -> None:
    model = CostModel(fixed_ms=10, item_ms=1, max_batch=32)
    assert model.ideal_per_second(1) == pytest.approx(1000 / 11)
    assert model.ideal_per_second(64) == pytest.approx(1000 * 32 / 42)


def test_the_sentences_are_varied_and_always_the_same() -> None:
    assert sentences(400) == sentences(400)
    assert len(set(sentences(400))) > 350


def _figures(answered: int, counts: dict[str, int] | None = None) -> Figures:
    """Of one second."""
    return Figures(answered, {}, 1.0, 1.0, 2.0, 3.0, {"client": 0.1}, counts or {})
