"""Flower beside the stack: who may look, what it shows, and what it keeps."""

import json
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernelport import Client
from kernelport.config.settings import SettingsError, bundled_deployments
from kernelport.supervisor.flower import PASSWORD_VARIABLE, USER, FlowerNotFoundError, flower_environment
from kernelport.supervisor.ports import free_port
from kernelport.supervisor.stack import Stack
from tests.conftest import START_TIMEOUT_S, stack_settings
from tests.waiting import wait_for


def test_flower_shows_tasks_to_those_who_know_the_password_and_keeps_them(tmp_path: Path) -> None:
    said: list[str] = []
    environment = flower_environment(f"127.0.0.1:{free_port()}", tmp_path, said.append)
    url, password = f"http://127.0.0.1:{environment['FLOWER_PORT']}", (tmp_path / "flower" / "password").read_text()
    x = np.ones((1, 1, 2, 2), np.float32)
    settings = stack_settings(bundled_deployments())
    with Stack(settings, ["identity-onnx"], tmp_path, flower=environment) as stack, Client(stack.target) as client:
        stack.wait_ready(START_TIMEOUT_S)

        def one_more_task() -> Any:
            client.infer("identity-onnx", {"x": x})
            shown = _get(f"{url}/api/tasks", password) or {}
            # Of the task that ran while Flower asked for events, it knows only the end.
            return {task_id: task for task_id, task in shown.items() if task["received"]}

        tasks = wait_for(one_more_task)
        wait_for(lambda: {line.state for line in stack.status()} == {"serving"}, what="flower shown as serving")
        for path in (
            "/",
            "/tasks",
            "/api/tasks",
            "/metrics",
            "/healthcheck",
            "/static/js/flower.js",
            "/login",
            "/none",
        ):
            assert _status(url + path, "wrong") == 401
        assert _status(f"{url}/metrics", password) == 200
        (worker,) = {task["worker"] for task in tasks.values()}
        assert worker.startswith("identity-onnx-")
        assert _status(f"{url}/api/worker/shutdown/{worker}", password, method="POST") == 403
        flower = stack.children["flower"].pid
        assert password.encode() not in Path(f"/proc/{flower}/cmdline").read_bytes(), "for `ps` to see"
    for task in tasks.values():
        assert (task["name"], task["args"]) == ("kernelport.infer", "('identity-onnx', 1 request)")

    with Stack(settings, [], tmp_path, flower=environment):
        kept = wait_for(lambda: _get(f"{url}/api/tasks", password))
    assert set(tasks) <= set(kept)


def test_a_password_is_made_once_kept_for_its_owner_and_not_said(tmp_path: Path) -> None:
    said: list[str] = []
    first, second = (flower_environment("127.0.0.1:5555", tmp_path, said.append) for _ in range(2))
    file = tmp_path / "flower" / "password"
    password = file.read_text()
    assert len(password) > 20
    assert first["FLOWER_BASIC_AUTH"] == second["FLOWER_BASIC_AUTH"] == f"{USER}:{password}"
    assert file.stat().st_mode & 0o777 == 0o600
    assert "new password kept in" in said[0]
    assert "password in" in said[1]
    assert password not in "".join(said), "the output of a test is no terminal"


def test_a_password_can_be_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "open sesame")
    environment = flower_environment("127.0.0.1:5555", tmp_path, print)
    assert environment["FLOWER_BASIC_AUTH"] == f"{USER}:open sesame"
    assert not (tmp_path / "flower" / "password").exists()
    monkeypatch.setenv(PASSWORD_VARIABLE, "one,two")
    with pytest.raises(SettingsError, match=f"{PASSWORD_VARIABLE}: expected a password without a comma"):
        flower_environment("127.0.0.1:5555", tmp_path, print)


def test_without_flower_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FlowerNotFoundError, match=r"'\.\[flower\]'"):
        flower_environment("127.0.0.1:5555", tmp_path, print)


def _get(url: str, password: str) -> Any:
    try:
        with urllib.request.urlopen(_request(url, password), timeout=10) as response:
            return json.load(response)
    except urllib.error.URLError as error:
        if isinstance(error.reason, OSError):  # not up yet
            return None
        raise


def _status(url: str, password: str, method: str = "GET") -> int:
    try:
        with urllib.request.urlopen(_request(url, password, method), timeout=10) as response:
            status: int = response.status
            return status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def _request(url: str, password: str, method: str = "GET") -> urllib.request.Request:
    credentials = b64encode(f"{USER}:{password}".encode()).decode()
    return urllib.request.Request(url, headers={"Authorization": f"Basic {credentials}"}, method=method)
