"""What may be spent: a sum that the running machines never pass, and one that no 24 hours pass.

A machine cannot be stopped in no time: it finishes its work first. So the money for that is set aside for every machine
that runs, and machines go while there is still enough of it.
"""

from dataclasses import dataclass, replace

from kernelport.config.scaling import Budget
from kernelport_ops.autoscale.ledger import DAY_S, Ledger

HOUR_S = 3600.0
# A machine is launched only if it can be paid this long.
WORTHWHILE_S = 900.0
# What it may take from the decision to end a machine until it is not paid for any more, beside finishing its work: a
# few looks, a provider that has to be asked twice, and the minute that is begun.
END_S = 180.0


@dataclass(frozen=True)
class Purse:
    """What can be spent at one moment.

    Attributes:
        budget: None for no bounds.
        rate: dollars an hour of the machines that run.
        spent: dollars of the last 24 hours.
        stop_s: seconds that workers have to finish their work.
    """

    budget: Budget | None
    rate: float
    spent: float
    stop_s: float

    @classmethod
    def of(cls, budget: Budget | None, ledger: Ledger, stop_s: float, now: float) -> "Purse":
        """What a ledger leaves."""
        rate = sum(entry.price for entry in ledger.live)
        # A day ahead of the moment at which the money would be spent is a little less than a day ago.
        return cls(budget, rate, ledger.spent(now, now - DAY_S), stop_s)

    def with_machine(self, price: float) -> "Purse":
        """What can be spent beside one more machine, at `price` dollars an hour."""
        return replace(self, rate=self.rate + price)

    def refusal(self, price: float) -> str | None:
        """Why no machine at `price` dollars an hour can be launched; None when one can."""
        if self.budget is None:
            return None
        if self.rate + price > self.budget.per_hour + 1e-9:
            return f"${self.rate:.2f}/h run, ${price:.2f}/h more would pass ${self.budget.per_hour:.2f}/h"
        needed = self._needed(self.rate + price, WORTHWHILE_S + self.stop_s + END_S)
        if self.spent + needed > self.budget.per_day:
            return f"${self.spent:.2f} of ${self.budget.per_day:.2f} a day are spent"
        return None

    def must_drain(self) -> bool:
        """Whether machines have to finish and go now."""
        return self._over(self.stop_s + 2 * END_S)

    def must_end(self) -> bool:
        """Whether machines have to end now, finished or not."""
        return self._over(END_S)

    def _over(self, ahead_s: float) -> bool:
        return (
            self.budget is not None
            and self.rate > 0
            and self.spent + self._needed(self.rate, ahead_s) > self.budget.per_day
        )

    def _needed(self, rate: float, seconds: float) -> float:
        return rate * (seconds + 60) / HOUR_S
