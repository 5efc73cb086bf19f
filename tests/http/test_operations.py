"""What there is to see of a stack: figures, workers and what they have in hand, the autoscaler."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from kernelport.broker import keys
from kernelport.config.settings import bundled_deployments
from kernelport.supervisor.stack import Stack
from tests.conftest import serving_stack, stack_settings
from tests.http.calls import ask
from tests.waiting import wait_for

SPEECH = "hibari-en"
LONG = "A sentence of some length, to take a moment. " * 40


def operations(stack: Stack) -> Any:
    reply = ask(stack.url, "GET", "/api/operations")
    assert reply.status == 200, reply.body
    return reply.json()


def figures(stack: Stack, name: str = SPEECH) -> Any:
    return next(each for each in operations(stack)["deployments"] if each["name"] == name)


def test_requests_are_counted_by_the_minute_with_the_times_they_took(stack: Stack) -> None:
    def requests() -> int:
        return sum(minute["requests"] for minute in figures(stack)["minutes"])

    before = requests()
    spoken = ask(stack.url, "POST", "/v1/audio/speech", {"model": SPEECH, "input": "Down.", "response_format": "wav"})
    assert spoken.status == 200
    wait_for(lambda: requests() == before + 1)
    told = figures(stack)
    assert 0 < told["p50_s"] <= told["p95_s"] < 60
    assert told["minute"]["unix_s"] % 60 == 0
    assert told["minute"] == told["minutes"][-1]


def test_jobs_give_items_and_the_real_time_factor(stack: Stack) -> None:
    made = ask(stack.url, "POST", "/api/jobs", {"deployment": SPEECH, "items": ["One.", "Two."]}).json()
    wait_for(lambda: ask(stack.url, "GET", f"/api/jobs/{made['id']}").json()["finished_unix_us"])
    told = wait_for(lambda: (found := figures(stack))["real_time_factor"] and found)
    assert 0 < told["real_time_factor"] < 5
    assert sum(minute["items"] for minute in told["minutes"]) >= 2
    assert sum(minute["audio_s"] for minute in told["minutes"]) > 0


def test_what_waits_and_what_workers_have_in_hand_is_told(stack: Stack) -> None:
    job = ask(stack.url, "POST", "/api/jobs", {"deployment": SPEECH, "items": [LONG] * 50}).json()["id"]
    try:
        worker = wait_for(
            lambda: next((w for w in ask(stack.url, "GET", "/api/workers").json()["workers"] if job in w["jobs"]), None)
        )
        assert worker["deployments"] == [SPEECH]
        assert worker["jobs"][job] >= 1
        assert worker["draining"] is False
    finally:
        ask(stack.url, "POST", f"/api/jobs/{job}/cancel")
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(ask, stack.url, "POST", "/v1/audio/speech", {"model": SPEECH, "input": LONG})
        wait_for(lambda: figures(stack)["waiting"] == 1)
        wait_for(lambda: any(w["batches"] for w in ask(stack.url, "GET", "/api/workers").json()["workers"]))
        assert call.result().status == 200


def test_a_dead_letter_counts(stack: Stack) -> None:
    with Redis.from_url(stack.settings.redis_url) as redis:
        redis.hset(keys.dead_letters("helion-demo"), "counted", b"")
        try:
            wait_for(lambda: figures(stack, "helion-demo")["dead_letters"] == 1)
        finally:
            redis.hdel(keys.dead_letters("helion-demo"), "counted")


def test_the_autoscalers_report_is_told_and_prices_an_estimate(stack: Stack) -> None:
    assert operations(stack)["autoscaler"] is None
    machine = {"name": "m", "deployment": SPEECH, "workers": 2, "price": 3.0, "state": "ready"}
    told = {"unix_s": 1.0, "machines": [machine], "plans": []}
    with Redis.from_url(stack.settings.redis_url) as redis:
        try:
            redis.set(keys.autoscale_report("main"), json.dumps(told))
            assert operations(stack)["autoscaler"] == told
            redis.set(keys.autoscale_report("main"), b"[not ours")
            assert operations(stack)["autoscaler"] is None
        finally:
            redis.delete(keys.autoscale_report("main"))


def test_only_a_live_worker_can_be_asked_to_go(stack: Stack) -> None:
    reply = ask(stack.url, "POST", "/api/workers/nobody/drain")
    assert (reply.status, reply.json()["error"]["reason"]) == (404, "WORKER_NOT_FOUND")


def test_a_drained_worker_finishes_and_another_takes_its_place(tmp_path: Path) -> None:
    settings = replace(stack_settings(bundled_deployments()), grafana_url="http://127.0.0.1:3000")
    with serving_stack(settings, ["identity-onnx"], tmp_path) as stack:
        assert operations(stack)["links"] == {"grafana": "http://127.0.0.1:3000"}
        (worker,) = ask(stack.url, "GET", "/api/workers").json()["workers"]
        assert ask(stack.url, "POST", f"/api/workers/{worker['id']}/drain").json()["draining"] is True

        def another() -> bool:
            workers = ask(stack.url, "GET", "/api/workers").json()["workers"]
            return bool(workers) and workers[0]["pid"] != worker["pid"]

        wait_for(another, 60)
        wait_for(lambda: ask(stack.url, "GET", "/api/workers").json()["workers"][0]["draining"] is False)
        x = {"inputs": [{"name": "x", "shape": [1, 1, 1, 2], "datatype": "FP32", "data": [1.5, 2]}]}
        assert ask(stack.url, "POST", "/v2/models/identity-onnx/infer", x).status == 200


@pytest.mark.parametrize("page", ["ftp://x", "javascript:alert(1)"])
def test_a_link_is_a_web_page(page: str) -> None:
    from kernelport.config.settings import Settings, SettingsError

    with pytest.raises(SettingsError, match="KERNELPORT_GRAFANA_URL: expected a URL such as"):
        Settings.from_environment({"KERNELPORT_GRAFANA_URL": page})
