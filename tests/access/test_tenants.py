"""Two tenants with the same names for everything: neither sees, hears or changes what the other has."""

import io
from collections.abc import Callable, Iterator
from urllib.request import Request, urlopen

import numpy as np
import pytest
import soundfile
from redis import Redis

from kernelport import AlreadyExistsError, Client, KernelPortError, NotFoundError
from kernelport.broker.scripts import bury
from kernelport.v1.dead_letter_pb2 import DeadLetter
from kernelport.v1.inference_pb2 import InferRequest
from tests.access.conftest import OTHER, Guarded
from tests.http.calls import ask
from tests.waiting import wait_for

DEPLOYMENT = "identity-onnx"


def row(value: float) -> dict[str, np.ndarray]:
    return {"x": np.full((1, 1, 1, 4), value, np.float32)}


@pytest.fixture(scope="module")
def tokens(guarded: Guarded) -> Iterator[tuple[str, str]]:
    """A key of the default tenant, and one of another, both without `admin`."""
    with guarded.client() as admin:
        _, token = admin.access.create_key("ours", scopes=["infer", "jobs", "voices"])
        yield token, guarded.other
        admin.access.revoke_key("ours")


@pytest.fixture(scope="module")
def both(guarded: Guarded, tokens: tuple[str, str]) -> Iterator[tuple[Client, Client]]:
    with guarded.client(tokens[0]) as ours, guarded.client(tokens[1]) as theirs:
        for client in (ours, theirs):
            wait_for(lambda client=client: _lists(client))  # type: ignore[misc]
        yield ours, theirs


def test_the_same_request_id_is_two_requests(both: tuple[Client, Client]) -> None:
    for number, client in enumerate(both):
        for _ in range(2):
            found = client.infer(DEPLOYMENT, row(number), request_id="same")["y"]
            assert found.ravel().tolist() == [number] * 4
    with pytest.raises(AlreadyExistsError):
        both[0].infer(DEPLOYMENT, row(7), request_id="same")


def test_no_text_of_one_tenant_is_the_request_id_of_another(both: tuple[Client, Client]) -> None:
    both[1].infer(DEPLOYMENT, row(1), request_id="here")
    assert both[0].infer(DEPLOYMENT, row(0), request_id=f"{OTHER}~here")["y"].ravel().tolist() == [0] * 4


def test_jobs_of_the_same_request_and_item_ids_are_apart(guarded: Guarded, both: tuple[Client, Client]) -> None:
    jobs = [
        client.jobs.submit(DEPLOYMENT, [("first", row(n)), ("second", row(n))], request_id="nightly")
        for n, client in enumerate(both)
    ]
    assert jobs[0].id != jobs[1].id
    assert "~" not in jobs[0].id + jobs[1].id
    done = [client.jobs.wait(job.id, timeout_s=60) for client, job in zip(both, jobs, strict=True)]
    assert [job.progress.succeeded for job in done] == [2, 2]
    for client, job, other in zip(both, jobs, reversed(jobs), strict=True):
        assert job.id in [each.id for each in client.jobs.list()]
        assert other.id not in [each.id for each in client.jobs.list()]
        for call in _calls_about(client, other.id):
            with pytest.raises(NotFoundError) as refused:
                call()
            assert refused.value.reason == "JOB_NOT_FOUND"
    with guarded.client() as admin:
        seen = [job.id for job in admin.jobs.list()]
        assert {jobs[0].id, f"{OTHER}~{jobs[1].id}"} <= set(seen)
        assert [item.id for item in admin.jobs.items(f"{OTHER}~{jobs[1].id}")] == ["first", "second"]
        admin.jobs.delete(f"{OTHER}~{jobs[1].id}")
    with pytest.raises(NotFoundError):
        both[1].jobs.get(jobs[1].id)
    assert both[0].jobs.get(jobs[0].id).id == jobs[0].id


def test_a_list_of_jobs_goes_on_where_its_page_ended(guarded: Guarded, both: tuple[Client, Client]) -> None:
    for client in both:
        for _ in range(3):
            client.jobs.submit(DEPLOYMENT, [row(0)])
    with guarded.client() as admin:
        whole = [job.id for job in admin.jobs.list()]
    paged, token = [], ""
    while True:
        path = f"/api/jobs?limit=2&page_token={token}"
        page = ask(guarded.stack.url, "GET", path, headers={"api-key": guarded.first}).json()
        paged += [job["id"] for job in page["jobs"]]
        token = page["next_page_token"]
        if not token:
            break
    assert paged == whole
    assert len(set(whole)) == len(whole)


def test_voices_of_the_same_name_are_apart(
    guarded: Guarded, tokens: tuple[str, str], both: tuple[Client, Client]
) -> None:
    for number, client in enumerate(both):
        client.add_voice("narrator", _recording(number), consent="signed", owner=f"owner {number}")
    with pytest.raises(AlreadyExistsError):
        both[0].add_voice("narrator", _recording(0), consent="signed", owner="again")
    for number, client in enumerate(both):
        assert [(voice.name, voice.owner) for voice in client.voices()] == [("narrator", f"owner {number}")]
        assert client.voice("narrator").owner == f"owner {number}"
    for token, path in zip((*tokens, guarded.first), ("narrator", "narrator", f"{OTHER}~narrator"), strict=True):
        heard = ask(
            guarded.stack.url, "GET", f"/api/voices/{path}/recording", headers={"Authorization": f"Bearer {token}"}
        )
        assert heard.body == _recording(int(token != tokens[0])), "its own, not that of the other tenant"
    with guarded.client() as admin:
        assert {voice.name for voice in admin.voices()} == {"narrator", f"{OTHER}~narrator"}
        assert admin.voice(f"{OTHER}~narrator").owner == "owner 1"
    assert both[1].delete_voice("narrator")
    assert not both[1].delete_voice("narrator")
    assert both[0].voice("narrator").owner == "owner 0"
    assert both[0].delete_voice("narrator")


def test_files_are_their_tenants_own(guarded: Guarded, tokens: tuple[str, str]) -> None:
    ids = [_upload(guarded, token) for token in tokens]
    for token, own, other in zip(tokens, ids, reversed(ids), strict=True):
        headers = {"Authorization": f"Bearer {token}"}
        listed = ask(guarded.stack.url, "GET", "/v1/files", headers=headers).json()["data"]
        assert own in [each["id"] for each in listed]
        assert other not in [each["id"] for each in listed]
        assert ask(guarded.stack.url, "GET", f"/v1/files/{own}/content", headers=headers).body == b"a line\n"
        for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
            assert ask(guarded.stack.url, method, f"/v1/files/{other}{path}", headers=headers).status == 404
        assert ask(guarded.stack.url, "DELETE", f"/v1/files/{own}", headers=headers).status == 200


def test_dead_letters_of_the_same_id_are_apart(guarded: Guarded, both: tuple[Client, Client]) -> None:
    with Redis.from_url(guarded.stack.settings.redis_url) as redis:
        for number, tenant in enumerate(("default", OTHER)):
            request = InferRequest(model=DEPLOYMENT).SerializeToString()
            letter = DeadLetter(id="same", deployment=DEPLOYMENT, reason=f"reason {number}", request=request)
            bury(redis, letter, tenant)
    for number, client in enumerate(both):
        assert [(each.id, each.reason) for each in client.dead_letters(DEPLOYMENT)] == [("same", f"reason {number}")]
        assert client.dead_letter(DEPLOYMENT, "same").reason == f"reason {number}"
    assert both[0].purge_dead_letter(DEPLOYMENT, "same")
    assert both[1].dead_letter(DEPLOYMENT, "same").reason == "reason 1"
    with guarded.client() as admin:
        assert [each.id for each in admin.dead_letters(DEPLOYMENT)] == [f"{OTHER}~same"]
        assert admin.purge_dead_letter(DEPLOYMENT, f"{OTHER}~same")


def test_events_tell_of_ones_own_alone(guarded: Guarded, tokens: tuple[str, str], both: tuple[Client, Client]) -> None:
    job = both[1].jobs.submit(DEPLOYMENT, [row(0)])
    seen = [_first_events(guarded, token) for token in (*tokens, guarded.first)]
    assert [job.id in told for told in seen] == [False, True, True]
    assert f"{OTHER}~{job.id}" in seen[2]


def _calls_about(client: Client, job_id: str) -> Iterator[Callable[[], object]]:
    yield lambda: client.jobs.get(job_id)
    yield lambda: list(client.jobs.items(job_id))
    yield lambda: list(client.jobs.watch(job_id))
    yield lambda: client.jobs.cancel(job_id)
    yield lambda: client.jobs.resume(job_id)
    yield lambda: client.jobs.delete(job_id)
    yield lambda: client.jobs.seal(job_id)


def _recording(number: int) -> bytes:
    times = np.arange(16_000) / 16_000
    file = io.BytesIO()
    soundfile.write(file, 0.5 * np.sin(2 * np.pi * (220 + 110 * number) * times), 16_000, format="WAV")
    return file.getvalue()


def _upload(guarded: Guarded, token: str) -> str:
    fields = 'Content-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
    file = 'Content-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\na line\n\r\n'
    body = f"--mark\r\n{fields}--mark\r\n{file}--mark--\r\n".encode()
    headers = {"Content-Type": "multipart/form-data; boundary=mark", "Authorization": f"Bearer {token}"}
    return str(ask(guarded.stack.url, "POST", "/v1/files", body, headers).json()["id"])


def _first_events(guarded: Guarded, token: str) -> str:
    request = Request(f"{guarded.stack.url}/api/events", headers={"Authorization": f"Bearer {token}"})
    told = ""
    with urlopen(request, timeout=30) as events:
        while ": now" not in told:
            told += events.readline().decode()
    return told


def _lists(client: Client) -> bool:
    try:
        return bool(client.deployments())
    except KernelPortError:
        return False
