"""Metrics of what was read somewhere, such as in Redis, rather than counted by the process itself."""

from collections.abc import Iterable, Mapping

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class KnownGauge(Collector):
    """A gauge of what was read somewhere: nothing is shown until it is, nor once it cannot be read any more.

    Attributes:
        name: of the metric; of a counter without `_total`.
        labels: their names.

    Args:
        name: as the attribute.
        documentation: what it tells.
    """

    _family: type[GaugeMetricFamily | CounterMetricFamily] = GaugeMetricFamily

    def __init__(self, name: str, documentation: str, labels: tuple[str, ...] = ()) -> None:
        self.name: str = name
        self._documentation = documentation
        self.labels: tuple[str, ...] = labels
        self._values: Mapping[tuple[str, ...], float] = {}
        self._zeros: Iterable[str] = ()
        REGISTRY.register(self)

    def set(self, value: float, *labels: str) -> None:
        """Shows a value beside those of other labels."""
        self._values = {**self._values, labels: value}

    def show(self, values: Mapping[tuple[str, ...], float]) -> None:
        """Shows these values and no others."""
        self._values, self._zeros = values, ()

    def show_by_name(self, values: Mapping[str, float], names: Iterable[str]) -> None:
        """Shows the values of its one label: of these names and no others, and 0 where nothing is said of one."""
        self._values, self._zeros = {(name,): value for name, value in values.items() if name in names}, names

    def forget(self) -> None:
        """Shows nothing until something is known again."""
        self.show({})

    def value(self, *labels: str) -> float | None:
        """What is shown; None for nothing."""
        return self._values.get(labels)

    def describe(self) -> list[Metric]:
        """The metric without values: names are registered by it."""
        return [self._family(self.name, self._documentation, labels=self.labels)]

    def collect(self) -> list[Metric]:
        """The metric as it is now."""
        family = self._family(self.name, self._documentation, labels=self.labels)
        values = self._values
        for name in list(self._zeros):  # of thousands, most are 0 most of the time: they cost a look at them only
            if (name,) not in values:
                family.add_metric((name,), 0.0)
        for labels, value in values.items():
            family.add_metric(labels, value)
        return [family]


class KnownCounter(KnownGauge):
    """The same of what is counted elsewhere."""

    _family = CounterMetricFamily
