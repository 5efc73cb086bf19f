"""The PromQL of alerts and dashboards, and the names of the metrics that exist."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import yaml
from prometheus_client import Counter, Histogram

from kernelport.telemetry import metrics
from kernelport.telemetry.known import KnownCounter, KnownGauge

OPS = Path(__file__).resolve().parents[2] / "ops"
RULES = OPS / "prometheus" / "rules.yml"
DASHBOARDS = sorted((OPS / "grafana" / "dashboards").glob("*.json"))
# What prometheus_client adds of its own, and Prometheus.
OF_PROCESSES = {"process_resident_memory_bytes", "process_cpu_seconds_total", "up"}
_SUFFIXES: dict[type, tuple[str, ...]] = {
    Counter: ("_total",),
    KnownCounter: ("_total",),
    KnownGauge: ("",),
    Histogram: ("_bucket", "_sum", "_count"),
}


def rules() -> list[dict[str, Any]]:
    """The alerts."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def dashboard_queries() -> Iterator[tuple[str, str]]:
    """Panel and query of every dashboard, with values in place of Grafana's variables."""
    for file in DASHBOARDS:
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel.get("targets", []):
                query = target["expr"].replace("$__rate_interval", "1m").replace("$deployment", ".*")
                yield panel["title"], query


def metric_names(query: str) -> set[str]:
    """The metrics that a query reads.

    Raises:
        ValueError: when it is no PromQL.
    """
    return set(_names(promql_parser.parse(query)))


def _names(node: Any) -> Iterator[str]:
    if isinstance(node, promql_parser.VectorSelector):
        yield node.name
    for name in ("expr", "lhs", "rhs", "vector_selector"):
        child = getattr(node, name, None)
        if child is not None:
            yield from _names(child)
    for argument in getattr(node, "args", None) or ():
        yield from _names(argument)


def existing_metrics() -> set[str]:
    """The series that the processes show."""
    names = set(OF_PROCESSES)
    for metric in vars(metrics).values():
        if isinstance(metric, Counter | Histogram | KnownGauge):
            (family,) = metric.describe()
            names |= {family.name + suffix for suffix in _SUFFIXES[type(metric)]}
    return names
