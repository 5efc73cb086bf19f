"""`make check-images`: what the Dockerfile installs, installed; and the services run from it.

A machine with a Docker engine says more with `docker compose build`. This needs none: each image's environment is made
by the Dockerfile's own lines, from a copy of what the Dockerfile copies, with nothing else in it. It takes minutes and
some gigabytes, so it is no part of `make test`.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kernelport import Client
from tests.compose import resolve
from tests.compose.dockerfile import pip_install, stages, target_of
from tests.compose.running import Host
from tests.compose.test_images import TARGETS
from tests.compose.test_services import push_through

pytestmark = pytest.mark.timeout(1800)
# What an image must not carry.
WITHOUT = {
    "front-door": ["torch", "onnxruntime", "helion", "hibari"],
    "onnx-cpu": ["torch", "helion", "flower"],
    "helion-gpu": ["onnxruntime", "hibari", "flower"],
    "luxtts-gpu": ["hibari", "flower"],
    "luxtts-cpu": ["hibari", "flower"],
}


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The environment of each image, as its build stage makes it."""
    source = tmp_path_factory.mktemp("src")
    for word, text in stages()["build"].instructions:
        if word == "COPY":
            *names, target = text.split()
            for name in names:
                origin, destination = resolve.REPOSITORY / name, source / target
                if origin.is_dir():
                    shutil.copytree(origin, destination, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(origin, destination)
    made = {}
    for target in TARGETS:
        made[target] = tmp_path_factory.mktemp(target)
        subprocess.run([sys.executable, "-m", "venv", made[target]], check=True)
        subprocess.run([made[target] / "bin" / "pip", *pip_install(target)], cwd=source, check=True)
    return made


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_carries_what_it_needs_and_no_more(environments: dict[str, Path], target: str) -> None:
    find = "import importlib.util, sys; print([name for name in sys.argv[1:] if importlib.util.find_spec(name)])"
    python = environments[target] / "bin" / "python"
    found = subprocess.run([python, "-c", find, *WITHOUT[target]], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
    subprocess.run([environments[target] / "bin" / "pip", "check"], check=True)
    size = sum(file.lstat().st_size for file in environments[target].rglob("*") if file.is_file())
    print(f"{target}: {size / 2**20:.0f} MiB")


def test_the_services_run_from_their_images(environments: dict[str, Path], tmp_path: Path) -> None:
    def binaries(image: str) -> Path:
        return environments[target_of(image)] / "bin" if image.startswith("kernelport-") else Path("/")

    gpu, cpu = (resolve.resolve(files)["services"] for files in (resolve.DEFAULT, resolve.CPU))
    host = Host(tmp_path, binaries)
    with (
        host.running({**cpu, "gpu-worker": gpu["gpu-worker"]}),
        Client(f"127.0.0.1:{host.front_door_port}", timeout_s=60) as client,
    ):
        push_through(client, ["identity-onnx", "hibari-en", "helion-demo"])


def test_the_luxtts_image_says_what_is_missing_before_the_fetch(environments: dict[str, Path], tmp_path: Path) -> None:
    check = subprocess.run(
        [environments["luxtts-gpu"] / "bin" / "python", "-m", "kernelport_workers.check"],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "model-fetch" in check.stdout
