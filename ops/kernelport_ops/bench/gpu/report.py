"""The records as a section of Markdown, and as plots."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kernelport_ops.bench.plot import draw

Record = Mapping[str, Any]

_KERNEL_COLUMNS = [
    ("kernel", "kernel", ""),
    ("batch", "batch", "d"),
    ("type", "dtype", ""),
    ("PyTorch ms", "eager_ms", ".3f"),
    ("Helion ms", "fused_ms", ".3f"),
    ("error", "error", ".1e"),
    ("right", "ok", ""),
]
# Of each step: its heading, and the columns of its table as (heading, key, format).
_TABLES: Mapping[str, tuple[str, Sequence[tuple[str, str, str]]]] = {
    "correctness": (
        "Correctness",
        [
            ("check", "check", ""),
            ("type", "dtype", ""),
            ("what", "name", ""),
            ("convolutions", "convolutions", ""),
            ("largest error", "error", ".1e"),
            ("at most", "tolerance", "g"),
            ("failed", "failed", "d"),
            ("right", "ok", ""),
        ],
    ),
    "real-time-factor": (
        "Equal utterances",
        [
            ("type", "dtype", ""),
            ("path", "path", ""),
            ("batch", "batch", "d"),
            ("step ms", "step_ms", ".2f"),
            ("vocoder ms", "vocoder_ms", ".2f"),
            ("real-time factor", "real_time_factor", ".5f"),
            ("audio s/s", "audio_per_second", ",.0f"),
            ("peak GiB", "memory_gib", ".2f"),
            ("of matrix speed", "of_limit", ".0%"),
        ],
    ),
    "backlog": (
        "A backlog of sentences",
        [
            ("path", "path", ""),
            ("turn", "turn", ""),
            ("utterances", "utterances", "d"),
            ("seconds", "seconds", ".1f"),
            ("audio s/s", "audio_per_second", ",.0f"),
            ("padding", "padding", ".1%"),
            ("with graphs", "padding_with_graphs", ".1%"),
            ("graphs", "graphs", "d"),
            ("their GiB", "graphs_gib", ".2f"),
            ("W", "watts", ".0f"),
            ("J per audio s", "joules_per_audio_second", ".2f"),
        ],
    ),
    "first-audio": (
        "First audio",
        [
            ("path", "path", ""),
            ("listeners", "listeners", "d"),
            ("chunk s", "chunk_seconds", ".2f"),
            ("median s", "median_seconds", ".3f"),
            ("last s", "last_seconds", ".3f"),
        ],
    ),
    "kernels": ("Kernels, untuned", _KERNEL_COLUMNS),
    "tuned-kernels": ("Kernels, tuned for 20 s each", _KERNEL_COLUMNS),
    "onnx": ("ONNX Runtime", [("provider", "provider", ""), ("real-time factor", "real_time_factor", ".5f")]),
    "profile": (
        "Profile of one batch",
        [
            ("path", "path", ""),
            ("kernel", "kernel", ""),
            ("calls", "calls", "d"),
            ("ms", "ms", ".3f"),
            ("share", "share", ".1%"),
        ],
    ),
}


def markdown(document: Mapping[str, Any]) -> str:
    """A section for the documentation: a table a step, and a line for whatever failed or was absent."""
    lines = ["## On a GPU", ""]
    if document["dry"]:
        lines += ["A dry run on the CPU at tiny size: no figure means anything.", ""]
    for machine in document["steps"].get("machine", {}).get("records", []):
        packages = ", ".join(f"{name} {version}" for name, version in machine.get("packages", {}).items())
        lines += [
            f"GPU: {machine.get('gpu')}. CPU: {machine.get('processor')}, {machine.get('cores')} cores. {packages}.",
            "",
        ]
    for name, result in document["steps"].items():
        if name in _TABLES:
            heading, columns = _TABLES[name]
            rows = _rows(result["records"])
            shown = _worst(rows) if name == "correctness" else rows
            lines += [f"### {heading}", "", *_table(columns, shown), ""]
        lines += _remarks(name, result)
    return "\n".join(lines).rstrip() + "\n"


def plot(document: Mapping[str, Any], path: Path) -> None:
    """Throughput, time of a step and memory over the batch size. Raises BenchError when matplotlib is missing."""
    rows = [row for row in _rows(document["steps"].get("real-time-factor", {}).get("records", [])) if "batch" in row]
    series = list(dict.fromkeys((row["dtype"], row["path"]) for row in rows))
    measures = {"audio seconds per second": "audio_per_second", "ms of a step": "step_ms", "peak GiB": "memory_gib"}
    panels = []
    for label, key in measures.items():
        drawn = {}
        for dtype, name in series:
            chosen = [row for row in rows if (row["dtype"], row["path"]) == (dtype, name)]
            drawn[f"{name} {dtype}"] = ([row["batch"] for row in chosen], [row[key] for row in chosen])
        panels.append((label, label, drawn))
    if rows:
        draw(panels, "batch", path, columns=len(panels))


def _rows(records: Sequence[Record]) -> list[Record]:
    """The records in the units that tables show."""
    limits = {record["dtype"]: record["matrix_flops"] for record in records if "matrix_flops" in record}
    rows: list[Record] = []
    for record in records:
        row: dict[str, Any] = {**record, **record.get("power", {})}
        if "step" in record:
            row |= {"step_ms": 1e3 * record["step"], "vocoder_ms": 1e3 * record["vocoder"]}
            row |= {"audio_per_second": 1 / record["real_time_factor"], "memory_gib": record["memory"] / 2**30}
            row["of_limit"] = record["flops"] / record["total"] / limits[record["dtype"]]
        if not record.keys() & {"failure", "absent", "matrix_flops", "launches"}:
            rows.append(row)
    return rows


def _worst(rows: Sequence[Record]) -> list[Record]:
    """Of golden arrays that are compared in the same way, the one with the largest error."""
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for row in rows:
        alike = (row["check"], row["dtype"], row.get("convolutions"), row["name"].startswith("vocoder"))
        key = alike if row["check"] == "golden" else (*alike, row["name"])
        groups.setdefault(key, []).append(row)
    # No error at all stands for one that is not finite.
    return [max(group, key=lambda row: row.get("error") or math.inf) for group in groups.values()]


def _table(columns: Sequence[tuple[str, str, str]], rows: Sequence[Record]) -> Iterator[str]:
    """Lines of a table; columns that no row has are left out."""
    used = [column for column in columns if any(row.get(column[1]) is not None for row in rows)]
    if not used:
        return
    yield "| " + " | ".join(heading for heading, _, _ in used) + " |"
    yield "|" + "---|" * len(used)
    for row in rows:
        yield "| " + " | ".join(_cell(row.get(key), style) for _, key, style in used) + " |"


def _cell(value: Any, style: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    return format(value, style).replace("|", "\\|")


def _remarks(name: str, result: Mapping[str, Any]) -> list[str]:
    """What a table cannot show."""
    lines = []
    for record in [*result["records"], result]:
        for kind in ("failure", "absent"):
            if kind in record:
                what = " ".join(str(record[key]) for key in ("check", "kernel", "dtype", "path") if key in record)
                lines.append(f"- {name}{f' ({what})' if what else ''}: {kind}: {record[kind]}")
        if "launches" in record:
            counts = ", ".join(f"{count} {call}" for call, count in record["launches"].items()) or "none"
            total = f"{record['calls']} kernels in {record['total_ms']:.2f} ms"
            lines.append(f"- {record['path']}, batch {record['batch']}: {total}; launches: {counts}")
    return [*lines, ""] if lines else []
