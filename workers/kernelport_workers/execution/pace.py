"""How fast a worker runs the items of jobs, and so how much of a job it takes at once."""

from collections import OrderedDict

# What a worker runs of a job at once should not take longer: a call may have come that waits for it.
SLICE_S = 0.5
_JOBS_KEPT = 16


class Pace:
    """The costs (see kernelport.jobs.pages) that a worker runs in SLICE_S, as it has measured: of each job that it had
    of late, since jobs may ask the same model for more or for less work a byte."""

    def __init__(self) -> None:
        self._costs: OrderedDict[str, float] = OrderedDict()
        self._latest = 0.0

    def note(self, job: str, cost: int, seconds: float) -> None:
        """Items of a job that cost so much have taken so long."""
        self._latest = self._costs[job] = max(1, cost) * SLICE_S / max(seconds, 1e-6)
        self._costs.move_to_end(job)
        if len(self._costs) > _JOBS_KEPT:
            self._costs.popitem(last=False)

    def arguments(self) -> list[str | float]:
        """What the script `take` takes: the most cost of any other job (0, which is one item, before anything has been
        measured), then jobs, each followed by its own."""
        return [self._latest, *(argument for pair in self._costs.items() for argument in pair)]
