"""What browsers have in place of a key: a session in a cookie, and addresses that are signed for some minutes."""

from http.cookies import SimpleCookie

import numpy as np
import pytest

from kernelport import Client
from kernelport.access.records import KeyRecord, Secret
from kernelport.broker.clock import clock
from kernelport.errors import UnauthenticatedError
from kernelport_api.access import signatures
from kernelport_api.access.signatures import Signatures
from tests.access.conftest import OTHER, Guarded
from tests.http.calls import Reply, ask
from tests.waiting import wait_for

KEY = KeyRecord("0123456789ab", "a-key", OTHER, ("jobs",), 1, secrets=(Secret("ab" * 32),))
SHA256 = bytes.fromhex("ab" * 32)


def test_a_session_stands_for_its_key_until_that_is_revoked(guarded: Guarded) -> None:
    with guarded.client() as admin:
        _, token = admin.access.create_key("browser", scopes=["jobs"], tenant=OTHER)
        begun = wait_for(lambda: _signed_in(guarded, token))
        assert begun.json() == {"name": "browser", "tenant": OTHER, "scopes": ["jobs"], "deployments": []}
        cookie = SimpleCookie(begun.headers["set-cookie"])["kernelport-session"]
        assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
        assert token not in begun.headers["set-cookie"]
        assert _get(guarded, "/api/jobs", cookie.value).status == 200
        assert _get(guarded, "/api/keys", cookie.value).status == 403
        for door in range(4):  # whichever front door answers
            assert _get(guarded, f"/api/jobs?limit={door + 1}", cookie.value).status == 200
        admin.access.revoke_key("browser")
    wait_for(lambda: _get(guarded, "/api/jobs", cookie.value).status == 401)


def test_a_session_ends_with_the_secret_that_it_was_made_from(guarded: Guarded) -> None:
    with guarded.client() as admin:
        _, token = admin.access.create_key("laptop", scopes=["jobs"])
        begun = wait_for(lambda: _signed_in(guarded, token))
        cookie = SimpleCookie(begun.headers["set-cookie"])["kernelport-session"].value
        admin.access.rotate_key("laptop", grace_s=0)
        wait_for(lambda: _get(guarded, "/api/jobs", cookie).status == 401)
        admin.access.revoke_key("laptop")


def test_signing_out_drops_the_cookie(guarded: Guarded) -> None:
    ended = ask(guarded.stack.url, "DELETE", "/api/session")
    assert SimpleCookie(ended.headers["set-cookie"])["kernelport-session"]["max-age"] == "0"


def test_no_session_is_made_of_a_wrong_key(guarded: Guarded) -> None:
    refused = ask(guarded.stack.url, "POST", "/api/session", {"key": guarded.first[:-4] + "AAAA"})
    assert refused.status == 401
    assert "set-cookie" not in refused.headers


def test_a_page_of_another_origin_cannot_sign_anybody_in(guarded: Guarded) -> None:
    headers = {"Origin": "https://evil.example"}
    assert ask(guarded.stack.url, "POST", "/api/session", {"key": guarded.first}, headers).status == 403


def test_a_signed_address_serves_one_download_without_a_key(guarded: Guarded) -> None:
    row = {"x": np.ones((1, 1, 1, 4), np.float32)}
    with Client(guarded.stack.target, api_key=guarded.other) as client:
        jobs = [client.jobs.submit("identity-onnx", [("one", row)]) for _ in range(2)]
        for job in jobs:
            client.jobs.wait(job.id, timeout_s=60)
    paths = [f"/api/jobs/{job.id}/outputs/one" for job in jobs]
    headers = {"Authorization": f"Bearer {guarded.other}"}
    told = ask(guarded.stack.url, "POST", "/api/signed", {"path": paths[0]}, headers).json()
    assert told["url"].startswith(f"{paths[0]}?signature=")
    assert guarded.other not in told["url"]
    assert ask(guarded.stack.url, "GET", told["url"]).body[:2] == b"PK"
    signature = told["url"].partition("?")[2]
    for other in (paths[1], f"/api/jobs/{jobs[0].id}/manifest", f"/api/jobs/{jobs[0].id}", "/api/keys"):
        assert ask(guarded.stack.url, "GET", f"{other}?{signature}").status == 401, other
    assert ask(guarded.stack.url, "DELETE", f"/api/jobs/{jobs[0].id}?{signature}").status == 401


@pytest.mark.parametrize("path", ["", "api/jobs", "//evil.example/x", "/api/jobs?limit=1", "/a#b", 7, None])
def test_what_is_no_path_here_is_not_signed(path: object, guarded: Guarded) -> None:
    headers = {"Authorization": f"Bearer {guarded.first}"}
    assert ask(guarded.stack.url, "POST", "/api/signed", {"path": path}, headers).status == 400


def test_what_is_signed_is_over_at_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    signs = Signatures(b"secret")
    session, address = signs.session(KEY, SHA256), signs.address(KEY, "/a")
    assert signs.of_session(session) == signs.of_address("/a", address) == (KEY.id, "ab" * 8)
    now = clock.now()
    for lasts_s, check in (
        (signatures.ADDRESS_S, lambda: signs.of_address("/a", address)),
        (signatures.SESSION_S, lambda: signs.of_session(session)),
    ):
        monkeypatch.setattr(clock, "now", lambda lasts_s=lasts_s: now + lasts_s + 1)
        with pytest.raises(UnauthenticatedError) as refused:
            check()
        assert refused.value.reason == "SIGNATURE_EXPIRED"


def test_nothing_but_what_was_signed_is_taken() -> None:
    signs = Signatures(b"secret")
    session, address = signs.session(KEY, SHA256), signs.address(KEY, "/a")
    key_id, secret, ends, signature = session.split(".")
    for forged in (
        "",
        "....",
        "x" * 10_000,
        session[:-1],
        f"{session}0",
        address,  # an address is no session
        f"{key_id[:-1]}0.{secret}.{ends}.{signature}",
        f"{key_id}.{secret}.{int(ends) + 1}.{signature}",
        f"{key_id}.{secret}.\N{ARABIC-INDIC DIGIT ONE}.{signature}",
        Signatures(b"other").session(KEY, SHA256),
    ):
        with pytest.raises(UnauthenticatedError):
            signs.of_session(forged)
    for path in ("/b", "/a/", "/A", "/a\n"):
        with pytest.raises(UnauthenticatedError):
            signs.of_address(path, address)
    # What is signed is one text: none that is cut elsewhere passes for it.
    key_id, secret, ends, signature = signs.address(KEY, "/a\n/b").split(".")
    with pytest.raises(UnauthenticatedError):
        signs.of_address("/b", f"{key_id}.{secret}.{ends}\n/a.{signature}")


def _signed_in(guarded: Guarded, token: str) -> Reply | None:
    reply = ask(guarded.stack.url, "POST", "/api/session", {"key": token})
    return reply if reply.status == 200 else None


def _get(guarded: Guarded, path: str, session: str) -> Reply:
    return ask(guarded.stack.url, "GET", path, headers={"Cookie": f"other=1; kernelport-session={session}"})
