"""The metrics of several front doors as those of one: which of them answered a call is of no interest."""

import operator
import threading
import urllib.request
from collections.abc import Callable, Iterable

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from kernelport.telemetry import metrics
from kernelport.telemetry.known import KnownCounter

PATIENCE_S = 2.0
_STARTED = "process_start_time_seconds"
# When a counter began says nothing of a sum.
_CREATED = "_created"
# Gauges of what each process has of its own.
_OWN = {
    metrics.WAITING.name,
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "process_open_fds",
}
_LEAST = {metrics.REDIS_UP.name, _STARTED}
_COUNTED_ELSEWHERE = {each.name for each in vars(metrics).values() if isinstance(each, KnownCounter)}


class AddedMetrics(Collector):
    """What all front doors show together.

    Counters and histograms are added up, and so are gauges of what each has of its own. Of what they all read in one
    place, such as in Redis, the greatest value is shown; `kernelport_redis_up` is 1 when all of them say so.

    Args:
        addresses: host:port at which each shows its own.
    """

    def __init__(self, addresses: Iterable[str]) -> None:
        self._last: dict[str, list[Metric]] = {address: [] for address in addresses}
        # Of processes that have ended. Without them a sum would fall when a front door is started again, which is taken
        # for a sum that began at zero.
        self._ended: list[Metric] = []
        self._lock = threading.Lock()

    def describe(self) -> list[Metric]:
        """Nothing: what there is depends on what they show."""
        return []

    def collect(self) -> list[Metric]:
        """The metrics as they are now; of a front door that shows none at the moment, what it had counted."""
        with self._lock:
            now: list[Metric] = []
            for address, last in self._last.items():
                if shown := _shown(address):
                    if _started(shown) != _started(last):
                        self._ended = _folded([*self._ended, *filter(_is_counted, last)])
                    self._last[address] = shown
                now += shown or filter(_is_counted, last)
            return _folded([*self._ended, *now])


def _shown(address: str) -> list[Metric]:
    """What a front door shows; nothing when it does not run just now."""
    try:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=PATIENCE_S) as answer:
            text = answer.read().decode()
    except OSError:
        return []
    return [family for family in text_string_to_metric_families(text) if not family.name.endswith(_CREATED)]


def _started(shown: Iterable[Metric]) -> float:
    """When the process began that shows this, in Unix seconds; 0 where that is not told."""
    return next((family.samples[0].value for family in shown if family.name == _STARTED), 0.0)


def _folded(families: Iterable[Metric]) -> list[Metric]:
    """One family of each name, with what becomes of the values of those that have the same labels."""
    described: dict[str, Metric] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for family in families:
        described.setdefault(family.name, family)
        known, together = values.setdefault(family.name, {}), _together(family)
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            known[key] = together(known[key], sample.value) if key in known else sample.value
    return [_family(described[name], known) for name, known in values.items()]


def _family(like: Metric, values: dict[tuple[str, tuple[tuple[str, str], ...]], float]) -> Metric:
    family = Metric(like.name, like.documentation, like.type)
    for (name, labels), value in values.items():
        family.add_sample(name, dict(labels), value)
    return family


def _together(family: Metric) -> Callable[[float, float], float]:
    """What the values of two processes are together."""
    if _is_counted(family) or family.name in _OWN:
        return operator.add
    return min if family.name in _LEAST else max


def _is_counted(family: Metric) -> bool:
    """Whether each process counts this by itself."""
    return family.type in ("counter", "histogram") and family.name not in _COUNTED_ELSEWHERE
