"""What the comparisons say: a line while they run, a table, and a document for JSON."""

import statistics
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.table import Table

from kernelport_ops.bench.pair.rounds import Comparison, Interval, Measurement
from kernelport_ops.bench.report import number


def line(name: str, comparison: Comparison) -> str:
    """One load in a line."""
    count = len(comparison.rounds)
    return f"{name}: {count} rounds, CPU a request x {_shown(comparison.cpu)}, {comparison.verdict}"


def table(comparisons: Mapping[str, Comparison]) -> Table:
    """All loads. Ratios are new over base, with their intervals."""
    found = Table(title="new / base, with 95 % intervals", title_justify="left")
    for title in (
        "load",
        "rounds",
        "base CPU ms",
        "new CPU ms",
        "CPU a request",
        "without Redis",
        "throughput",
        "verdict",
    ):
        found.add_column(title, justify="left" if title in ("load", "verdict") else "right", no_wrap=True)
    for name, comparison in comparisons.items():
        rounds = comparison.rounds
        found.add_row(
            name,
            str(len(rounds)),
            number(statistics.median(each.base.cpu_ms for each in rounds)),
            number(statistics.median(each.new.cpu_ms for each in rounds)),
            _shown(comparison.cpu),
            _shown(comparison.stack_cpu),
            _shown(comparison.throughput),
            comparison.verdict,
        )
    return found


def document(comparison: Comparison) -> dict[str, Any]:
    """As JSON can hold it, with every round."""
    return {
        "verdict": comparison.verdict,
        "cpu": asdict(comparison.cpu),
        "stack_cpu": asdict(comparison.stack_cpu),
        "throughput": asdict(comparison.throughput),
        "rounds": [{"new": _measured(each.new), "base": _measured(each.base)} for each in comparison.rounds],
    }


def _measured(measurement: Measurement) -> dict[str, Any]:
    return {**asdict(measurement), "per_second": measurement.per_second, "cpu_ms": measurement.cpu_ms}


def _shown(interval: Interval) -> str:
    return f"{interval.middle:.3f} ({interval.low:.3f} to {interval.high:.3f})"
