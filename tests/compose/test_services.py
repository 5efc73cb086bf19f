"""Each service's command, as a process with the environment of its container, until all of them are healthy."""

import base64
import json
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernelport import Client
from kernelport.certificates.making import Authority
from tests.compose import resolve
from tests.compose.running import Host
from tests.http.calls import ask
from tests.waiting import wait_for


@pytest.mark.thorough
@pytest.mark.timeout(300)  # six processes on a machine that may have other things to do
def test_the_services_come_up_healthy_serve_and_stop_cleanly(tmp_path: Path) -> None:
    gpu, cpu = (resolve.resolve(files)["services"] for files in (resolve.DEFAULT, resolve.CPU))
    services = {**cpu, "gpu-worker": gpu["gpu-worker"]}
    host = Host(tmp_path)
    target = f"127.0.0.1:{host.front_door_port}"
    with host.running(services) as processes, Client(target, timeout_s=60, api_key=first_key(host)) as client:
        push_through(client, ["identity-onnx", "hibari-en", "helion-demo"])
        speak_over_http(host)
        # Flower asks workers for their events every five seconds.
        tasks = wait_for(lambda: push_through(client, ["identity-onnx"]) or flower_tasks(host))
    assert {name: process.returncode for name, process in processes.items()} == dict.fromkeys(services, 0)
    assert all(task["name"] == "kernelport.infer" for task in tasks.values())
    for name in ("front-door", "gpu-worker", "worker-identity-onnx", "worker-hibari-en"):
        for line in host.log(name).splitlines():
            assert {"time", "level", "logger", "message"} <= set(json.loads(line))
    assert password(host) not in host.log("flower")


def test_a_front_door_that_speaks_tls_is_healthy_by_the_check_of_its_image(tmp_path: Path) -> None:
    services = resolve.resolve(resolve.CPU)["services"]
    certificate, key = Authority(tmp_path / "certs").server(["127.0.0.1"])
    front_door = services["front-door"]
    front_door["environment"] |= {"KERNELPORT_TLS_CERT": str(certificate), "KERNELPORT_TLS_KEY": str(key)}
    host = Host(tmp_path)
    with (
        host.running({"redis": services["redis"], "front-door": front_door}),
        Client(
            f"127.0.0.1:{host.front_door_port}", tls_ca=str(tmp_path / "certs" / "ca.crt"), api_key=first_key(host)
        ) as client,
    ):
        assert client.deployments()


def push_through(client: Client, deployments: list[str]) -> None:
    """A request to each deployment, and a look at its answer."""
    x = np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)
    if "identity-onnx" in deployments:
        assert np.array_equal(client.infer("identity-onnx", {"x": x})["y"], x)
    if "hibari-en" in deployments:
        assert client.speak("hibari-en", "Good morning.").seconds > 0.3
    if "helion-demo" in deployments:
        y = client.infer("helion-demo", {"x": x.reshape(2, 2)})["y"]
        assert np.allclose(y.sum(axis=1), 1)


def speak_over_http(host: Host) -> None:
    """A request as a container beside the front door's makes it."""
    url, said = f"http://127.0.0.1:{host.http_port}", {"model": "tts-1", "input": "Good morning."}
    headers = {"Host": "front-door:8000", "Authorization": f"Bearer {first_key(host)}"}
    assert ask(url, "POST", "/v1/audio/speech", said, headers).status == 200
    assert ask(url, "POST", "/v1/audio/speech", said).status == 401
    assert ask(url, "GET", "/health", headers={"Host": "other:8000"}).status == 403


def first_key(host: Host) -> str:
    """The key that the front door's first start made, as the compose file says to read it."""
    return (host.scratch / "state" / "keys" / "first").read_text().strip()


def flower_tasks(host: Host) -> Any:
    """The tasks that Flower knows of from their start, by id; empty while there are none."""
    credentials = base64.b64encode(f"kernelport:{password(host)}".encode()).decode()
    url = f"http://127.0.0.1:{host.flower_port}/api/tasks"
    request = urllib.request.Request(url, headers={"Authorization": f"Basic {credentials}"})
    with urllib.request.urlopen(request, timeout=10) as response:
        return {task_id: task for task_id, task in json.load(response).items() if task["received"]}


def password(host: Host) -> str:
    """The password that the container's first start made, as the docs say to read it."""
    where = host.scratch / "state" / "flower" / "password"
    return subprocess.run(["cat", where], capture_output=True, text=True, check=True).stdout
