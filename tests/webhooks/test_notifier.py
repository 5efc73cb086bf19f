"""Webhooks are told of jobs: at least once, in order, by whoever lives."""

import json
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from kernelport import Client, keys
from kernelport.jobs import scripts
from kernelport.stack import Stack
from kernelport.v1 import job_pb2 as pb
from kernelport.webhooks import notifier as module
from kernelport.webhooks import verify
from tests.waiting import wait_for
from tests.webhooks.receiver import Receiver, receiving

JOB = "job-1"
SECRET = "s3cret-that-no-log-may-show"
NOW_US = round(time.time() * 1e6)


def put(
    redis: Redis, url: str, state: str, events: tuple[str, ...] = (), interval_s: float = 0.0, **fields: Any
) -> None:
    """What the job store does when it changes a job that has a webhook."""
    wanted = [f"WEBHOOK_EVENT_{event.upper()}" for event in events]
    webhook = pb.Webhook(url=url, secret=SECRET, events=wanted, progress_interval_s=interval_s)
    spec = pb.JobSpec(deployment="a", webhook=webhook)
    redis.set(keys.job(JOB, "spec"), spec.SerializeToString(), ex=600)
    spec.webhook.secret = ""
    known = {"state": state, "spec": spec.SerializeToString(), "has_webhook": 1, "items": 10_000, "started": NOW_US}
    redis.hset(keys.job(JOB), mapping={**known, "ending": "", **fields})
    redis.hincrby(keys.job(JOB), "log_length", 1)
    redis.zadd(keys.JOB_HOOKS, {JOB: NOW_US}, nx=True)


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
    assert verify(SECRET, headers, body)
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
    later = round(time.time() * 1e6) + 600_000_000
    scripts.run(redis, "create", JOB, "a", NOW_US, "", b"", b"", "has_webhook", 1, "retention_s", 60, "spec", b"")
    scripts.run(redis, "stop", JOB, "cancelled", "")
    assert scripts.run(redis, "hook", 60_000_000) == JOB.encode()
    scripts.run(redis, "hooked", JOB, -1, later, 0)
    assert redis.zscore(keys.JOB_HOOKS, JOB) == later
    scripts.run(redis, "finish", JOB, 1, "cancelled", "", NOW_US, 60, 60, 0)
    assert redis.zscore(keys.JOB_HOOKS, JOB) < later

    redis.zadd(keys.JOB_HOOKS, {JOB: 1})
    scripts.run(redis, "hook", 60_000_000)
    scripts.run(redis, "hooked", JOB, -1, later, 0)
    assert redis.zscore(keys.JOB_HOOKS, JOB) < later, "it ended while a process was at it"


def test_a_real_job_tells_its_webhook(stack: Stack, client: Client) -> None:
    with receiving() as receiver:
        webhook = pb.Webhook(url=receiver.url, secret=SECRET)
        job = client.jobs.submit("hibari-en", ["Good morning.", "..."], webhook=webhook)
        assert job.spec.webhook.url == receiver.url
        assert job.spec.webhook.secret == ""
        assert client.jobs.wait(job.id).state == pb.JOB_STATE_FAILED
        wait_for(lambda: told(receiver) == ["job.started", "job.failed"])
        assert client.jobs.resume(job.id).state in (pb.JOB_STATE_PENDING, pb.JOB_STATE_RUNNING)
        client.jobs.wait(job.id)
        wait_for(lambda: told(receiver) == ["job.started", "job.failed", "job.failed"])
    assert all(verify(SECRET, headers, body) for _, headers, body in receiver.received)
    assert len({headers["webhook-id"] for _, headers, _ in receiver.received}) == 3
