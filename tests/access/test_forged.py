"""What others have written into Redis of keys, tenants, files and usage ends no front door and lets no caller down."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from redis import Redis

from kernelport.access.records import KeyRecord, Secret, encode
from kernelport.access.tokens import new_key_id, new_token, read_token
from kernelport.broker import keys
from tests.access.conftest import OTHER, Guarded
from tests.http.calls import Reply, ask
from tests.waiting import wait_for

TOKEN = new_token(new_key_id())
PRESENTED = read_token(TOKEN)
assert PRESENTED is not None
SOUND = KeyRecord(PRESENTED.key_id, "forged", OTHER, ("jobs",), 1, secrets=(Secret(PRESENTED.sha256.hex()),))
ROW = {"x": np.ones((1, 1, 1, 4), np.float32)}
FILE = {"id": "file-" + "0" * 24, "bytes": 1, "created_at": 1, "filename": "a", "purpose": "batch", "forget_at": 2**40}


@pytest.fixture
def redis(guarded: Guarded) -> Iterator[Redis]:
    with Redis.from_url(guarded.stack.settings.redis_url) as connected:
        yield connected


def _by(guarded: Guarded, method: str, path: str, body: object = None) -> Reply:
    return ask(guarded.stack.url, method, path, body, headers={"Authorization": f"Bearer {guarded.other}"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"secrets": [{"sha256": "no hexadecimal"}]},
        {"id": "another"},
        {"tenant": "../elsewhere"},
        {"quotas": {"calls": 10**30}},
        {"quotas": {"calls": -1}},
    ],
)
def test_a_record_that_is_no_key_of_ours_is_none(wrong: dict[str, Any], guarded: Guarded, redis: Redis) -> None:
    pids = {name: child.pid for name, child in guarded.stack.children.items()}
    redis.hset(keys.KEYS, SOUND.id, json.dumps({**json.loads(encode(SOUND)), **wrong}))
    redis.incr(keys.KEYS_VERSION)
    try:
        with guarded.client() as admin:  # a change is answered once all front doors have looked
            _, token = admin.access.create_key("after-a-forged-one", scopes=["infer"])
            assert all(guarded.knows(token, door) for door in range(2))
            assert not any(guarded.knows(TOKEN, door) for door in range(2))
            assert admin.access.revoke_key("after-a-forged-one")
            assert "forged" not in [key.name for key in admin.access.list_keys()]
    finally:
        redis.hdel(keys.KEYS, SOUND.id)
        redis.incr(keys.KEYS_VERSION)
    assert {name: child.pid for name, child in guarded.stack.children.items()} == pids


@pytest.mark.parametrize(
    "wrong", [{"created_at": "x"}, {"id": "../../elsewhere", "forget_at": 1}, {"bytes": 10**30}, {"id": 5}]
)
def test_a_record_that_is_no_file_of_ours_is_none(wrong: dict[str, Any], guarded: Guarded, redis: Redis) -> None:
    record = {**FILE, **wrong}
    name, files = str(record["id"]), keys.owned(keys.FILES, OTHER)
    redis.hset(files, name, json.dumps(record))
    redis.hset(keys.owned(keys.BATCHES, OTHER), "batch_x", json.dumps({"id": "batch_x", "forget_at": 2**40}))
    try:
        for kind, record_id in (("files", FILE["id"]), ("batches", "batch_x")):
            listed = _by(guarded, "GET", f"/v1/{kind}")
            assert (listed.status, listed.json().get("data")) == (200, []), listed.body
            assert _by(guarded, "GET", f"/v1/{kind}/{record_id}").status == 404
    finally:
        redis.delete(files, keys.owned(keys.BATCHES, OTHER))


def test_usage_that_is_no_number_is_nothing_and_that_of_others_counts(guarded: Guarded, redis: Redis) -> None:
    day = keys.usage(str(int(datetime.now(UTC).timestamp() // 86400)))

    def of(tenant: str) -> tuple[int, int]:
        with guarded.client() as admin:
            return next(((each.calls, each.items) for each in admin.access.usage() if each.tenant == tenant), (0, 0))

    for what, value in (("calls", "many"), ("items", "many"), ("characters", "-1")):
        redis.hset(day, f"{OTHER}:{what}", value)
    before = of("default")
    with guarded.client() as ours, guarded.client(guarded.other) as theirs:
        theirs.infer("identity-onnx", ROW)
        ours.infer("identity-onnx", ROW)
        job = theirs.jobs.submit("identity-onnx", [ROW, ROW])
        assert theirs.jobs.wait(job.id, timeout_s=60).progress.succeeded == 2
    wait_for(lambda: of("default")[0] == before[0] + 1)
    wait_for(lambda: min(of(OTHER)) > 0)


@pytest.mark.parametrize("created", ["inf", "-inf", "1e300"])
def test_a_job_of_no_time_hides_no_other(created: str, guarded: Guarded, redis: Redis) -> None:
    jobs = keys.owned(keys.JOBS, OTHER)
    with guarded.client() as admin, guarded.client(guarded.other) as theirs:
        own = theirs.jobs.submit("identity-onnx", [ROW]).id
        redis.zadd(jobs, {"forged": created})
        assert own in [job.id for job in theirs.jobs.list()]
        assert f"{OTHER}~{own}" in [job.id for job in admin.jobs.list()]
        assert _by(guarded, "GET", f"/api/jobs/{own}/items").json()["items"][0]["id"] == "000001"
    redis.zrem(jobs, "forged")
