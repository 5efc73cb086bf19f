"""`client.jobs` and its asyncio twin, on the real stack."""

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from kernelport import (
    AlreadyExistsError,
    AsyncClient,
    Client,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)
from kernelport.client.jobs import messages
from kernelport.client.jobs.sync import submitting
from kernelport.supervisor.ports import free_port
from kernelport.supervisor.stack import Stack
from kernelport.tensors import from_array
from kernelport.v1 import job_pb2 as pb
from kernelport.v1 import job_pb2_grpc
from tests.jobs_client.proxy import proxied

X = np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)


def tensors(count: int) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    for number in range(count):
        yield f"t-{number:05}", {"x": X + number}


def test_a_job_from_any_iterable_of_items(client: Client, tmp_path: Path) -> None:
    items = ["Good morning.", {"text": "Good day.", "speed": 1.5}, ("evening", "Good evening."), ("n", {"text": "Hm."})]
    job = client.jobs.wait(client.jobs.submit("hibari-en", items, metadata={"a": "b"}, output_format="ogg").id)
    assert job.state == pb.JOB_STATE_SUCCEEDED
    assert dict(job.spec.metadata) == {"a": "b"}
    found = list(client.jobs.items(job.id))
    assert [(item.id, item.text) for item in found] == [
        ("000001", "Good morning."),
        ("000002", "Good day."),
        ("evening", "Good evening."),
        ("n", "Hm."),
    ]
    path = client.jobs.fetch(job.id, found[2], tmp_path)
    assert path == tmp_path / "evening.ogg"
    assert path.read_bytes() == b"".join(client.jobs.output(job.id, "evening"))
    before = path.stat().st_mtime_ns
    assert client.jobs.fetch(job.id, found[2], tmp_path) == path
    assert path.stat().st_mtime_ns == before, "what is there and right stays"
    path.write_bytes(b"wrong")
    client.jobs.fetch(job.id, found[2], tmp_path)
    assert path.stat().st_size == found[2].file_bytes
    client.jobs.delete(job.id, delete_outputs=True)
    with pytest.raises(NotFoundError):
        client.jobs.get(job.id)


def test_a_folder_is_a_jobs_once_the_job_and_what_is_fetched_of_it_are_found(client: Client, tmp_path: Path) -> None:
    job = client.jobs.wait(client.jobs.submit("identity-onnx", tensors(1)).id)
    (item,) = client.jobs.items(job.id)
    with pytest.raises(NotFoundError, match="there is no job"):
        client.jobs.fetch_manifest("1a22-00000000", tmp_path / "out")
    with pytest.raises(NotFoundError, match="there is no job"):
        client.jobs.fetch("1a22-00000000", item, tmp_path / "out")
    with pytest.raises(NotFoundError, match="has no item"):
        client.jobs.fetch(job.id, pb.Item(id="typo", file=item.file), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert client.jobs.fetch_all(job.id, tmp_path / "out") == [tmp_path / "out" / item.file]
    with pytest.raises(FileExistsError, match=job.id):
        client.jobs.fetch_manifest("1a22-00000000", tmp_path / "out")


def test_an_item_without_an_output_says_why(client: Client, tmp_path: Path) -> None:
    job = client.jobs.submit("luxtts", [("a", {"text": "Hi."})])  # nobody serves it
    (seen,) = client.jobs.items(job.id)
    client.jobs.cancel(job.id, "not wanted")
    client.jobs.wait(job.id)
    told = 'item_id: item "a" is cancelled: '
    with pytest.raises(FailedPreconditionError, match=told):
        list(client.jobs.output(job.id, "a"))
    with pytest.raises(FailedPreconditionError, match=told):
        client.jobs.fetch(job.id, seen, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_item_has_an_empty_id(client: Client) -> None:
    job = client.jobs.wait(client.jobs.submit("identity-onnx", tensors(1)).id)
    with pytest.raises(NotFoundError, match='has no item ""') as refused:
        list(client.jobs.output(job.id, ""))
    assert refused.value.reason == "ITEM_NOT_FOUND"


def test_a_large_job_travels_in_bounded_messages_and_every_item_is_told_once(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "BATCH_ITEMS", 100)
    job = client.jobs.submit("identity-onnx", tensors(950))
    assert (job.progress.items, job.sealed) == (950, True)
    told = Counter(item.id for item in client.jobs.finished_items(job.id))
    assert told == Counter(name for name, _ in tensors(950))
    assert [item.id for item in client.jobs.items(job.id)] == [name for name, _ in tensors(950)]


def test_a_submission_and_a_watch_go_on_when_the_connection_breaks(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "BATCH_ITEMS", 50)
    with proxied(stack.target) as proxy, Client(proxy.target) as client:

        def breaking() -> Iterator[tuple[str, dict[str, np.ndarray]]]:
            for number, item in enumerate(tensors(600)):
                if number in (120, 333):
                    proxy.break_all()
                yield item

        job = client.jobs.submit("identity-onnx", breaking())
        assert (job.progress.items, job.sealed) == (600, True)
        told: Counter[str] = Counter()
        for number, event in enumerate(client.jobs.watch(job.id, items=True, interval_s=0.1)):
            told.update(item.id for item in event.items)
            if number in (0, 1):
                proxy.break_all()
        assert told == Counter(name for name, _ in tensors(600))
        assert proxy.broken > 0


def test_a_request_id_goes_on_with_a_submission_that_broke_off(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "BATCH_ITEMS", 50)

    def dying() -> Iterator[tuple[str, dict[str, np.ndarray]]]:
        for number, item in enumerate(tensors(300)):
            if number == 220:
                raise RuntimeError("the power is out")
            yield item

    with pytest.raises(RuntimeError, match="the power is out"):
        client.jobs.submit("identity-onnx", dying(), request_id="goes-on")
    job = client.jobs.submit("identity-onnx", tensors(300), request_id="goes-on")
    assert (job.progress.items, job.sealed) == (300, True)
    assert client.jobs.submit("identity-onnx", tensors(300), request_id="goes-on").id == job.id
    assert client.jobs.wait(job.id).progress.succeeded == 300
    with pytest.raises(AlreadyExistsError):
        client.jobs.submit("identity-onnx", tensors(300), request_id="goes-on", priority=7)


def test_submissions_of_one_request_id_at_the_same_time_are_one(client: Client) -> None:
    with ThreadPoolExecutor(4) as pool:
        submitted = [
            pool.submit(client.jobs.submit, "identity-onnx", tensors(6_000), request_id="together") for _ in range(4)
        ]
    assert len({each.result().id for each in submitted}) == 1
    assert client.jobs.wait(submitted[0].result().id).progress.succeeded == 6_000


@pytest.mark.parametrize("stays_open", [True, False])
def test_a_submission_that_is_overtaken_takes_nothing_from_the_others(stack: Stack, stays_open: bool) -> None:
    items = [pb.NewItem(id=name, inputs=[from_array("x", inputs["x"])]) for name, inputs in tensors(2_000)]
    with grpc.insecure_channel(stack.target) as channel, ThreadPoolExecutor(8) as pool:
        stub: Any = job_pb2_grpc.JobServiceStub(channel)

        def submit(request: pb.SubmitJobRequest) -> str:
            """The id of its job; empty when it has been overtaken."""
            try:
                job: pb.Job = stub.SubmitJob(request, timeout=60).job
            except grpc.RpcError as error:
                if isinstance(error, grpc.Call) and error.code() == grpc.StatusCode.ABORTED:
                    return ""
                raise
            return job.id

        for number in range(6):
            request = pb.SubmitJobRequest(
                request_id=f"overtaken-{number}-{stays_open}",
                open=stays_open,
                items=items,
                spec=pb.JobSpec(deployment="identity-onnx"),
            )
            (job_id,) = {job for job in pool.map(submit, [request] * 8) if job}
            assert submit(request) == job_id
            assert stub.GetJob(pb.GetJobRequest(job_id=job_id), timeout=60).job.progress.items == 2_000
            stub.CancelJob(pb.CancelJobRequest(job_id=job_id), timeout=60)


def test_of_submissions_with_other_items_at_the_same_time_one_is_taken(client: Client) -> None:
    def submit(count: int, request_id: str) -> pb.Job | None:
        with contextlib.suppress(AlreadyExistsError):
            return client.jobs.submit("identity-onnx", tensors(count), request_id=request_id)
        return None

    # All have their first items in common, and some go in portions.
    counts = [6_000, 11_000, 6_001, 100, 99]
    for request_id in ("others-1", "others-2", "others-3"):
        with ThreadPoolExecutor(len(counts)) as pool:
            jobs = list(pool.map(submit, counts, itertools.repeat(request_id)))
        [(count, job)] = [(count, job) for count, job in zip(counts, jobs, strict=True) if job is not None]
        assert client.jobs.wait(job.id).progress.succeeded == count


@pytest.mark.parametrize("broken", [False, True])
def test_a_request_id_goes_on_only_with_the_same_items(
    client: Client, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    monkeypatch.setattr(messages, "BATCH_ITEMS", 50)
    name = f"same-items-{broken}"

    def items(value: float, breaks: bool = False) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
        for number in range(300):
            if breaks and number == 220:
                raise RuntimeError("the power is out")
            yield f"i{number}", {"x": X + (value if number < 100 else 0.0)}

    if broken:
        with pytest.raises(RuntimeError):
            client.jobs.submit("identity-onnx", items(1, breaks=True), request_id=name)
    else:
        client.jobs.submit("identity-onnx", items(1), request_id=name)
    with pytest.raises(AlreadyExistsError, match="other items"):
        client.jobs.submit("identity-onnx", items(2), request_id=name)
    known: list[str] = []
    job = client.jobs.submit("identity-onnx", items(1), request_id=name, on_existing=lambda job: known.append(job.id))
    assert known == [job.id]
    assert client.jobs.wait(job.id).progress.succeeded == 300


def test_a_submission_that_breaks_off_without_a_request_id_leaves_no_open_job(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "BATCH_ITEMS", 10)
    items = [
        *(("t", {"x": X + n}) for n in range(1)),
        *((f"u{n}", {"x": X}) for n in range(40)),
        ("bad", {"x": "text"}),
    ]
    with pytest.raises(InvalidArgumentError, match='item "bad"'):
        client.jobs.submit("identity-onnx", items, metadata={"mark": "broke-off"})
    with pytest.raises(InvalidArgumentError, match="output_format: expected one of wav, flac"):
        client.jobs.submit("identity-onnx", tensors(1), output_format="avi")
    job = next(job for job in client.jobs.list("identity-onnx") if job.spec.metadata.get("mark") == "broke-off")
    assert client.jobs.wait(job.id).state == pb.JOB_STATE_CANCELLED
    assert "given up" in client.jobs.get(job.id).reason


async def test_a_submission_whose_task_is_cancelled_leaves_no_job_that_runs(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "BATCH_ITEMS", 10)
    has_begun = asyncio.Event()

    async def coming() -> AsyncIterator[tuple[str, dict[str, np.ndarray]]]:
        for item in tensors(35):
            yield item
        has_begun.set()
        await asyncio.Event().wait()

    async with AsyncClient(stack.target, timeout_s=30) as client:
        task = asyncio.create_task(client.jobs.submit("identity-onnx", coming()))
        await has_begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as broken:
            await task
        job = await client.jobs.wait(broken.value.__notes__[0].split()[1], timeout_s=30)
    assert job.state == pb.JOB_STATE_CANCELLED


def test_a_submission_that_cannot_cancel_its_job_names_it(
    stack: Stack, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "BATCH_ITEMS", 10)
    closing = Client(stack.target, timeout_s=30)

    def items() -> Iterator[tuple[str, dict[str, np.ndarray]]]:
        yield from tensors(35)
        closing.close()

    with pytest.raises(FailedPreconditionError, match="the client is closed") as broken:
        closing.jobs.submit("identity-onnx", items())
    assert "could not be cancelled" in broken.value.__notes__[0]
    job = client.jobs.cancel(broken.value.__notes__[0].split()[1])
    assert not job.sealed


@pytest.mark.parametrize("is_there", [True, False])
def test_a_submission_that_is_broken_off_leaves_no_job_that_runs(
    client: Client, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    """Ctrl-C comes before the answer that names the job, whether the front door has made it or not."""
    ask, asked = submitting._created, []

    def broken_off(*arguments: Any) -> Any:
        asked.append(arguments)
        answer = ask(*arguments) if is_there or len(asked) > 1 else None
        if len(asked) == 1:
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(submitting, "_created", broken_off)
    mark = f"ctrl-c {is_there}"
    with pytest.raises(KeyboardInterrupt) as broken:
        client.jobs.submit("identity-onnx", tensors(1), metadata={"mark": mark})
    (job,) = [job for job in client.jobs.list("identity-onnx") if job.spec.metadata.get("mark") == mark]
    assert broken.value.__notes__[0].startswith(f"job {job.id} had all of its items and ")
    job = client.jobs.wait(job.id)
    assert job.state == pb.JOB_STATE_CANCELLED or job.progress.succeeded == 1, "its only item may have run before"


def test_what_cannot_work_fails_at_once() -> None:
    with Client(f"127.0.0.1:{free_port()}") as client:
        with pytest.raises(UnavailableError):
            client.jobs.submit("identity-onnx", tensors(1))
        with pytest.raises(UnavailableError):
            list(client.jobs.watch("a"))


async def connected_again(client: AsyncClient, job_id: str) -> None:
    """Waits until a client has noticed that its connection was broken: what has not begun yet fails at once."""
    while True:
        try:
            await client.jobs.get(job_id)
        except UnavailableError:
            continue
        return


async def test_the_same_for_asyncio(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "BATCH_ITEMS", 50)

    async def coming() -> AsyncIterator[tuple[str, dict[str, np.ndarray]]]:
        for item in tensors(180):
            yield item

    with proxied(stack.target) as proxy:
        async with AsyncClient(proxy.target) as client:
            job = await client.jobs.submit("identity-onnx", coming(), shared={}, request_id="asyncio")
            assert (job.progress.items, job.sealed) == (180, True)
            assert (
                await client.jobs.submit("identity-onnx", tensors(180), shared={}, request_id="asyncio")
            ).id == job.id
            told = Counter[str]()
            async for item in client.jobs.finished_items(job.id):
                told[item.id] += 1
                if len(told) == 1:
                    await asyncio.to_thread(proxy.break_all)
            assert told == Counter(name for name, _ in tensors(180))
            await connected_again(client, job.id)
            assert (await client.jobs.wait(job.id)).state == pb.JOB_STATE_SUCCEEDED
            items = [item async for item in client.jobs.items(job.id, ["ITEM_STATE_SUCCEEDED"])]
            assert len(items) == 180
            path = await client.jobs.fetch(job.id, items[7], tmp_path)
            with np.load(path) as outputs:
                assert np.array_equal(outputs["y"], X + 7)
            assert job.id in [each.id async for each in client.jobs.list("identity-onnx", ["JOB_STATE_SUCCEEDED"])]
            assert (await client.jobs.cancel(job.id)).state == pb.JOB_STATE_SUCCEEDED, "what is over stays as it is"
            await client.jobs.delete(job.id, delete_outputs=True)
            with pytest.raises(NotFoundError):
                await client.jobs.get(job.id)
