"""Plots as PNG. matplotlib is imported when it is needed: the figures do not depend on it."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from kernelport.errors import install_hint
from kernelport_ops.bench.processes import BenchError
from kernelport_ops.bench.report import Median

Line = tuple[Sequence[float], Sequence[float]]
_SIZE_INCHES = 4.2
# A label needs so many times the number of the one before.
_ROOM = 1.3


def plot_comparison(rows: Sequence[Median], path: Path) -> None:
    """Throughput above, p50 below; a column a payload, a line a system.

    Raises:
        BenchError: when matplotlib is missing.
    """
    payloads = list(dict.fromkeys(row.payload for row in rows))
    measures: list[tuple[str, Callable[[Median], float]]] = [
        ("requests per second", lambda row: row.per_second),
        ("p50 in ms", lambda row: row.p50_ms),
    ]
    panels = [
        (f"{payload}: {label}", label, _lines([row for row in rows if row.payload == payload and row.rounds], measure))
        for label, measure in measures
        for payload in payloads
    ]
    draw(panels, "callers", path, columns=len(payloads))


def plot_to(console: Console, path: Path, plot: Callable[[Path], None]) -> None:
    """Makes a plot and says where it is, or why there is none."""
    try:
        plot(path)
        console.print(f"plot: {path}")
    except BenchError as error:
        console.print(str(error), markup=False)


def draw(
    panels: Sequence[tuple[str, str, Mapping[str, Line]]],
    x_label: str,
    path: Path,
    columns: int,
    x_ticks: Sequence[float] = (),
) -> None:
    """Draws panels of (title, label of y, lines by name) in rows of `columns`, both axes logarithmic.

    Args:
        x_ticks: where the x axis is labelled; at every point that has room for it when there are none.

    Raises:
        BenchError: when matplotlib is missing.
    """
    try:
        pyplot: Any = importlib.import_module("matplotlib.pyplot")
    except ImportError:
        raise BenchError(f"no plot, matplotlib is missing: {install_hint('bench')}") from None
    pyplot.switch_backend("agg")
    lines = -(-len(panels) // columns)
    size = (_SIZE_INCHES * columns, _SIZE_INCHES * lines)
    figure, axes = pyplot.subplots(lines, columns, figsize=size, squeeze=False, layout="constrained")
    names = list(dict.fromkeys(name for _, _, drawn in panels for name in drawn))
    for axis, (title, y_label, drawn) in zip(axes.flat, panels, strict=False):
        for name, (xs, ys) in drawn.items():
            axis.plot(xs, ys, marker="o", label=name, color=f"C{names.index(name)}")
        axis.set(title=title, xlabel=x_label, ylabel=y_label, xscale="log", yscale="log")
        ticks = x_ticks or _with_room(sorted({x for xs, _ in drawn.values() for x in xs}))
        axis.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
        axis.minorticks_off()
        axis.grid(visible=True, alpha=0.3)
        axis.legend(fontsize="small")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _with_room(points: Sequence[float]) -> list[float]:
    """Those of rising points whose labels do not run into the one before, on a logarithmic axis."""
    labelled: list[float] = []
    for point in points:
        if not labelled or point >= _ROOM * labelled[-1]:
            labelled.append(point)
    return labelled


def _lines(rows: Sequence[Median], measure: Callable[[Median], float]) -> dict[str, Line]:
    return {
        name: (
            [row.concurrency for row in rows if row.system == name],
            [measure(row) for row in rows if row.system == name],
        )
        for name in dict.fromkeys(row.system for row in rows)
    }
