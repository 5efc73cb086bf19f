"""A real Prometheus with the configuration of this repository."""

import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from kernelport.supervisor.ports import free_port
from tests.monitoring.expressions import OPS
from tests.waiting import wait_for


@contextmanager
def prometheus(folder: Path, targets: Sequence[str]) -> Iterator[str]:
    """Runs it until the block ends, scraping `targets`; gives its address once all of them are up."""
    listen = f"127.0.0.1:{free_port()}"
    config = folder / "prometheus"
    shutil.copytree(OPS / "prometheus", config)
    (config / "targets" / "here.yml").write_text(yaml.safe_dump([{"targets": list(targets)}]))
    command = ["prometheus", f"--config.file={config / 'prometheus.yml'}", f"--web.listen-address={listen}"]
    process = subprocess.Popen([*command, f"--storage.tsdb.path={folder / 'data'}", "--log.level=error"])
    try:
        wait_for(lambda: _up(listen) == len(targets), 60, "all targets up")
        yield listen
    finally:
        process.terminate()
        process.wait(30)


def query(listen: str, text: str) -> list[Any]:
    """What a query gives now."""
    result: list[Any] = get(listen, f"query?query={urllib.parse.quote(text)}")["result"]
    return result


def get(listen: str, path: str) -> Any:
    """What its API says."""
    with urllib.request.urlopen(f"http://{listen}/api/v1/{path}", timeout=10) as response:
        return json.load(response)["data"]


def _up(listen: str) -> int:
    try:
        return len(query(listen, "up == 1"))
    except OSError:
        return 0
