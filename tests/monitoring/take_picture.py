"""`python -m tests.monitoring.take_picture docs/prometheus.png`: Prometheus beside a stack under load, in a browser.

Three deployments are asked in waves; the worker of one is killed in the middle. Needs `prometheus` and `chromium`.
"""

import math
import os
import signal
import subprocess
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from kernelport import Client
from kernelport.config.settings import bundled_deployments
from kernelport.supervisor.stack import Stack
from tests.conftest import BUNDLED, START_TIMEOUT_S, stack_settings
from tests.monitoring.running import prometheus
from tests.stack.test_metrics import free_ports

VICTIM = "hibari-en"
LOAD_S, KILLED_AFTER_S, SHOWN = 110.0, 60.0, "2m"
WAVE_S = 40.0
GRAPHS = (
    "sum by (deployment, status) (rate(kernelport_requests_total[15s]))",
    "histogram_quantile(0.99, sum by (le, deployment) (rate(kernelport_request_seconds_bucket[30s])))",
)
# The page asks Prometheus for its series once it has been drawn.
PATIENCE_MS = 15_000


def _ask(target: str, deployment: str, inputs: dict[str, Any], share: Callable[[float], float], until_s: float) -> None:
    """Calls, one after the other, with pauses that grow and shrink."""
    started = time.monotonic()
    with Client(target, timeout_s=60) as client:
        while (passed_s := time.monotonic() - started) < until_s:
            client.infer(deployment, inputs)
            time.sleep(share(passed_s))


@click.command()
@click.argument("picture", type=click.Path(path_type=Path, dir_okay=False))
def main(picture: Path) -> None:
    """Writes PICTURE."""
    port = free_ports(1 + len(BUNDLED))
    settings = replace(stack_settings(bundled_deployments()), metrics_listen=f"127.0.0.1:{port}")
    text = np.frombuffer(b"Would the fall never come to an end?", np.uint8)
    asked: dict[str, dict[str, Any]] = {
        "identity-onnx": {"x": np.ones((1, 1, 2, 2), np.float32)},
        "helion-demo": {"x": np.ones((2, 8), np.float32)},
        VICTIM: {"text": text},
    }

    def pause_s(passed_s: float) -> float:
        return 0.02 + 0.1 * math.sin(math.pi * passed_s / WAVE_S) ** 2

    with (
        tempfile.TemporaryDirectory() as name,
        Stack(settings, BUNDLED, Path(name) / "state") as stack,
        prometheus(Path(name), [f"127.0.0.1:{port + index}" for index in range(1 + len(BUNDLED))]) as listen,
    ):
        stack.wait_ready(START_TIMEOUT_S)
        callers = [
            threading.Thread(target=_ask, args=(stack.target, deployment, inputs, pause_s, LOAD_S))
            for deployment, inputs in asked.items()
            for _ in range(2)
        ]
        for caller in callers:
            caller.start()
        time.sleep(KILLED_AFTER_S)
        pid = stack.children[f"worker-{VICTIM}"].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        for caller in callers:
            caller.join()
        _shoot(f"http://{listen}/graph?{_graphs()}", picture, Path(name))


def _graphs() -> str:
    return "&".join(
        f"g{index}.{key}={urllib.parse.quote(value)}"
        for index, query in enumerate(GRAPHS)
        for key, value in {"expr": query, "tab": "0", "range_input": SHOWN, "step_input": "1"}.items()
    )


def _shoot(url: str, picture: Path, folder: Path) -> None:
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1000,1568"]
    profile = f"--user-data-dir={folder / 'profile'}"
    wait = f"--virtual-time-budget={PATIENCE_MS}"
    subprocess.run(["chromium", *options, profile, wait, f"--screenshot={picture.absolute()}", url], check=True)


if __name__ == "__main__":
    main()
