"""What a tenant, or a key, may use: its quotas. What is not set is not limited."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

from kernelport.config.values import parse_size
from kernelport.errors import ResourceExhaustedError

_MOST = 2**53  # what Lua counts to, one by one
# Those that each call is counted against, in the order in which the script has them.
CALL_QUOTAS = ("calls_a_second", "calls", "characters_a_day", "bytes_a_day")
_SIZES = ("bytes_a_day", "stored_bytes")


class QuotaError(ValueError):
    """A quota that is none, or has no such value; the message names it and what was expected."""


class QuotaExceededError(ResourceExhaustedError):
    """The caller has used what it may.

    Attributes:
        quota: its name.
        limit: its value.
        left: of it.
    """

    reason = "QUOTA_EXCEEDED"
    quota: str = ""
    limit: float = 0.0
    left: float = 0.0

    @classmethod
    def by(cls, holder: str, quota: str, limit: float, used: float, retry_after_s: float | None) -> Self:
        """The error of one more than a tenant, or a key, may have.

        Args:
            retry_after_s: None when it would be too much at any time.
        """
        again = ""
        if retry_after_s is not None:
            again = f"; come again in {retry_after_s:,.{0 if retry_after_s >= 100 else 2}f} s"
        message = f"{quota}: {holder} may have {limit:,.15g}, and {used:,.15g} are used{again}"
        error = cls(message, retry_after_s=retry_after_s)
        error.quota, error.limit, error.left = quota, limit, max(0.0, limit - used)
        return error

    def about(self, what: str, so: str) -> "QuotaExceededError":
        """The same, told of something, with what has become of it."""
        error = QuotaExceededError(f"{what}: {self.message}; {so}", retry_after_s=self.retry_after_s)
        error.quota, error.limit, error.left = self.quota, self.limit, self.left
        return error


@dataclass(frozen=True)
class Quotas:
    """Each None where it is not limited. A day is one of UTC.

    Attributes:
        calls_a_second: calls that run a model. A quarter of a second's may come at once.
        calls: such calls at a time, streams among them.
        characters_a_day: of texts, in calls and items of jobs.
        bytes_a_day: of requests, and of items of jobs without what these share.
        items_waiting: of jobs that are not over.
        stored_bytes: of files that were uploaded, and outputs of jobs.
        voices: that are registered.
    """

    calls_a_second: float | None = None
    calls: int | None = None
    characters_a_day: int | None = None
    bytes_a_day: int | None = None
    items_waiting: int | None = None
    stored_bytes: int | None = None
    voices: int | None = None

    @classmethod
    def of(cls, given: Mapping[str, object]) -> Self:
        """Of values by name, as a file or a command line has them: 20, `1e6`, `10GiB`.

        Raises:
            QuotaError: when there is no such quota, or a value is none.
        """
        known = [each.name for each in fields(cls)]
        for name in given:
            if name not in known:
                raise QuotaError(f"quota: expected one of {', '.join(known)}; got {name!r}")
        return cls(**{name: _value(name, value) for name, value in given.items()})  # type: ignore[arg-type]

    def given(self) -> dict[str, float]:
        """Those that are set, by name."""
        return {each.name: value for each in fields(self) if (value := getattr(self, each.name)) is not None}

    def of_calls(self) -> list[float]:
        """Those that calls are counted against, as `CALL_QUOTAS` has them; -1 where there is no limit."""
        limits = (getattr(self, name) for name in CALL_QUOTAS)
        return [-1 if limit is None else limit for limit in limits]

    def of_day(self) -> tuple[float, float]:
        """The characters and the bytes of a day; -1 where there is no limit."""
        _, _, characters, size = self.of_calls()
        return characters, size

    @property
    def limit_calls(self) -> bool:
        """Whether calls have to be counted."""
        return any(limit >= 0 for limit in self.of_calls())

    @property
    def limit_stock(self) -> bool:
        """Whether it has to be looked at what is kept."""
        return not {"items_waiting", "stored_bytes", "voices"}.isdisjoint(self.given())


def _value(name: str, value: object) -> float:
    try:
        number = float(parse_size(str(value))) if name in _SIZES and not _is_number(value) else float(str(value))
    except ValueError:
        number = math.nan
    is_whole = number == number and math.isfinite(number) and number == int(number)
    if isinstance(value, bool) or not 0 <= number <= _MOST or not (is_whole or name == "calls_a_second"):
        expected = "a size such as 10GiB" if name in _SIZES else "a number such as 20 or 1e6"
        raise QuotaError(f"{name}: expected {expected}, at least 0, got {str(value)[:40]!r}")
    return number if name == "calls_a_second" else int(number)


def _is_number(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return True
