"""The cheapest schedule that answers in time, by one who knows every arrival and every boot.

It is a mixed-integer program. The solver gives the best schedule that it found, and a proven bound that no schedule can
beat; the truth is between the two, and costs are compared with the bound. Everything that is rounded is rounded in the
oracle's favour:

- time goes in slots of `SLOT_S` seconds; what arrives in a slot may be served at any moment of it;
- items flow: none is too small to be cut, and any order will do;
- an item is in time when it is served by the end of the slot in which its wait reaches the limit; 5 % of all items,
  whichever it likes, may be late, though none later than the longest wait that it is compared with. Without that bound
  it would park 5 % for hours as filler, which keeps the percentile and no promise. Those in time and those late are
  two lines, so that what has been served late is not late a second time;
- a launch costs the mean boot, paid in full, and a worker is ready at exactly the moment it is wanted; keeping a worker
  costs its seconds. Workers are whole, as machines are.

The solver stops when the two are within 1 %, or at its time limit.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from kernelport_ops.autoscale.simulation.fleet import mean_boot_s
from kernelport_ops.autoscale.simulation.traces import SERVICE_RATE, Trace

SLOT_S = 30
LATE_SHARE = 0.05
TIME_LIMIT_S = 120.0
GAP = 0.01


@dataclass(frozen=True)
class Oracle:
    """What is known of the best schedule.

    Attributes:
        gpu_s: seconds of workers, boots included, of the best schedule that was found.
        bound_s: that no schedule can do without.
    """

    gpu_s: float
    bound_s: float


def oracle(trace: Trace, wait_s: float, longest_s: float, max_workers: int, tail_s: int = 7200) -> Oracle:
    """The least for 95 % of the items to wait at most `wait_s` seconds, and all at most `longest_s`.

    Args:
        longest_s: seconds; infinite for no bound.
        max_workers: that may be paid for at a time.
        tail_s: seconds after the trace in which late items may still be served.
    """
    arrivals = _by_slot(np.concatenate([trace.arrivals, np.zeros(tail_s, np.int64)]))
    slots, total = len(arrivals), float(arrivals.sum())
    lag = math.ceil(wait_s / SLOT_S)
    late_lag = math.ceil(min(longest_s, slots * SLOT_S) / SLOT_S)
    arrived = np.cumsum(arrivals)

    # Columns, each of every slot: workers, launches, and so far served in time, served late, arrived to be served late.
    eye = sparse.eye_array(slots, format="csr")
    step = eye - sparse.eye_array(slots, k=-1, format="csr")
    none = sparse.csr_array((slots, slots))
    rules = [
        LinearConstraint(sparse.hstack([step, -eye, none, none, none]), -np.inf, 0),  # a further worker is a launch
        LinearConstraint(sparse.hstack([-SERVICE_RATE * SLOT_S * eye, none, step, step, none]), -np.inf, 0),
        LinearConstraint(sparse.hstack([none, none, step, none, none]), 0, np.inf),
        LinearConstraint(sparse.hstack([none, none, none, step, none]), 0, np.inf),
        LinearConstraint(sparse.hstack([none, none, none, none, step]), 0, arrivals),
        # Nothing is served before it arrives, and everything in the time that it has.
        LinearConstraint(sparse.hstack([none, none, eye, none, eye]), -np.inf, arrived),
        LinearConstraint(sparse.hstack([none, none, eye, none, _shift(slots, lag)]), _later(arrived, lag), np.inf),
        LinearConstraint(sparse.hstack([none, none, none, eye, -eye]), -np.inf, 0),
        LinearConstraint(sparse.hstack([none, none, none, eye, -_shift(slots, late_lag)]), 0, np.inf),
    ]
    most = np.full(slots, float(max_workers))
    served = np.zeros(slots)
    served[-1] = 1.0
    rules.append(LinearConstraint(np.concatenate([np.zeros(2 * slots), served, served, np.zeros(slots)]), total, total))
    highest = np.concatenate([most, most, arrived, np.full(2 * slots, LATE_SHARE * total)])
    cost = np.concatenate([np.full(slots, float(SLOT_S)), np.full(slots, mean_boot_s()), np.zeros(3 * slots)])
    found = milp(
        cost,
        integrality=np.concatenate([np.ones(slots), np.zeros(4 * slots)]),
        bounds=Bounds(np.zeros(5 * slots), highest),
        constraints=rules,
        options={"time_limit": TIME_LIMIT_S, "mip_rel_gap": GAP},
    )
    return Oracle(float(found.fun) if found.fun is not None else math.inf, float(found.mip_dual_bound))


def _shift(size: int, slots: int) -> sparse.csr_array:
    """The matrix that makes a curve some slots later."""
    return sparse.eye_array(size, k=-slots, format="csr")


def _later(values: NDArray[np.float64], slots: int) -> NDArray[np.float64]:
    """The same curve, some slots later."""
    result: NDArray[np.float64] = np.concatenate([np.zeros(slots), values])[: len(values)]
    return result


def _by_slot(seconds: NDArray[np.int64]) -> NDArray[np.float64]:
    slots = -(-len(seconds) // SLOT_S)
    padded = np.zeros(slots * SLOT_S)
    padded[: len(seconds)] = seconds
    result: NDArray[np.float64] = padded.reshape(slots, SLOT_S).sum(axis=1)
    return result
