"""An item may be of any size that a message can have, at any place in its job, whichever way it comes."""

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import pytest

from kernelport import AsyncClient, Client, ResourceExhaustedError
from kernelport.client.jobs import messages
from kernelport.config.settings import bundled_deployments
from kernelport.supervisor.stack import Stack
from kernelport.v1 import job_pb2 as pb
from kernelport.v1 import job_pb2_grpc
from tests.cli.running import called
from tests.conftest import serving_stack, stack_settings
from tests.item_files.speech import SPEECH
from tests.jobs.calls import tiny

MIB = 2**20
MESSAGE_BYTES = 6 * MIB
# Just above what the SDK sends at a time, what stock clients take, and what fits into one message with its envelope.
SIZES = (MIB + 64, 4 * MIB + 64, MESSAGE_BYTES - 256)
PLACES = ("first", "middle", "last", "alone")


@pytest.fixture(scope="module")
def small_messages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A front door that takes messages of up to 6 MiB."""
    settings = replace(stack_settings(bundled_deployments()), max_message_bytes=MESSAGE_BYTES)
    with serving_stack(settings, ["identity-onnx"], tmp_path_factory.mktemp("sizes")) as stack:
        yield stack


def job_of(size: int, place: str) -> list[pb.NewItem]:
    """Items of a job: small ones, and one of about `size` bytes."""
    large = tiny("large", 7.0, width=size // 4)
    small = [tiny("s1", 1.0), tiny("s2", 2.0)]
    return {"first": [large, *small], "middle": [small[0], large, small[1]], "last": [*small, large]}.get(
        place, [large]
    )


def by_contract(target: str, jobs: Sequence[list[pb.NewItem]]) -> list[str]:
    """Messages as a stock client sends them: as many items in one as fit."""
    with grpc.insecure_channel(target) as channel, ThreadPoolExecutor(4) as pool:
        stub = job_pb2_grpc.JobServiceStub(channel)

        def submit(items: list[pb.NewItem]) -> str:
            spec = pb.JobSpec(deployment="identity-onnx")
            if sum(item.ByteSize() for item in items) < MESSAGE_BYTES - 128:
                return str(stub.SubmitJob(pb.SubmitJobRequest(spec=spec, items=items)).job.id)
            job_id = str(stub.SubmitJob(pb.SubmitJobRequest(spec=spec, open=True)).job.id)
            stub.AddItems(pb.AddItemsRequest(job_id=job_id, items=[item]) for item in items)
            stub.AddItems(iter([pb.AddItemsRequest(job_id=job_id, seal=True)]))
            return job_id

        return list(pool.map(submit, jobs))


def by_sdk(target: str, jobs: Sequence[list[pb.NewItem]]) -> list[str]:
    with Client(target) as client, ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda items: client.jobs.submit("identity-onnx", items).id, jobs))


def by_async_sdk(target: str, jobs: Sequence[list[pb.NewItem]]) -> list[str]:
    async def submit() -> list[str]:
        async with AsyncClient(target) as client:
            return [job.id for job in await asyncio.gather(*(client.jobs.submit("identity-onnx", j) for j in jobs))]

    return asyncio.run(submit())


@pytest.mark.parametrize("way", [by_contract, by_sdk, by_async_sdk])
def test_an_item_of_any_size_at_any_place(
    small_messages: Stack, way: Callable[[str, Sequence[list[pb.NewItem]]], list[str]]
) -> None:
    jobs = [job_of(size, place) for size in SIZES for place in PLACES]
    with Client(small_messages.target) as client:
        for items, job_id in zip(jobs, way(small_messages.target, jobs), strict=True):
            job = client.jobs.wait(job_id)
            assert (job.state, job.progress.succeeded) == (pb.JOB_STATE_SUCCEEDED, len(items))
            assert [item.id for item in client.jobs.items(job_id)] == [item.id for item in items]
            client.jobs.delete(job_id, delete_outputs=True)


def test_an_item_of_any_size_at_any_place_of_a_file(small_messages: Stack, tmp_path: Path) -> None:
    np.save(tmp_path / "large.npy", np.ones((1, 1, 1, (4 * MIB + 64) // 4), np.float32))
    rows = {"large": "@large.npy", "s1": [[[[1.0]]]], "s2": [[[[2.0]]]]}
    for names in (["large", "s1", "s2"], ["s1", "large", "s2"], ["s1", "s2", "large"]):
        file = tmp_path / "items.jsonl"
        file.write_text("".join(json.dumps({"id": name, "x": rows[name]}) + "\n" for name in names))
        options = ("--deployment", "identity-onnx", "--files", tmp_path, "--target", small_messages.target)
        job_id = called("jobs", "submit", file, *options).stdout.strip()
        with Client(small_messages.target) as client:
            assert client.jobs.wait(job_id).progress.succeeded == 3
            assert [item.id for item in client.jobs.items(job_id)] == names


@pytest.mark.parametrize("place", PLACES)
def test_an_item_that_no_message_can_carry_is_refused_and_leaves_no_open_job(small_messages: Stack, place: str) -> None:
    with Client(small_messages.target) as client:
        with pytest.raises(ResourceExhaustedError, match=r"larger than max .* KERNELPORT_MAX_MESSAGE_BYTES"):
            client.jobs.submit("identity-onnx", job_of(MESSAGE_BYTES + 64, place))
        assert [job.id for job in client.jobs.list(states=["JOB_STATE_RUNNING", "JOB_STATE_PENDING"])] == []


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("over", [-200, -1, 0, 1, 200])
def test_messages_of_items_around_the_limit_lose_and_double_none(
    monkeypatch: pytest.MonkeyPatch, place: str, over: int
) -> None:
    monkeypatch.setattr(messages, "BATCH_BYTES", 1000)
    items = job_of(1000, place)
    large = next(item for item in items if item.id == "large")
    large.inputs[0].data = bytes(len(large.inputs[0].data) - large.ByteSize() + 1000 + over)
    sent = [item.id for batch in messages.batches(items, SPEECH, lambda: None) for item in batch]
    assert sent == [item.id for item in items]
