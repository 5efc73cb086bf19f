"""`python -m kernelport_ops.autoscale.simulation`: the policy against oracle, fixed fleet and threshold rule."""

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from kernelport_ops.autoscale.simulation.compare import SCALING, Comparison, compare
from kernelport_ops.autoscale.simulation.fleet import Outcome, mean_boot_s
from kernelport_ops.autoscale.simulation.plot import plot
from kernelport_ops.autoscale.simulation.traces import TRACES


@click.command(help="Replays traces of arrivals against ways of scaling, in virtual time.")
@click.option("--out", default=Path("out/autoscale"), show_default=True, type=click.Path(path_type=Path))
@click.option("--seed", default=0, show_default=True, help="Of arrivals and boots.")
@click.option("--price", default=1.29, show_default=True, help="Dollars an hour of a worker.")
def main(out: Path, seed: int, price: float) -> None:
    """The command."""
    console = Console()
    out.mkdir(parents=True, exist_ok=True)
    found: list[Comparison] = []
    with Progress(console=console) as progress:
        task = progress.add_task("", total=len(TRACES))
        for make in TRACES:
            found.append(compare(make(seed), seed, lambda text: progress.update(task, description=text)))
            progress.advance(task)
    table = Table("trace", "scaling", "p50 s", "p95 s", "longest s", "boots", "GPU h", "cost $", "x oracle")
    for each in found:
        for row in _rows(each, price):
            table.add_row(*row)
        table.add_section()
    console.print(table)
    console.print(f"{SCALING!r}; a boot takes {mean_boot_s():.0f} s on average; seed {seed}")
    (out / "autoscale.json").write_text(json.dumps([_document(each) for each in found], indent=2))
    plot(found, out / "autoscale.png")
    console.print(f"figures: {out / 'autoscale.json'}, plot: {out / 'autoscale.png'}")


def _outcomes(each: Comparison) -> dict[str, Outcome]:
    named = {
        "KernelPort": each.policy,
        "threshold": each.threshold,
        "threshold, p95 as good": each.as_good,
        "fixed fleet": each.fixed,
    }
    return {name: outcome for name, outcome in named.items() if outcome is not None}


def _rows(each: Comparison, price: float) -> list[list[str]]:
    rows = [
        [
            each.trace.name,
            name,
            *(f"{outcome.wait_s(quantile):.0f}" for quantile in (0.5, 0.95, 1.0)),
            str(outcome.boots),
            f"{outcome.gpu_s / 3600:.2f}",
            f"{outcome.gpu_s / 3600 * price:.2f}",
            f"{outcome.gpu_s / each.oracle.bound_s:.2f}",
        ]
        for name, outcome in _outcomes(each).items()
    ]
    for name, gpu_s in (("oracle", each.oracle.bound_s), ("best schedule found", each.oracle.gpu_s)):
        hours = gpu_s / 3600
        rows.append([each.trace.name, name, "", "", "", "", f"{hours:.2f}", f"{hours * price:.2f}", ""])
    return rows


def _document(each: Comparison) -> dict[str, Any]:
    outcomes = {
        name: {
            "p50_s": outcome.wait_s(0.5),
            "p95_s": outcome.wait_s(0.95),
            "longest_s": outcome.wait_s(1.0),
            "boots": outcome.boots,
            "gpu_hours": outcome.gpu_s / 3600,
            "to_oracle": outcome.gpu_s / each.oracle.bound_s,
        }
        for name, outcome in _outcomes(each).items()
    }
    return {
        "trace": each.trace.name,
        "about": each.trace.about,
        "threshold_setting": each.threshold_setting,
        "oracle_gpu_hours": each.oracle.bound_s / 3600,
        "best_found_gpu_hours": each.oracle.gpu_s / 3600,
        "outcomes": outcomes,
    }


if __name__ == "__main__":
    main()
