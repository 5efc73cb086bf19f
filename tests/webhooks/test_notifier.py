"""Webhooks are told of jobs: at least once, in order, by whoever lives."""

import base64
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from standardwebhooks import Webhook

from kernelport import Client
from kernelport.broker import keys
from kernelport.jobs import scripts
from kernelport.jobs.artifacts import Artifacts
from kernelport.jobs.records import shown
from kernelport.jobs.storage import SharedStorage
from kernelport.jobs.sweeping import Sweeper
from kernelport.jobs.webhooks import notifier as module
from kernelport.jobs.webhooks.endpoints import MOST_AT_ONCE
from kernelport.supervisor.stack import Stack
from kernelport.v1 import job_pb2 as pb
from tests.everyday.conftest import UNSPEAKABLE
from tests.waiting import wait_for
from tests.webhooks.receiver import Receiver, receiving

JOB, OTHER_JOB = "0190b8e0000-00000001", "0190b8e0000-00000002"
SECRET = f"whsec_{base64.b64encode(b'that no log and no body may show').decode()}"
NOW_US = round(time.time() * 1e6)


def put(
    redis: Redis,
    url: str,
    state: str,
    events: tuple[str, ...] = (),
    interval_s: float = 0.0,
    job: str = JOB,
    secret: str = SECRET,
    **fields: Any,
) -> None:
    """What the job store does when it changes a job that has a webhook."""
    wanted = [f"WEBHOOK_EVENT_{event.upper()}" for event in events]
    webhook = pb.Webhook(url=url, secret=secret, events=wanted, progress_interval_s=interval_s)
    spec = pb.JobSpec(deployment="a", webhook=webhook)
    redis.set(keys.job(job, "spec"), spec.SerializeToString(), ex=600)
    known = {"state": state, "spec": shown(spec).SerializeToString(), "items": 10_000, "started": NOW_US, "ending": ""}
    first = not redis.exists(keys.job(job))
    redis.hset(keys.job(job), mapping={**known, **({"has_webhook": 1} if first else {}), **fields})
    redis.hincrby(keys.job(job), "log_length", 1)
    if redis.hexists(keys.job(job), "has_webhook"):
        redis.zadd(keys.JOB_HOOKS, {job: NOW_US}, nx=True)


def told(receiver: Receiver) -> list[str]:
    return [json.loads(body)["type"] for _, _, body in receiver.received]


def test_a_job_is_told_from_its_start_to_its_end(redis: Redis, notify: Callable[..., module.Notifier]) -> None:
    with receiving() as receiver:
        notify()
        put(redis, f"{receiver.url}/hook", "running")
        wait_for(lambda: told(receiver) == ["job.started"])
        put(redis, f"{receiver.url}/hook", "running", succeeded=4)
        put(redis, f"{receiver.url}/hook", "succeeded", succeeded=10, finished=NOW_US + 1)
        wait_for(lambda: told(receiver) == ["job.started", "job.succeeded"])
        wait_for(lambda: redis.zcard(keys.JOB_HOOKS) == 0, what="nothing is left to tell")
    path, headers, body = receiver.received[-1]
    assert path == "/hook"
    assert headers["content-type"] == "application/json"
    assert Webhook(SECRET).verify(body, headers)
    job = json.loads(body)["data"]["job"]
    assert (job["id"], job["state"], job["progress"]["succeeded"]) == (JOB, "JOB_STATE_SUCCEEDED", "10")
    assert SECRET.encode() not in body
    assert len({headers["webhook-id"] for _, headers, _ in receiver.received}) == 2
    assert 0 < redis.ttl(keys.job(JOB, "hook")) <= keys.HOOK_TTL_S


def test_what_is_not_accepted_is_sent_again_later_with_the_same_id_and_body(
    redis: Redis,
    notify: Callable[..., module.Notifier],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "FIRST_BACKOFF_S", 0.1)
    monkeypatch.setattr(module, "INTERVAL_S", 0.05)
    caplog.set_level(logging.DEBUG)
    with receiving() as receiver:
        receiver.statuses = [500, 302, 429, 204]
        notify()
        put(
            redis, f"{receiver.url}/hook?token=abc", "failed", ("failed",), failed=3, reason="3 failed", finished=NOW_US
        )
        wait_for(lambda: len(receiver.received) >= 2)
        # It has been resumed meanwhile: the end that was told first is still told.
        put(redis, f"{receiver.url}/hook?token=abc", "running", ("failed",), finished=0)
        wait_for(lambda: len(receiver.received) == 4)
        wait_for(lambda: redis.zcard(keys.JOB_HOOKS) == 0)
    assert told(receiver) == ["job.failed"] * 4
    assert len({(headers["webhook-id"], body) for _, headers, body in receiver.received}) == 1
    assert "expected a status of 200 to 299, got 302" in caplog.text
    assert SECRET not in caplog.text
    assert "token" not in caplog.text


def test_an_event_outlives_the_process_that_would_have_sent_it(
    redis: Redis, notify: Callable[..., module.Notifier]
) -> None:
    with receiving() as receiver:
        put(redis, receiver.url, "succeeded", ("succeeded",), finished=NOW_US)
        assert scripts.run(redis, "hook", 1_500_000) == JOB.encode(), "taken by a process that dies at once"
        notify()
        notify()
        wait_for(lambda: told(receiver) == ["job.succeeded"])
        wait_for(lambda: redis.zcard(keys.JOB_HOOKS) == 0)
    assert told(receiver) == ["job.succeeded"]


def test_progress_is_throttled_and_never_in_the_way_of_the_end(
    redis: Redis, notify: Callable[..., module.Notifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "INTERVAL_S", 0.05)
    with receiving() as receiver:
        receiver.statuses = [204, 500, 204]
        notify()
        began = time.monotonic()
        done = 0
        while len(receiver.received) < 3:
            assert time.monotonic() - began < 30
            done += 1
            put(redis, receiver.url, "running", ("progress", "succeeded"), interval_s=0.5, succeeded=done)
            time.sleep(0.02)
        assert time.monotonic() - began > 0.9, "three events, half a second apart"
        assert done > 6, "though the job went on all the while"
        put(redis, receiver.url, "succeeded", ("progress", "succeeded"), 0.5, succeeded=done, finished=NOW_US)
        wait_for(lambda: told(receiver)[-1] == "job.succeeded")
    assert set(told(receiver)[:-1]) == {"job.progress"}


def test_what_the_receiver_refuses_for_good_is_given_up_and_the_next_event_goes_on(
    redis: Redis, notify: Callable[..., module.Notifier]
) -> None:
    with receiving() as receiver:
        receiver.refused = {"job.started": 422}
        notify()
        put(redis, receiver.url, "succeeded", finished=NOW_US)
        wait_for(lambda: redis.zcard(keys.JOB_HOOKS) == 0)
    assert told(receiver) == ["job.started", "job.succeeded"]


def test_an_endpoint_that_is_gone_is_told_nothing_more(redis: Redis, notify: Callable[..., module.Notifier]) -> None:
    with receiving() as receiver:
        receiver.statuses = [410]
        notify()
        put(redis, receiver.url, "running")
        wait_for(lambda: not redis.hexists(keys.job(JOB), "has_webhook"))
        put(redis, receiver.url, "succeeded", succeeded=10, finished=NOW_US)
        scripts.run(redis, "stop", JOB, "cancelled", "")
        put(redis, receiver.url, "succeeded", job=OTHER_JOB, finished=NOW_US)
        wait_for(lambda: redis.zcard(keys.JOB_HOOKS) == 0)
        wait_for(lambda: not redis.hexists(keys.job(OTHER_JOB), "has_webhook"))
    assert told(receiver) == ["job.started", "job.started"], "one of each job"


def test_an_endpoint_that_is_silent_delays_no_other(redis: Redis, notify: Callable[..., module.Notifier]) -> None:
    with receiving() as silent, receiving() as receiver:
        silent.hanging.clear()
        for number in range(2 * module.PARALLEL):
            put(redis, silent.url, "succeeded", job=f"0190b8e0000-{number:08x}", finished=NOW_US)
        put(redis, receiver.url, "succeeded", ("succeeded",), job="0190b8e0000-ffffffff", finished=NOW_US)
        began = time.monotonic()
        notify()
        wait_for(lambda: told(receiver) == ["job.succeeded"])
        assert time.monotonic() - began < 5, "though the other holds on to each for ten seconds"
        assert len(silent.received) <= MOST_AT_ONCE
        silent.hanging.set()


def test_records_that_cannot_be_read_are_told_once_and_stop_nothing(
    redis: Redis, notify: Callable[..., module.Notifier], caplog: pytest.LogCaptureFixture
) -> None:
    with receiving() as receiver:
        for number, broken in enumerate(({"state": "x"}, {"spec": b"\xff"}, {"items": "9" * 5000})):
            put(redis, receiver.url, "succeeded", job=f"0190b8e0000-{number:08x}", finished=NOW_US)
            redis.hset(keys.job(f"0190b8e0000-{number:08x}"), mapping=broken)
        redis.zadd(keys.JOB_HOOKS, {"../../etc": 1, b"\xff\n": 1, "0190b8e0000-0000000a": 1})
        redis.hset(keys.job("0190b8e0000-00000004", "hook"), mapping={"event": "x\r\ny: z", "body": "{}"})
        put(redis, receiver.url, "succeeded", job="0190b8e0000-00000004", finished=NOW_US)
        put(redis, receiver.url, "succeeded", ("succeeded",), job="0190b8e0000-00000005", finished=NOW_US)
        notify()
        wait_for(lambda: redis.zcard(keys.JOB_HOOKS) == 0)
    assert told(receiver) == ["job.succeeded"]
    skipped = [record.getMessage() for record in caplog.records if "skipped" in record.message]
    assert len(skipped) == len(set(skipped)) == 6
    assert not any("\n" in message for message in skipped)


def test_a_job_without_its_spec_is_told_once_and_dropped(
    redis: Redis, notify: Callable[..., module.Notifier], caplog: pytest.LogCaptureFixture
) -> None:
    put(redis, "http://127.0.0.1:1", "succeeded", finished=NOW_US)
    redis.delete(keys.job(JOB, "spec"))
    notify()
    wait_for(lambda: redis.zcard(keys.JOB_HOOKS) == 0)
    assert f"{keys.job(JOB, 'spec')}: expected a JobSpec, got nothing" in caplog.text


def test_retention_waits_for_the_end_to_be_told(
    redis: Redis, notify: Callable[..., module.Notifier], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "INTERVAL_S", 0.05)
    artifacts = Artifacts(str(tmp_path))
    sweeper = Sweeper(redis, artifacts, SharedStorage(redis, artifacts))
    with receiving() as receiver:
        receiver.statuses = [500, 204]
        put(redis, receiver.url, "succeeded", ("succeeded",), finished=NOW_US, expires=1)
        redis.zadd(keys.EXPIRING_JOBS, {JOB: 1})
        sweeper.start()
        notify()
        wait_for(lambda: not redis.exists(keys.job(JOB)))
        sweeper.stop()
    assert told(receiver) == ["job.succeeded"] * 2


def test_a_process_whose_clock_is_behind_asks_redis_no_more_often(
    redis: Redis, notify: Callable[..., module.Notifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = module.clock.now
    monkeypatch.setattr(module.clock, "now", lambda: now() - 3600)
    monkeypatch.setattr(module, "INTERVAL_S", 0.05)
    with receiving() as receiver:
        receiver.statuses = [500, 204]
        put(redis, receiver.url, "succeeded", ("succeeded",), finished=NOW_US)
        began = time.monotonic()
        notify()
        wait_for(lambda: redis.zcard(keys.JOB_HOOKS) == 0)
    assert told(receiver) == ["job.succeeded"] * 2
    assert time.monotonic() - began >= module.FIRST_BACKOFF_S


def test_a_secret_that_cannot_sign_gives_the_event_up(
    redis: Redis, notify: Callable[..., module.Notifier], caplog: pytest.LogCaptureFixture
) -> None:
    with receiving() as receiver:
        put(redis, receiver.url, "succeeded", ("succeeded",), secret="of-an-earlier-version", finished=NOW_US)
        notify()
        wait_for(lambda: redis.zcard(keys.JOB_HOOKS) == 0)
    assert receiver.received == []
    assert "its secret: expected whsec_" in caplog.text
    assert "of-an-earlier-version" not in caplog.text


def test_newer_progress_takes_the_place_of_what_a_dead_process_left(
    redis: Redis, notify: Callable[..., module.Notifier]
) -> None:
    stale = {"event": f"{JOB}.progress.1", "kind": pb.WEBHOOK_EVENT_PROGRESS, "body": '{"type": "job.progress"}'}
    with receiving() as receiver:
        redis.hset(keys.job(JOB, "hook"), mapping={**stale, "since": NOW_US, "then_finished": 0, "then_done": 1})
        put(redis, receiver.url, "running", ("progress", "succeeded"), interval_s=0.1, succeeded=2)
        notify()
        wait_for(lambda: receiver.received)
    assert json.loads(receiver.received[0][2])["data"]["job"]["progress"]["succeeded"] == "2"


def test_a_private_address_is_refused_and_a_deleted_job_is_forgotten(
    redis: Redis, notify: Callable[..., module.Notifier], caplog: pytest.LogCaptureFixture
) -> None:
    with receiving() as receiver:
        notify(networks="")
        put(redis, receiver.url, "succeeded", finished=NOW_US)
        wait_for(lambda: "is no public address; KERNELPORT_WEBHOOK_NETWORKS allows others" in caplog.text)
        redis.delete(keys.job(JOB), keys.job(JOB, "spec"))
        redis.zadd(keys.JOB_HOOKS, {JOB: NOW_US})
        wait_for(lambda: redis.zcard(keys.JOB_HOOKS) == 0)
    assert receiver.received == []


def test_a_jobs_end_waits_for_no_earlier_event(stack: Stack, client: Client) -> None:
    with receiving() as receiver:
        receiver.refused = {"job.started": 500}
        job = client.jobs.submit("hibari-en", ["Good morning."], webhook=pb.Webhook(url=receiver.url))
        wait_for(lambda: "job.succeeded" in told(receiver))
        assert client.jobs.get(job.id).state == pb.JOB_STATE_SUCCEEDED
    assert told(receiver)[0] == "job.started"
    assert told(receiver)[-1] == "job.succeeded", "and nothing of the start behind it"


def test_a_new_state_is_looked_at_before_the_next_try_of_an_earlier_event(redis: Redis) -> None:
    pause = 600_000_000
    later = time.time() * 1e6 + pause / 2
    scripts.run(redis, "create", JOB, "a", NOW_US, "", b"", b"spec", "has_webhook", 1, "retention_s", 60, "spec", b"")
    scripts.run(redis, "stop", JOB, "cancelled", "")
    assert scripts.run(redis, "hook", 60_000_000) == JOB.encode()
    scripts.run(redis, "hooked", JOB, -1, pause, 0)
    assert redis.zscore(keys.JOB_HOOKS, JOB) > later
    scripts.run(redis, "finish", JOB, 1, "cancelled", "", 60, 60, 0, NOW_US)
    assert redis.zscore(keys.JOB_HOOKS, JOB) < later

    redis.zadd(keys.JOB_HOOKS, {JOB: 1})
    scripts.run(redis, "hook", 60_000_000)
    scripts.run(redis, "hooked", JOB, -1, pause, 0)
    assert redis.zscore(keys.JOB_HOOKS, JOB) < later, "it ended while a process was at it"


def test_a_real_job_tells_its_webhook(stack: Stack, client: Client) -> None:
    with receiving() as receiver:
        webhook = pb.Webhook(url=receiver.url, secret=SECRET)
        job = client.jobs.submit("hibari-en", ["Good morning.", UNSPEAKABLE], webhook=webhook)
        assert job.spec.webhook.url == receiver.url
        assert job.spec.webhook.secret == ""
        assert client.jobs.wait(job.id).state == pb.JOB_STATE_FAILED
        wait_for(lambda: told(receiver) == ["job.started", "job.failed"])
        assert client.jobs.resume(job.id).state in (pb.JOB_STATE_PENDING, pb.JOB_STATE_RUNNING)
        client.jobs.wait(job.id)
        wait_for(lambda: told(receiver) == ["job.started", "job.failed", "job.failed"])
    assert all(Webhook(SECRET).verify(body, headers) for _, headers, body in receiver.received)
    assert len({headers["webhook-id"] for _, headers, _ in receiver.received}) == 3
