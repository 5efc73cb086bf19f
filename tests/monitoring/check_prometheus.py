"""`make check-monitoring`: a real Prometheus, with the rules and targets of this repository, on a real stack.

Needs `prometheus` and `promtool` on PATH (Debian's package `prometheus` has both), so it is no part of `make test`.
"""

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from kernelport import Client
from kernelport.settings import bundled_deployments
from kernelport.stack import Stack
from kernelport.stack.stack import free_port
from tests.conftest import START_TIMEOUT_S, stack_settings
from tests.monitoring.expressions import OPS, dashboard_queries, rules
from tests.stack.test_metrics import two_free_ports
from tests.waiting import wait_for

LOAD_S = 45
# Nothing dies, expires or comes back in this run, and its Redis has no limit.
EMPTY = {"What comes back", "Given up", "Redis memory"}


def test_promtool_finds_nothing_and_every_alert_fires_when_it_should() -> None:
    for arguments in (("check", "config", "prometheus.yml"), ("test", "rules", "rules_test.yml")):
        subprocess.run(["promtool", *arguments], cwd=OPS / "prometheus", check=True)


def test_every_panel_has_something_to_show(tmp_path: Path) -> None:
    port, listen = two_free_ports(), f"127.0.0.1:{free_port()}"
    config = tmp_path / "prometheus"
    shutil.copytree(OPS / "prometheus", config)
    (config / "targets").mkdir(exist_ok=True)
    targets = [{"targets": [f"127.0.0.1:{port}", f"127.0.0.1:{port + 1}"]}]
    (config / "targets" / "here.yml").write_text(yaml.safe_dump(targets))
    settings = replace(stack_settings(bundled_deployments()), metrics_listen=f"127.0.0.1:{port}")
    command = ["prometheus", f"--config.file={config / 'prometheus.yml'}", f"--web.listen-address={listen}"]
    with Stack(settings, ["identity-onnx"], tmp_path / "state") as stack, Client(stack.target) as client:
        stack.wait_ready(START_TIMEOUT_S)
        prometheus = subprocess.Popen([*command, f"--storage.tsdb.path={tmp_path / 'data'}", "--log.level=error"])
        try:
            wait_for(lambda: _up(listen) == 2, what="both targets up")
            _load(client, LOAD_S)
            empty = {panel for panel, query in dashboard_queries() if not _query(listen, query)}
            loaded = {rule["name"] for group in _get(listen, "rules")["groups"] for rule in group["rules"]}
        finally:
            prometheus.terminate()
            prometheus.wait(30)
    assert empty <= EMPTY
    assert loaded == {rule["alert"] for rule in rules()}


def _load(client: Client, seconds: float) -> None:
    """Callers by turns many and few."""
    x = np.ones((1, 1, 2, 2), np.float32)
    ends_at = time.monotonic() + seconds
    with ThreadPoolExecutor(8) as pool:
        while time.monotonic() < ends_at:
            list(pool.map(lambda _: client.infer("identity-onnx", {"x": x}), range(50)))
            time.sleep(0.2)


def _up(listen: str) -> int:
    try:
        return len(_query(listen, "up == 1"))
    except OSError:
        return 0


def _query(listen: str, query: str) -> list[Any]:
    result: list[Any] = _get(listen, f"query?query={urllib.parse.quote(query)}")["result"]
    return result


def _get(listen: str, path: str) -> Any:
    with urllib.request.urlopen(f"http://{listen}/api/v1/{path}", timeout=10) as response:
        return json.load(response)["data"]
