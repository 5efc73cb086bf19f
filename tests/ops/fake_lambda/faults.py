"""The ways in which the cloud lies, and how often."""

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Faults:
    """Shares of launches, from 0 to 1, and seconds.

    Attributes:
        refused: capacity that was listed is not there.
        unanswered: the launch takes place, and no answer comes.
        broken_cuda, silent: the instance comes up, and no worker ever does.
        unhealthy, preempted: the instance fails some time after it was launched.
        no_ip: it never gets an address.
        outages: share of the time in which every call fails.
        limited: share of calls that are too many (429), however slowly this caller goes: others use the account, too.
        boot_s: median of the boot; `boot_spread` is the sigma of its logarithm, and `boot_most_s` its end.
        late_s: at most so long after the instance is active its worker is ready.
    """

    refused: float = 0.0
    unanswered: float = 0.0
    broken_cuda: float = 0.0
    unhealthy: float = 0.0
    preempted: float = 0.0
    no_ip: float = 0.0
    outages: float = 0.0
    limited: float = 0.0
    boot_s: float = 150.0
    boot_spread: float = 0.4
    boot_most_s: float = 857.0
    late_s: float = 60.0


NONE = Faults(boot_spread=0.0)
EVERY = Faults(refused=0.27, unanswered=0.1, broken_cuda=0.12, unhealthy=0.08, preempted=0.08, no_ip=0.1, outages=0.02)


@dataclass(frozen=True)
class Fate:
    """What will become of one launch; times are seconds after it, None for never.

    Attributes:
        ready_s: when its worker is ready.
    """

    refused: bool
    unanswered: bool
    ip: bool
    active_s: float
    ready_s: float | None
    unhealthy_s: float | None
    preempted_s: float | None


def draw(faults: Faults, dice: random.Random) -> Fate:
    """The fate of one launch."""
    active_s = min(faults.boot_most_s, max(30.0, dice.lognormvariate(0, faults.boot_spread) * faults.boot_s))
    ready_s = active_s + dice.uniform(0, faults.late_s)
    fails_s = dice.uniform(0, 3 * ready_s)
    return Fate(
        refused=dice.random() < faults.refused,
        unanswered=dice.random() < faults.unanswered,
        ip=dice.random() >= faults.no_ip,
        active_s=active_s,
        ready_s=None if dice.random() < faults.broken_cuda else ready_s,
        unhealthy_s=fails_s if dice.random() < faults.unhealthy else None,
        preempted_s=fails_s if dice.random() < faults.preempted else None,
    )
