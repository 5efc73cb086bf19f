"""What the records say: medians over rounds, ratios, tables, a file."""

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from kernelport_ops.bench.cells import Cell
from kernelport_ops.bench.compare import Record

CEILING, NAIVE, REDIS = "echo", "celery", ("redis", "redis-aof")


@dataclass(frozen=True)
class Median:
    """Medians over the rounds of one system in one cell.

    Attributes:
        per_second: right answers a second.
        p50_ms, p95_ms, p99_ms: milliseconds.
        cpu_ms: milliseconds of CPU time a request by process.
        errors: requests without a right answer, over all rounds.
    """

    system: str
    payload: str
    concurrency: int
    rounds: int
    per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cpu_ms: dict[str, float]
    errors: dict[str, int]

    @property
    def cpu_total_ms(self) -> float:
        """Of all processes, the client included."""
        return sum(self.cpu_ms.values())


def medians(records: Sequence[Record]) -> list[Median]:
    """One a system and cell, in the order of the first round."""
    groups: dict[tuple[str, Cell], list[Record]] = {}
    for record in records:
        groups.setdefault((record.system, record.cell), []).append(record)
    return [_median(name, cell, group) for (name, cell), group in groups.items()]


def _median(system: str, cell: Cell, records: Sequence[Record]) -> Median:
    figures = [record.figures.to_dict() for record in records if record.figures and record.figures.answered]
    errors: dict[str, int] = {}
    for record in records:
        for what, times in (record.figures.errors if record.figures else {record.failure: 1}).items():
            errors[what] = errors.get(what, 0) + times

    def of(name: str) -> float:
        return statistics.median(each[name] for each in figures) if figures else 0.0

    labels = figures[0]["cpu_ms_per_request"] if figures else {}
    return Median(
        system=system,
        payload=cell.payload.name,
        concurrency=cell.concurrency,
        rounds=len(figures),
        per_second=of("per_second"),
        p50_ms=of("p50_ms"),
        p95_ms=of("p95_ms"),
        p99_ms=of("p99_ms"),
        cpu_ms={
            label: statistics.median(each["cpu_ms_per_request"].get(label, 0.0) for each in figures) for label in labels
        },
        errors=errors,
    )


def ratios(rows: Sequence[Median], payload_bytes: Mapping[str, int]) -> list[dict[str, Any]]:
    """Each system's throughput and p50 against the ceiling's and naive Celery's, and its bytes against raw Redis.

    Bytes a second count both ways. Raw Redis is taken at its best number of callers.
    """
    found: list[dict[str, Any]] = []
    by_key = {(row.system, row.payload, row.concurrency): row for row in rows}
    for row in rows:
        if row.system in REDIS:
            continue
        entry: dict[str, Any] = {"system": row.system, "payload": row.payload, "concurrency": row.concurrency}
        entry["bytes_per_second"] = 2 * payload_bytes[row.payload] * row.per_second
        for other in (CEILING, NAIVE):
            base = by_key.get((other, row.payload, row.concurrency))
            if base is not None and base.per_second:
                entry[f"throughput_to_{other}"] = row.per_second / base.per_second
                entry[f"p50_to_{other}"] = row.p50_ms / base.p50_ms
        for other in REDIS:
            best = max(
                (each.per_second for each in rows if (each.system, each.payload) == (other, row.payload)), default=0
            )
            if best:
                entry[f"throughput_to_{other}"] = row.per_second / best
        found.append(entry)
    return found


def print_tables(console: Console, rows: Sequence[Median], compared: Sequence[Mapping[str, Any]]) -> None:
    """A table of speed a payload, and one of CPU time."""
    against = {(each["system"], each["payload"], each["concurrency"]): each for each in compared}
    for payload in dict.fromkeys(row.payload for row in rows):
        table = _table(f"{payload} in, {payload} out: medians over rounds", "req/s", "p50 ms", "p95 ms", "p99 ms")
        for title in ("x echo", "x celery", "x redis", "errors"):
            table.add_column(title, justify="right", no_wrap=title != "errors")
        for row in _by_concurrency(rows, payload, table):
            ratio = against.get((row.system, payload, row.concurrency), {})
            table.add_row(
                str(row.concurrency),
                row.system,
                *(number(value) for value in (row.per_second, row.p50_ms, row.p95_ms, row.p99_ms)),
                *(_ratio(ratio, f"throughput_to_{other}") for other in (CEILING, NAIVE, REDIS[0])),
                ", ".join(f"{times} {what}" for what, times in row.errors.items()),
            )
        console.print(table)
    for payload in dict.fromkeys(row.payload for row in rows):
        table = _table(f"{payload}: milliseconds of CPU time a request", "all")
        table.add_column("by process")
        for row in _by_concurrency(rows, payload, table):
            parts = ", ".join(f"{label} {number(value)}" for label, value in row.cpu_ms.items())
            table.add_row(str(row.concurrency), row.system, number(row.cpu_total_ms), parts)
        console.print(table)


def number(value: float) -> str:
    """Three digits that matter."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("callers", justify="right", no_wrap=True)
    table.add_column("system", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _by_concurrency(rows: Sequence[Median], payload: str, table: Table) -> Iterator[Median]:
    """The rows of a payload, those of one concurrency together, and a line in the table below them."""
    cells = [row for row in rows if row.payload == payload]
    for concurrency in sorted({row.concurrency for row in cells}):
        yield from (row for row in cells if row.concurrency == concurrency)
        table.add_section()


def _ratio(ratio: Mapping[str, Any], name: str) -> str:
    return f"{ratio[name]:.2f}" if name in ratio else ""


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Writes a file of figures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")


def record_to_dict(record: Record) -> dict[str, Any]:
    """As JSON can hold it."""
    return {
        "round": record.round,
        "system": record.system,
        "payload": record.cell.payload.name,
        "concurrency": record.cell.concurrency,
        "figures": record.figures.to_dict() if record.figures else None,
        "failure": record.failure,
    }
