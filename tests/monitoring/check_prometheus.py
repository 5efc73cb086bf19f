"""`make check-monitoring`: a real Prometheus, with the rules and targets of this repository, on a real stack.

Needs `prometheus` and `promtool` on PATH (Debian's package `prometheus` has both), so it is no part of `make test`.
"""

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kernelport import Client, InternalError
from kernelport.config.settings import bundled_deployments
from kernelport.supervisor.stack import Stack
from tests.conftest import START_TIMEOUT_S, stack_settings
from tests.monitoring.expressions import OPS, dashboard_queries, rules
from tests.monitoring.running import get, prometheus, query
from tests.stack.models import pipeline, write_deployments
from tests.stack.test_metrics import free_ports
from tests.waiting import wait_for

LOAD_S = 45
DEATHS = 5
# Nothing dies, expires or fails in this run, its job is over, and its Redis has no limit.
EMPTY = {"What comes back", "Given up", "Redis memory", "Items that failed", "Oldest job"}


def test_promtool_finds_nothing_and_every_alert_fires_when_it_should() -> None:
    for arguments in (("check", "config", "prometheus.yml"), ("test", "rules", "rules_test.yml")):
        subprocess.run(["promtool", *arguments], cwd=OPS / "prometheus", check=True)


def test_every_panel_has_something_to_show(tmp_path: Path) -> None:
    port = free_ports(2)
    settings = replace(stack_settings(bundled_deployments()), metrics_listen=f"127.0.0.1:{port}")
    with Stack(settings, ["identity-onnx"], tmp_path / "state") as stack, Client(stack.target) as client:
        stack.wait_ready(START_TIMEOUT_S)
        with prometheus(tmp_path, [f"127.0.0.1:{port}", f"127.0.0.1:{port + 1}"]) as listen:
            job = client.jobs.submit("identity-onnx", [{"x": np.ones((1, 1, 2, 2), np.float32)}] * 10)
            client.jobs.wait(job.id)
            _load(client, LOAD_S)
            empty = {panel for panel, text in dashboard_queries() if not query(listen, text)}
            loaded = {rule["name"] for group in get(listen, "rules")["groups"] for rule in group["rules"]}
    assert empty <= EMPTY
    assert loaded == {rule["alert"] for rule in rules()}


def test_the_alert_of_redeliveries_fires_though_each_worker_that_took_one_is_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERNELPORT_TEST_JOURNAL", str(tmp_path / "journal"))
    port = free_ports(2)
    table = write_deployments(tmp_path, journal=pipeline("Journal", limits={"max_attempts": DEATHS}))
    settings = replace(stack_settings(table), metrics_listen=f"127.0.0.1:{port}", heartbeat_ttl_s=2.0)
    poison = {"number": np.array([1], np.int64), "seconds": np.array([-1], np.float32)}
    with Stack(settings, ["journal"], tmp_path / "state") as stack, Client(stack.target, timeout_s=120) as client:
        stack.wait_ready(START_TIMEOUT_S)
        with prometheus(tmp_path, [f"127.0.0.1:{port}", f"127.0.0.1:{port + 1}"]) as listen:
            with pytest.raises(InternalError, match="given up"):
                client.infer("journal", poison)
            expected = {"KernelPortRedeliveries", "KernelPortWorkerDeaths", "KernelPortDeadLetters"}
            wait_for(lambda: expected <= _firing(listen), 60, "the alerts")


def _firing(listen: str) -> set[str]:
    return {alert["labels"]["alertname"] for alert in get(listen, "alerts")["alerts"] if alert["state"] == "firing"}


def _load(client: Client, seconds: float) -> None:
    """Callers by turns many and few."""
    x = np.ones((1, 1, 2, 2), np.float32)
    ends_at = time.monotonic() + seconds
    with ThreadPoolExecutor(8) as pool:
        while time.monotonic() < ends_at:
            list(pool.map(lambda _: client.infer("identity-onnx", {"x": x}), range(50)))
            time.sleep(0.2)
