"""What goes on for long ends with the key that it began by: streams, watches, events and WebSockets."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from kernelport import Client, KernelPortError, UnauthenticatedError
from tests.access.conftest import Guarded
from tests.waiting import wait_for

# A minute of speech takes longer than a second to make, on any machine.
LONG = "The harbour was quiet, and the boats lay still in it. " * 200
WITHIN_S = 3.0  # a second, on a machine that may be busy


@pytest.fixture
def token(guarded: Guarded, request: pytest.FixtureRequest) -> Iterator[str]:
    """A key that both doors know."""
    name = f"lasting-{abs(hash(request.node.name)) % 10**6}"
    with guarded.client() as admin:
        key, token = admin.access.create_key(name, scopes=["infer", "jobs"])
        wait_for(lambda: guarded.knows(token, 0) and guarded.knows(token, 1))
        yield token
        admin.access.revoke_key(key.id)


def revoke(guarded: Guarded, token: str) -> float:
    """Ends a key; gives when, by the monotonic clock."""
    with guarded.client() as admin:
        began = time.monotonic()
        admin.access.revoke_key(token.split("_")[1])
    return began


@contextmanager
def beside(work: Callable[[], None]) -> Iterator[Thread]:
    """Something that goes on in a thread."""
    thread = Thread(target=work)
    thread.start()
    yield thread
    thread.join(60)
    assert not thread.is_alive()


def ended_by(guarded: Guarded, token: str, go_on: Callable[[Client, list[Any]], None]) -> KernelPortError:
    """What a call is told that has begun to answer when its key is revoked."""
    came: list[Any] = []
    told: list[KernelPortError] = []

    def listen() -> None:
        with guarded.client(token) as client:
            try:
                go_on(client, came)
            except KernelPortError as error:
                told.append(error)

    with beside(listen) as listening:
        wait_for(lambda: came)
        revoked_at = revoke(guarded, token)
        listening.join(60)
        assert time.monotonic() - revoked_at < WITHIN_S
    (error,) = told
    return error


def test_a_stream_ends(guarded: Guarded, token: str) -> None:
    def listen(client: Client, came: list[Any]) -> None:
        came.extend(client.stream("hibari-en", LONG))

    assert isinstance(ended_by(guarded, token, listen), UnauthenticatedError)


def test_a_watch_of_a_job_that_nothing_happens_to_ends(guarded: Guarded, token: str) -> None:
    with guarded.client() as admin:
        job = admin.jobs.submit("luxtts", ["Nobody speaks it."])

        def watch(client: Client, came: list[Any]) -> None:
            came.extend(client.jobs.watch(job.id))

        assert isinstance(ended_by(guarded, token, watch), UnauthenticatedError)
        admin.jobs.cancel(job.id)
        admin.jobs.wait(job.id)
        admin.jobs.delete(job.id)


def test_a_watch_ends_with_the_time_of_its_key(guarded: Guarded) -> None:
    with guarded.client() as admin:
        ends = datetime.now(UTC) + timedelta(seconds=4)
        _, brief = admin.access.create_key("brief-watch", scopes=["jobs"], expires=ends)
        job = admin.jobs.submit("luxtts", ["Nobody speaks it."])
        wait_for(lambda: guarded.knows(brief, 0))
        with guarded.client(brief, door=0) as client, pytest.raises(UnauthenticatedError) as told:
            for _ in client.jobs.watch(job.id):
                pass
        assert told.value.reason == "KEY_EXPIRED"
        admin.jobs.cancel(job.id)
        admin.jobs.wait(job.id)
        admin.jobs.delete(job.id)
        admin.access.revoke_key("brief-watch")


def test_a_call_that_is_answered_at_once_is_answered(guarded: Guarded, token: str) -> None:
    spoken: list[float] = []

    def call() -> None:
        with guarded.client(token) as client:
            spoken.append(client.speak("hibari-en", LONG[:3000]).seconds)

    with beside(call):
        time.sleep(0.3)
        revoke(guarded, token)
    assert spoken[0] > 60


def test_events_end(guarded: Guarded, token: str) -> None:
    connection = HTTPConnection(str(urlsplit(guarded.stack.url).netloc), timeout=30)
    connection.request("GET", "/api/events", headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.read1(10)
    revoked_at = revoke(guarded, token)
    with suppress(HTTPException, ConnectionError):
        while answer.read1(2**16):
            pass
    assert time.monotonic() - revoked_at < WITHIN_S
    connection.close()


def test_a_conversation_is_told_so(guarded: Guarded, token: str) -> None:
    async def talk() -> tuple[dict[str, Any], int | None]:
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.ws_connect(f"{guarded.stack.url}/v1/audio/speech/stream") as socket,
        ):
            await socket.send_json({"type": "session.update", "session": {"model": "hibari-en"}})
            assert (await socket.receive_json())["type"] == "session.updated"
            await asyncio.to_thread(revoke, guarded, token)
            told = json.loads((await socket.receive(WITHIN_S)).data)
            await socket.receive(WITHIN_S)
            return told, socket.close_code

    told, code = asyncio.run(talk())
    assert (told["type"], told["error"]["code"], code) == ("error", "invalid_api_key", 1008)
