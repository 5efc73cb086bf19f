"""The plot: how many workers each way of scaling paid for, and what it cost."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as pyplot
import numpy as np

from kernelport_ops.autoscale.simulation.compare import Comparison
from kernelport_ops.autoscale.simulation.traces import SERVICE_RATE

_MINUTE_S = 60


def plot(found: Sequence[Comparison], path: Path) -> None:
    """A row a trace: on the left workers over time and the load in workers, on the right GPU hours."""
    pyplot.switch_backend("agg")
    figure, axes = pyplot.subplots(
        len(found), 2, figsize=(12, 2.6 * len(found)), layout="constrained", width_ratios=(4, 1), squeeze=False
    )
    for (left, right), each in zip(axes, found, strict=True):
        load = _by_minute(each.trace.arrivals.astype(float)) / SERVICE_RATE
        hours = np.arange(len(load)) / 60
        left.fill_between(hours, np.minimum(load, 15), color="0.85", label="arrivals, in workers")
        drawn = [("KernelPort", each.policy, "C0"), ("threshold", each.threshold, "C1"), ("fixed", each.fixed, "C2")]
        bars = [("oracle", each.oracle.bound_s, "0.4")]
        for name, outcome, colour in drawn:
            if outcome is None:
                continue
            workers = _by_minute(outcome.workers.astype(float))
            left.plot(np.arange(len(workers)) / 60, workers, label=name, color=colour, linewidth=1.2)
            bars.append((name, outcome.gpu_s, colour))
        left.set(title=f"{each.trace.name}: {each.trace.about}", ylabel="workers", ylim=(0, None))
        left.grid(visible=True, alpha=0.3)
        names, costs, colours = zip(*bars, strict=True)
        drawn_bars = right.barh(names, np.array(costs) / 3600, color=colours)
        right.bar_label(drawn_bars, labels=[f"{cost / each.oracle.bound_s:.2f}x" for cost in costs], padding=2)
        right.margins(x=0.25)
        right.invert_yaxis()
        right.set(xlabel="GPU hours")
    axes[0][0].legend(fontsize="small", loc="lower right")
    axes[-1][0].set(xlabel="hours")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _by_minute(seconds: np.ndarray[tuple[int], np.dtype[np.float64]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    whole = len(seconds) // _MINUTE_S * _MINUTE_S
    result: np.ndarray[tuple[int], np.dtype[np.float64]] = seconds[:whole].reshape(-1, _MINUTE_S).mean(axis=1)
    return result
