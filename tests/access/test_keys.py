"""The life of a key: made, used, changed and ended, at every front door."""

import json
import os
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from redis import Redis

from kernelport import (
    AlreadyExistsError,
    Client,
    FailedPreconditionError,
    InvalidArgumentError,
    KernelPortError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from kernelport.broker import keys
from tests.access.conftest import Guarded
from tests.cli.running import called
from tests.waiting import wait_for

ROW = {"x": np.ones((1, 1, 1, 4), np.float32)}


def test_the_first_key_lies_in_a_file_that_nobody_else_can_read(guarded: Guarded) -> None:
    file = Path(guarded.stack.settings.first_key_file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with guarded.client() as client:
        assert client.infer("identity-onnx", ROW)["y"].tolist() == ROW["x"].tolist()
        (first,) = [key for key in client.access.list_keys() if key.name == "first"]
    assert list(first.scopes) == ["admin"]


def test_redis_holds_digests_alone(guarded: Guarded) -> None:
    with Redis.from_url(guarded.stack.settings.redis_url) as redis:
        held = b"".join(redis.hgetall(keys.KEYS).values())
    for token in (guarded.first, guarded.other, *guarded.scoped.values()):
        assert token.encode() not in held
        assert token.split("_", 2)[2].encode() not in held


def test_a_revoked_key_is_taken_nowhere_within_a_second(guarded: Guarded) -> None:
    with guarded.client() as admin:
        _, token = admin.access.create_key("short-lived", scopes=["infer"])
        with guarded.client(token, door=0) as one, guarded.client(token, door=1) as two:
            wait_for(lambda: _answers(one) and _answers(two), 2)
            revoked_at = time.monotonic()
            assert admin.access.revoke_key("short-lived")
            wait_for(lambda: not _answers(one) and not _answers(two), 5)
            assert time.monotonic() - revoked_at < 1.5  # a second, on a machine that may be busy
        assert not admin.access.revoke_key("short-lived")


def test_two_secrets_are_valid_while_one_takes_the_place_of_the_other(guarded: Guarded) -> None:
    with guarded.client() as admin:
        key, old = admin.access.create_key("rotated", scopes=["infer"])
        same, new = admin.access.rotate_key("rotated", grace_s=2)
        assert (same.id, same.secrets, new != old) == (key.id, 2, True)
        with guarded.client(old) as before, guarded.client(new) as after:
            wait_for(lambda: _answers(after))
            assert _answers(before)
            wait_for(lambda: not _answers(before), 10)
            assert _answers(after)
        _, newest = admin.access.rotate_key(key.id, grace_s=0)
        with guarded.client(new) as before, guarded.client(newest) as after:
            wait_for(lambda: _answers(after) and not _answers(before))
        admin.access.revoke_key(key.id)


def test_of_one_name_one_key_is_made_however_many_ask_at_once(guarded: Guarded) -> None:
    def make(number: int) -> str:
        with guarded.client(door=number % 2) as admin:
            try:
                return admin.access.create_key("wanted", scopes=["infer"])[1]
            except AlreadyExistsError:
                return ""

    with ThreadPoolExecutor(6) as pool:
        made = [token for token in pool.map(make, range(6)) if token]
    with guarded.client() as admin:
        assert [key.name for key in admin.access.list_keys()].count("wanted") == len(made) == 1
        admin.access.revoke_key("wanted")


def test_keys_of_several_names_can_be_made_at_once(guarded: Guarded) -> None:
    names = [f"crowd-{number}" for number in range(5)]

    def make(name: str) -> None:
        with guarded.client() as admin:
            admin.access.create_key(name, scopes=["infer"])

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(make, names))
    with guarded.client() as admin:
        assert {key.name for key in admin.access.list_keys()} >= set(names)
        for name in names:
            admin.access.revoke_key(name)


def test_a_key_ends_at_its_time(guarded: Guarded) -> None:
    with guarded.client() as admin:
        _, token = admin.access.create_key("brief", scopes=["infer"], expires=datetime.now(UTC) + timedelta(seconds=2))
        with guarded.client(token) as client:
            wait_for(lambda: _answers(client))
            wait_for(lambda: not _answers(client), 10)
            with pytest.raises(UnauthenticatedError) as refused:
                client.deployments()
        assert refused.value.reason == "KEY_EXPIRED"
        admin.access.revoke_key("brief")


def test_a_key_may_be_for_some_deployments_alone(guarded: Guarded) -> None:
    with guarded.client() as admin:
        _, token = admin.access.create_key("narrow", scopes=["infer", "jobs"], deployments=["hibari-en"])
        job = admin.jobs.submit("identity-onnx", [ROW])
    with guarded.client(token) as client:
        wait_for(lambda: _lists(client))
        assert [each.name for each in client.deployments()] == ["hibari-en"]
        for call in (
            lambda: client.infer("identity-onnx", ROW),
            lambda: client.deployment("identity-onnx"),
            lambda: client.jobs.submit("identity-onnx", [ROW]),
            lambda: client.dead_letters("identity-onnx"),
        ):
            with pytest.raises(NotFoundError) as refused:
                call()
            told = 'no deployment is named "identity-onnx"; there are: hibari-en'
            assert refused.value.message.endswith(told), "and not where the deployments file is"
        own = client.jobs.submit("hibari-en", ["One."])
        assert [each.id for each in client.jobs.list()] == [own.id]
        with pytest.raises(NotFoundError, match="there is no job"):
            client.jobs.cancel(job.id)
    with guarded.client() as admin:
        admin.access.revoke_key("narrow")
        _, token = admin.access.create_key("idle", scopes=["infer"], deployments=["luxtts-of-old"])
    with guarded.client(token) as client:
        wait_for(lambda: all(guarded.knows(token, door) for door in range(2)))
        with pytest.raises(NotFoundError, match=r'"hibari-en"; there are: none$'):
            client.infer("hibari-en", ROW)
    with guarded.client() as admin:
        admin.access.revoke_key("idle")


def test_what_is_wrong_with_a_new_key_is_told(guarded: Guarded) -> None:
    with guarded.client() as admin:
        for arguments, field in (
            ({"name": "No Good", "scopes": ["infer"]}, "name"),
            ({"name": "good", "scopes": ["everything"]}, "scopes"),
            ({"name": "good", "scopes": []}, "scopes"),
            ({"name": "good", "scopes": ["infer"], "tenant": "a~b"}, "tenant"),
            ({"name": "good", "scopes": ["infer"], "expires": datetime(2020, 1, 1, tzinfo=UTC)}, "expires_unix_us"),
        ):
            with pytest.raises(InvalidArgumentError) as refused:
                admin.access.create_key(**arguments)  # type: ignore[arg-type]
            assert refused.value.field == field
        with pytest.raises(AlreadyExistsError):
            admin.access.create_key("others", scopes=["infer"])


def test_the_last_admin_cannot_be_locked_out(guarded: Guarded) -> None:
    with guarded.client() as admin:
        admin.access.revoke_key("only-admin")
        with pytest.raises(FailedPreconditionError, match="last one"):
            admin.access.revoke_key("first")


def test_last_use_is_known_some_seconds_later(guarded: Guarded) -> None:
    with guarded.client() as admin:
        used = wait_for(
            lambda: next(key for key in admin.access.list_keys() if key.name == "first").last_used_unix_us, 20
        )
    assert abs(used / 1e6 - time.time()) < 600


def test_nobody_but_an_admin_makes_keys(guarded: Guarded) -> None:
    with guarded.client(guarded.other) as client, pytest.raises(PermissionDeniedError) as refused:
        client.access.create_key("more", scopes=["admin"])
    assert refused.value.reason == "SCOPE_MISSING"


def test_the_command_line_makes_lists_and_ends_keys(guarded: Guarded) -> None:
    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "kernelport.cli", *arguments, "--target", guarded.stack.target]
        environment = {**os.environ, "KERNELPORT_API_KEY": guarded.first}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout

    made = json.loads(
        run("keys", "create", "by-hand", "--scope", "infer,jobs", "--tenant", "acme", "--expires", "90d", "--json")
    )
    assert (made["tenant"], made["scopes"]) == ("acme", ["infer", "jobs"])
    assert abs(made["expires_unix_us"] / 1e6 - time.time() - 90 * 86400) < 600
    listed = run("keys", "list")
    assert "by-hand" in listed
    assert made["token"] not in listed
    rotated = run("keys", "rotate", "by-hand", "--grace", "10m").strip()
    assert rotated.startswith(f"kp_{made['id']}_")
    told = run("keys", "set", "by-hand", "--quota", "calls=3", "--quota", "bytes_a_day=1KiB")
    assert "bytes_a_day=1024, calls=3" in told
    assert "bytes_a_day=1024\n" in run("keys", "set", "by-hand", "--quota", "calls=")
    assert "bytes_a_day=1024" in next(line for line in run("keys", "list").splitlines() if "by-hand" in line)
    assert run("tenants", "set", "acme", "--weight", "2").count("acme") == 1
    assert "2" in run("tenants", "show", "acme")
    assert run("keys", "revoke", "by-hand").strip() == "1 revoked"
    assert "by-hand" not in run("keys", "list")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--expires", "0s"), "expires_unix_us: expected a time to come"),
        (("--deployments", ""), "--deployments: expected names of deployments, got none"),
        (("--deployments", ","), "--deployments: expected names of deployments, got none"),
    ],
)
def test_no_limit_of_a_new_key_is_left_out(given: tuple[str, str], told: str, guarded: Guarded) -> None:
    command = ("keys", "create", "limited-to-nothing", "--scope", "infer", *given, "--target", guarded.stack.target)
    ended = called(*command, KERNELPORT_API_KEY=guarded.first, expect=2)
    assert told in ended.stderr


def test_no_key_is_told_in_a_log_or_an_error(guarded: Guarded) -> None:
    wrong = f"{guarded.first[:-4]}AAAA"
    with guarded.client(wrong) as client, pytest.raises(UnauthenticatedError) as refused:
        client.deployments()
    assert wrong not in repr(refused.value)
    assert guarded.first not in repr(guarded.stack.settings)
    with pytest.raises(InvalidArgumentError) as odd:
        Client(guarded.stack.target, api_key="with space\n")
    assert "with space" not in odd.value.message
    logs = Path(guarded.stack.children["front-door"].log_file).parent
    told = "".join(file.read_text(errors="replace") for file in logs.iterdir())
    for token in (guarded.first, guarded.other, wrong, *guarded.scoped.values()):
        assert token not in told


def _answers(client: Client) -> bool:
    try:
        client.infer("identity-onnx", ROW)
    except UnauthenticatedError:
        return False
    return True


def _lists(client: Client) -> bool:
    try:
        return bool(client.deployments())
    except KernelPortError:
        return False


def test_only_admins_are_told_where_the_deployments_file_is(guarded: Guarded) -> None:
    for token, is_told in ((guarded.first, True), (guarded.scoped["infer"], False), (guarded.other, False)):
        with guarded.client(token) as client:
            one, listed = client.deployment("identity-onnx"), client.deployments()
        processes = [*one.front_doors, *(worker for each in (one, *listed) for worker in each.workers)]
        assert {bool(each.deployments_file) for each in processes} == {is_told}
