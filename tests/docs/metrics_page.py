"""`python -m tests.docs.metrics_page` writes docs/metrics.md, the catalogue of kernelport/telemetry/metrics.py."""

import inspect
import re
from collections.abc import Iterator

from prometheus_client import Counter, Histogram

from kernelport.telemetry import metrics
from kernelport.telemetry.known import KnownGauge
from tests.docs.pages import REPOSITORY

PAGE = REPOSITORY / "docs" / "metrics.md"
_SECTION = re.compile(r"# ((?:In|At) .+)\.")
_DEFINED = re.compile(r"([A-Z_]+) = (?:Counter|Histogram|KnownCounter|KnownGauge)\(")
_INTRODUCTION = """# Metrics

What each process shows to Prometheus where it is told `--metrics-listen` or `KERNELPORT_METRICS_LISTEN`. How to scrape
it, the alerts and the dashboards are in [operations.md](operations.md#monitoring).

- Times are in seconds, sizes in bytes. A histogram has the series `_bucket`, `_sum` and `_count`.
- Labels are bounded: `deployment` is a name of the deployments file, or `(unknown)` for all that are not there;
  `method` is one of the services', or a route of HTTP as it is declared; `status` is one of gRPC's codes, or of HTTP's;
  `tenant` is one of the first hundred tenants that a process has to do with, or `(others)`; the rest is said beside the
  metric. What else tenants have used, by day, is in [usage](security.md#usage).
- What cannot be known now is not shown: while Redis is away, nothing that only it can tell. So alerts about what is not
  there stand beside `KernelPortRedisDown` and `KernelPortTargetDown`.
- What Redis counts survives the process that saw it. Every front door shows the same number: take the `max`, not the
  `sum`.
"""


def page() -> str:
    """The page as the module has it."""
    return "\n".join([_INTRODUCTION.rstrip(), *_sections(), ""])


def _sections() -> Iterator[str]:
    for line in inspect.getsource(metrics).splitlines():
        if section := _SECTION.fullmatch(line):
            yield f"\n## {section[1]}\n\n| metric | type | labels | what it tells |\n|---|---|---|---|"
        elif defined := _DEFINED.match(line):
            yield _row(getattr(metrics, defined[1]))


def _row(metric: Counter | Histogram | KnownGauge) -> str:
    (family,) = metric.describe()
    name = f"{family.name}_total" if family.type == "counter" else family.name
    labels = ", ".join(f"`{label}`" for label in _labels(metric))
    return f"| `{name}` | {family.type} | {labels} | {family.documentation} |"


def _labels(metric: Counter | Histogram | KnownGauge) -> tuple[str, ...]:
    return metric.labels if isinstance(metric, KnownGauge) else tuple(metric._labelnames)


if __name__ == "__main__":
    PAGE.write_text(page())
