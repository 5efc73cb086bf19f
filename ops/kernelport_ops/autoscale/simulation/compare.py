"""Every way of scaling on one trace, and how they are made comparable.

- **KernelPort**: the policy with one setting for all traces, as an operator would have it.
- **Oracle**: see there; held to the p95 and the longest wait that the policy came to on this trace. Costs are compared
  with what it proves that no schedule can beat.
- **Fixed fleet**: the smallest number of workers, running from the first second to the last, with a p95 as good.
- **Threshold**: the rule on the queue's length, with the setting out of a grid that is cheapest *on this trace*: among
  those whose p95 is within the target or as good as the policy's, and among the latter alone. It is tuned with
  hindsight; the policy is not.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from kernelport.config.scaling import Scaling
from kernelport_ops.autoscale.simulation.fleet import Outcome, replay
from kernelport_ops.autoscale.simulation.oracle import Oracle, oracle
from kernelport_ops.autoscale.simulation.scalers import Fixed, Policy, Threshold
from kernelport_ops.autoscale.simulation.traces import Trace

SCALING = Scaling(max=12)
HIGHS, LOWS, COOL_DOWNS_S = (50.0, 150.0, 300.0, 600.0), (0.0, 5.0, 20.0), (60.0, 180.0, 300.0)


@dataclass(frozen=True)
class Comparison:
    """What came of one trace.

    Attributes:
        threshold: the cheapest whose p95 is within the target or as good as the policy's; None when there is none.
        threshold_setting: which of the grid it is.
        as_good: the cheapest whose p95 is as good as the policy's; None when there is none.
    """

    trace: Trace
    policy: Outcome
    fixed: Outcome
    threshold: Outcome | None
    threshold_setting: str
    as_good: Outcome | None
    oracle: Oracle


def compare(trace: Trace, seed: int, tell: Callable[[str], None]) -> Comparison:
    """Replays a trace in every way.

    Args:
        seed: of the boots.
        tell: told what is being done.
    """
    tell(f"{trace.name}: policy")
    policy = replay(trace, Policy(SCALING), seed)
    good_s = policy.wait_s(0.95)
    tell(f"{trace.name}: fixed fleets")
    fixed = _fixed(trace, good_s, seed)
    tell(f"{trace.name}: threshold rules")
    rules = [(replay(trace, rule, seed), setting) for rule, setting in _rules()]
    threshold, setting = _cheapest(rules, max(good_s, SCALING.target_wait_s))
    as_good, _ = _cheapest(rules, good_s)
    tell(f"{trace.name}: oracle")
    best = oracle(trace, good_s, policy.wait_s(1.0), SCALING.max)
    return Comparison(trace, policy, fixed, threshold, setting, as_good, best)


def _fixed(trace: Trace, good_s: float, seed: int) -> Outcome:
    for count in range(1, SCALING.max + 1):
        outcome = replay(trace, Fixed(count), seed, tail_s=0)
        if outcome.wait_s(0.95) <= good_s:
            return outcome
    return outcome


def _rules() -> Iterator[tuple[Threshold, str]]:
    """The grid, each with its setting in words."""
    for high, low, cool_down_s, in_steps in itertools.product(HIGHS, LOWS, COOL_DOWNS_S, (False, True)):
        more = "more at once" if in_steps else "one more"
        setting = f"over {high:g} a worker: {more}, under {low:g}: one less, {cool_down_s:g} s apart"
        yield Threshold(SCALING.max, high, low, cool_down_s, in_steps), setting


def _cheapest(rules: Sequence[tuple[Outcome, str]], p95_s: float) -> tuple[Outcome | None, str]:
    in_time = [rule for rule in rules if rule[0].wait_s(0.95) <= p95_s]
    return min(in_time, key=lambda rule: rule[0].gpu_s, default=(None, ""))
