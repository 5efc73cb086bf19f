"""Whether requests are faster in a run that they share than one by one, as measured while they are answered."""

import math
from collections import deque
from statistics import median

# Requests run one by one where that takes less than this share of the time that they take stacked ...
_ALONE_BELOW = 0.97
# ... by the median of the latest trials, of which there must be some.
_LEAST_TRIALS, _TRIALS_KEPT = 3, 5
# A trial is compared with the latest batches before it: what else the machine does changes within minutes.
_USUAL_KEPT = 3
# After so many batches comes the first trial. One that speaks for the way that is taken multiplies the pause until the
# next, up to so many batches; one that speaks against it is repeated soon.
_FIRST_TRIAL, _PAUSE_FACTOR, _LONGEST_PAUSE = 2, 4, 256
# While stacked batches take less there are no trials: what travels around them takes longer.
_LEAST_SECONDS = 0.001


class StackingGain:
    """What stacking gains for requests of one group: batches of them are stacked until running them one by one has been
    found to be faster, and the other way round. Now and then a batch is a trial of the other way.

    Whoever runs a batch asks `seconds_alone` before, and says by `note` what it took.

    Attributes:
        pays: whether batches are stacked.
    """

    def __init__(self) -> None:
        self.pays = True
        self._batches = 0
        self._pause, self._next_trial = 1, _FIRST_TRIAL
        self._usual: deque[float] = deque(maxlen=_USUAL_KEPT)  # seconds a row of the latest batches that were no trial
        self._shares: deque[float] = deque(maxlen=_TRIALS_KEPT)  # seconds a row alone over seconds a row stacked

    def seconds_alone(self, rows: int) -> float:
        """For how long the requests of the next batch are to run one by one, before those that are left are stacked:
        0 to stack all of them, infinity to stack none.

        A trial of running them one by one ends when it has taken as long as the batch takes stacked: where stacking
        gains a lot, finding that out again costs no more than that.
        """
        is_due = self._batches >= self._next_trial
        if not self.pays:
            return 0.0 if is_due else math.inf
        return rows * median(self._usual) if is_due and rows * min(self._usual) >= _LEAST_SECONDS else 0.0

    def note(self, *, stacked: bool, rows: int, seconds: float) -> bool:
        """So many rows have taken so long, stacking and splitting included. Tells whether `pays` is another now."""
        seconds_a_row = seconds / rows
        if stacked == self.pays:
            self._batches += 1
            self._usual.append(seconds_a_row)
            return False
        usual = median(self._usual)
        share = usual / seconds_a_row if stacked else seconds_a_row / usual
        self._pause = 1 if self._is_against(share) else min(_PAUSE_FACTOR * self._pause, _LONGEST_PAUSE)
        self._next_trial = self._batches + self._pause
        self._shares.append(share)
        if len(self._shares) < _LEAST_TRIALS or not self._is_against(median(self._shares)):
            return False
        self.pays = not self.pays
        self._usual.clear()
        self._usual.append(seconds_a_row)
        return True

    def _is_against(self, share: float) -> bool:
        """Whether it speaks against the way that is taken."""
        return share < _ALONE_BELOW if self.pays else share > 1
