"""Items of jobs count against the amounts of a day: exactly, once each, and no longer when they come to nothing."""

from collections.abc import Iterator

import pytest
from redis import Redis

from kernelport import Client, ResourceExhaustedError
from kernelport.broker import keys
from tests.access.conftest import Guarded
from tests.waiting import wait_for

TENANT = "of-items"
# Nobody serves the one; the other speaks.
UNSERVED, SPEAKS = "luxtts", "hibari-en"
TEXT = "Où est Zoë?"
CHARACTERS = len(TEXT)


@pytest.fixture(scope="module")
def token(guarded: Guarded) -> str:
    with guarded.client() as admin:
        return admin.access.create_key("of-items", tenant=TENANT, scopes=["jobs", "infer"])[1]


@pytest.fixture
def client(guarded: Guarded, token: str) -> Iterator[Client]:
    """A client of the tenant at one door. Whatever it leaves behind is over, and counted no more, at the end."""
    with guarded.client(token, door=0) as client:
        yield client
        for job in client.jobs.list():
            client.jobs.cancel(job.id)
            client.jobs.wait(job.id)
            client.jobs.delete(job.id, delete_outputs=True)
    with Redis.from_url(guarded.stack.settings.redis_url) as redis:
        for key in redis.scan_iter(keys.quota_day("*", "*")):
            redis.delete(key)


def limit(guarded: Guarded, characters: int) -> None:
    """Sets the quota of the tenant, of which the client's door knows at once."""
    with guarded.client(door=0) as admin:
        admin.access.set_tenant(TENANT, quotas={"characters_a_day": characters, "bytes_a_day": 1e9})


def used(guarded: Guarded) -> int:
    """The characters that count today."""
    with Redis.from_url(guarded.stack.settings.redis_url) as redis:
        found = [redis.hgetall(key) for key in redis.scan_iter(keys.quota_day(f"tenant:{TENANT}", "*"))]
    (amounts,) = found or [{b"characters": b"0", b"bytes": b"0"}]
    assert (int(amounts[b"characters"]) > 0) == (int(amounts[b"bytes"]) > 0)
    return int(amounts[b"characters"])


def test_a_job_that_would_pass_the_quota_is_refused_whole(guarded: Guarded, client: Client) -> None:
    limit(guarded, 5 * CHARACTERS)
    job = client.jobs.submit(UNSERVED, [TEXT] * 5)
    assert used(guarded) == 5 * CHARACTERS
    with pytest.raises(ResourceExhaustedError, match="nothing of it is kept") as refused:
        client.jobs.submit(UNSERVED, ["a"])
    assert refused.value.reason == "QUOTA_EXCEEDED"
    assert 0 < (refused.value.retry_after_s or 0) <= 24 * 3600
    assert [each.id for each in client.jobs.list()] == [job.id]
    assert used(guarded) == 5 * CHARACTERS


def test_what_is_sent_twice_counts_once(guarded: Guarded, client: Client) -> None:
    limit(guarded, 2 * CHARACTERS)
    first = client.jobs.submit(UNSERVED, [TEXT] * 2, request_id="a")
    assert client.jobs.submit(UNSERVED, [TEXT] * 2, request_id="a").id == first.id
    assert used(guarded) == 2 * CHARACTERS


def test_a_text_that_items_share_counts_for_each(guarded: Guarded, client: Client) -> None:
    limit(guarded, 100 * CHARACTERS)
    client.jobs.submit(UNSERVED, [{"speed": 1.0}, {"speed": 1.1}], shared={"text": TEXT})
    assert used(guarded) == 2 * CHARACTERS


def test_what_never_ran_is_given_back_and_counts_again_when_it_is_to_run(guarded: Guarded, client: Client) -> None:
    limit(guarded, 4 * CHARACTERS)
    job = client.jobs.submit(UNSERVED, [("a", TEXT), ("b", TEXT)])
    client.jobs.cancel(job.id)
    client.jobs.wait(job.id)
    assert used(guarded) == 0
    client.jobs.replace_items(job.id, [("a", 2 * TEXT)])
    client.jobs.resume(job.id)
    assert used(guarded) == 3 * CHARACTERS
    client.jobs.cancel(job.id)
    client.jobs.wait(job.id)
    assert used(guarded) == 0
    limit(guarded, 2 * CHARACTERS)
    with pytest.raises(ResourceExhaustedError, match="characters_a_day"):
        client.jobs.resume(job.id)
    assert client.jobs.get(job.id).state == client.jobs.wait(job.id).state, "it stays as it was"


def test_what_succeeds_stays_counted_and_is_told_as_usage(guarded: Guarded, client: Client) -> None:
    limit(guarded, 100 * CHARACTERS)
    job = client.jobs.submit(SPEAKS, [TEXT] * 3)
    client.jobs.wait(job.id)
    assert used(guarded) == 3 * CHARACTERS
    (told,) = wait_for(lambda: client.access.usage())
    assert (told.items, told.characters) == (3, 3 * CHARACTERS)
    with Redis.from_url(guarded.stack.settings.redis_url) as redis:
        assert not list(redis.scan_iter(keys.job("*", "counted"))), "it is paid for"
