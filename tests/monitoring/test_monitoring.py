"""Alerts and dashboards read metrics that exist, and find the processes that show them."""

import json
import re

import pytest
import yaml

from tests.compose import resolve
from tests.monitoring.expressions import (
    DASHBOARDS,
    OPS,
    dashboard_queries,
    existing_metrics,
    metric_names,
    rules,
)

PROMETHEUS = yaml.safe_load((OPS / "prometheus" / "prometheus.yml").read_text())


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_an_alert_reads_metrics_that_exist_and_names_its_runbook(rule: dict[str, object]) -> None:
    names = metric_names(str(rule["expr"]))
    assert names
    assert names <= existing_metrics()
    annotations = rule["annotations"]
    assert isinstance(annotations, dict)
    assert annotations["summary"]
    file, _, anchor = annotations["runbook"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (resolve.REPOSITORY / file).read_text(), re.MULTILINE)
    assert anchor in {heading.lower().replace(" ", "-") for heading in headings}


def test_every_alert_is_tested() -> None:
    cases = yaml.safe_load((OPS / "prometheus" / "rules_test.yml").read_text())["tests"]
    fired = {case["alertname"] for test in cases for case in test["alert_rule_test"] if case["exp_alerts"]}
    assert fired == {rule["alert"] for rule in rules()}


def test_a_dashboard_shows_metrics_that_exist() -> None:
    queries = list(dashboard_queries())
    assert len(queries) > 20
    wrong = {(panel, name) for panel, query in queries for name in metric_names(query) - existing_metrics()}
    assert not wrong


def test_a_query_that_is_none_and_a_metric_that_is_not_there_are_found() -> None:
    with pytest.raises(ValueError, match="unclosed"):
        metric_names("sum by (deployment (kernelport_waiting_requests)")
    assert metric_names("rate(kernelport_requests[1m]) / sum(up)") - existing_metrics() == {"kernelport_requests"}


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: str(file.name))
def test_a_dashboard_finds_its_datasource_and_its_panels_do_not_overlap(file) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    dashboard = json.loads(file.read_text())
    datasources = yaml.safe_load((OPS / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    uids = {source["uid"] for source in datasources}
    cells: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        covered = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not covered & cells
        assert place["x"] + place["w"] <= 24
        cells |= covered
        assert {target["datasource"]["uid"] for target in panel.get("targets", [])} <= uids
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_grafana_is_given_its_datasource_and_dashboards() -> None:
    services = resolve.resolve(resolve.MONITORED)["services"]
    mounts = dict(volume.split(":")[:2][::-1] for volume in services["grafana"]["volumes"])
    (provider,) = yaml.safe_load((OPS / "grafana/provisioning/dashboards/kernelport.yml").read_text())["providers"]
    dashboards = resolve.COMPOSE / mounts[provider["options"]["path"]]
    assert sorted(dashboards.resolve().glob("*.json")) == DASHBOARDS
    assert (resolve.COMPOSE / mounts["/etc/grafana/provisioning"]).resolve() == OPS / "grafana" / "provisioning"
    (source,) = yaml.safe_load((OPS / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"


@pytest.mark.parametrize("files", [resolve.MONITORED, resolve.CPU_MONITORED], ids=" ".join)
def test_prometheus_finds_every_front_door_and_worker(files: tuple[str, ...]) -> None:
    model = resolve.resolve(files)
    aliases = {name: {name, *_aliases(service)} for name, service in model["services"].items()}
    scraped = {
        (name, config["port"])
        for job in PROMETHEUS["scrape_configs"]
        for config in job.get("dns_sd_configs", [])
        for name in config["names"]
    }
    showing = {name: service for name, service in model["services"].items() if "METRICS" in str(service["environment"])}
    assert len(showing) == 1 + len(resolve.workers(model))
    for name, service in showing.items():
        port = int(service["environment"]["KERNELPORT_METRICS_LISTEN"].rpartition(":")[2])
        assert any((alias, port) in scraped for alias in aliases[name])


def _aliases(service: dict[str, dict[str, dict[str, list[str]]]]) -> list[str]:
    return service.get("networks", {}).get("default", {}).get("aliases", [])
