"""Stacking is the rule, and left where it has been found to be slower; finding that out costs little. No clock runs
here: batches take what a test says."""

import itertools
import math
from collections.abc import Iterable

import numpy as np

from kernelport_workers.backends.stacking_gain import StackingGain

ROWS = 16


class Machine:
    """Runs batches as a gain says.

    Attributes:
        alone_s, stacked_s: what a row takes.
        spent_s: by all batches so far.
        rows_alone: how many have run one by one.
        pays: after each batch, what the gain says.
    """

    def __init__(self, alone_s: float, stacked_s: float) -> None:
        self.gain = StackingGain()
        self.alone_s, self.stacked_s = alone_s, stacked_s
        self.spent_s = 0.0
        self.rows_alone = 0
        self.pays: list[bool] = []

    def run(self, batches: int, slowness: Iterable[float] = itertools.repeat(1.0)) -> None:
        """Runs batches of ROWS rows, each so many times slower."""
        for slow in itertools.islice(slowness, batches):
            alone_s, stacked_s = slow * self.alone_s, slow * self.stacked_s
            limit_s = self.gain.seconds_alone(ROWS)
            alone = min(ROWS, math.ceil(limit_s / alone_s)) if math.isfinite(limit_s) else ROWS
            if alone:
                self.gain.note(stacked=False, rows=alone, seconds=alone * alone_s)
            else:
                self.gain.note(stacked=True, rows=ROWS, seconds=ROWS * stacked_s)
            self.spent_s += alone * alone_s + (ROWS - alone) * stacked_s
            self.rows_alone += alone
            self.pays.append(self.gain.pays)


def test_a_model_that_gains_is_stacked_from_the_first_batch_on_and_trials_cost_little() -> None:
    machine = Machine(alone_s=0.01, stacked_s=0.001)
    machine.run(1000)
    assert all(machine.pays)
    assert machine.spent_s < 1.01 * 1000 * ROWS * machine.stacked_s


def test_requests_run_one_by_one_soon_where_that_is_faster() -> None:
    machine = Machine(alone_s=0.0068, stacked_s=0.0074)
    machine.run(10)
    assert not machine.pays[-1]
    machine.run(1000)
    assert machine.spent_s < 1.01 * 1010 * ROWS * machine.alone_s


def test_a_small_difference_is_no_reason_to_leave_stacking() -> None:
    machine = Machine(alone_s=0.0099, stacked_s=0.01)
    machine.run(1000)
    assert all(machine.pays)


def test_what_has_become_faster_is_found_out_either_way() -> None:
    machine = Machine(alone_s=0.01, stacked_s=0.008)
    machine.run(1000)
    machine.alone_s = 0.006
    machine.run(300)
    assert not machine.pays[-1]
    machine.alone_s = 0.01
    machine.run(300)
    assert machine.pays[-1]


def test_neither_noise_nor_a_machine_that_slows_down_is_taken_for_a_loss() -> None:
    machine = Machine(alone_s=0.013, stacked_s=0.01)
    machine.run(2000, np.random.default_rng(1).lognormal(0, 0.2, 2000))
    machine.run(2000, itertools.cycle([1.0] * 10 + [3.0] * 10))
    assert all(machine.pays)


def test_batches_that_take_next_to_nothing_are_not_tried_even_when_some_are_held_up() -> None:
    machine = Machine(alone_s=1e-6, stacked_s=1e-5)
    machine.run(1000, itertools.cycle([1.0, 1.0, 1000.0]))
    assert machine.rows_alone == 0
