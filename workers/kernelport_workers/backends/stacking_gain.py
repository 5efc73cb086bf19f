"""Whether rows that may share a run are faster for it, measured once a model is loaded."""

import time
from collections.abc import Callable

from kernelport_workers.backends.stacking import Inputs, Run
from kernelport_workers.backends.trial import Together

ROWS = 8
_TRIES = 3
# Whatever a shorter run gains or loses, what travels around it takes longer; a longer one would make loading slow.
_SHORTEST_S, _LONGEST_S = 0.002, 0.1
# Stacking must lose by so much: it saves a little around the runs, too.
_LOSES_BY = 1.03


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
    alone_s = _least_seconds(lambda: run(request))
    if not _SHORTEST_S <= alone_s <= _LONGEST_S:
        return ""
    stacked_s = _least_seconds(lambda: together([request] * ROWS)) / ROWS
    if stacked_s <= _LOSES_BY * alone_s:
        return ""
    return f"a request takes {1000 * stacked_s:.1f} ms in runs of {ROWS} and {1000 * alone_s:.1f} ms alone"


def _least_seconds(work: Callable[[], object]) -> float:
    """CPU time of this thread: unlike the time that passes, much the same whatever else the machine does."""
    seconds = []
    for _ in range(_TRIES):
        began = time.thread_time()
        work()
        seconds.append(time.thread_time() - began)
    return min(seconds)
