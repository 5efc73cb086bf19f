"""Whether rows that may share a run are faster for it, measured once a model is loaded."""

import time
from collections.abc import Callable
from statistics import median

from kernelport_workers.backends.stacking import Inputs, Run
from kernelport_workers.backends.trial import Together

ROWS = 8
_TRIES = 5
# Whatever a shorter run gains or loses, what travels around it takes longer; a longer one would make loading slow.
_SHORTEST_S, _LONGEST_S = 0.002, 0.05
# Stacking must lose by so much: it saves a little around the runs, too, and workers of one model should agree.
_LOSES_BY = 1.08


def loss(request: Inputs, run: Run, together: Together) -> str:
    """What stacking costs a model that computes in the thread that calls it: on a CPU, large rows push each other out
    of its caches. Empty where it costs nothing, or little is at stake.

    Args:
        request: one that the model takes.
        run: runs the model.
        together: runs requests stacked.

    Raises:
        KernelPortError: the model refuses the request.
    """
    run(request)  # the first run makes room
    if not _SHORTEST_S <= _seconds(lambda: run(request)) <= _LONGEST_S:
        return ""
    together([request] * ROWS)
    # In turn: how busy the caches are changes.
    tries = [
        (_seconds(lambda: [run(request) for _ in range(ROWS)]), _seconds(lambda: together([request] * ROWS)))
        for _ in range(_TRIES)
    ]
    if median(stacked / alone for alone, stacked in tries) <= _LOSES_BY:
        return ""
    alone_ms, stacked_ms = (1000 * median(each) / ROWS for each in zip(*tries, strict=True))
    return f"a request takes {stacked_ms:.1f} ms in runs of {ROWS} and {alone_ms:.1f} ms alone"


def _seconds(work: Callable[[], object]) -> float:
    """CPU time of this thread: unlike the time that passes, much the same whatever else the machine does."""
    began = time.thread_time()
    work()
    return time.thread_time() - began
