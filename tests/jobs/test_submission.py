"""Taking jobs in: what is checked, what is safe to repeat, and what is refused."""

import hashlib
import time
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
from redis import Redis

from kernelport import tensors
from kernelport.broker import keys
from kernelport.items import running_digests
from kernelport.jobs import scripts
from kernelport.jobs.pages import PAGE_ITEMS
from kernelport.limits import MAX_ITEMS, MAX_TENSORS
from kernelport.supervisor.stack import Stack
from kernelport.v1 import job_pb2 as pb
from kernelport.v1.inference_pb2 import Tensor
from tests.everyday.conftest import UNSPEAKABLE
from tests.jobs.calls import JobCalls, spoken, tiny
from tests.waiting import wait_for

MODEL = "identity-onnx"


def refused(call: object) -> grpc.Call:
    with pytest.raises(grpc.RpcError) as error:
        call()  # type: ignore[operator]
    return error.value  # type: ignore[return-value]


def test_a_repeated_submission_names_the_same_job(jobs: JobCalls) -> None:
    items = [tiny(f"i{number}") for number in range(3)]
    request = pb.SubmitJobRequest(request_id="once", spec=pb.JobSpec(deployment=MODEL), items=items)
    first, second = jobs.stub.SubmitJob(request), jobs.stub.SubmitJob(request)
    assert (first.existed, second.existed) == (False, True)
    assert first.job.id == second.job.id
    assert jobs.wait(first.job.id).progress.items == 3
    request.items.append(tiny("more"))
    assert refused(lambda: jobs.stub.SubmitJob(request)).code() is grpc.StatusCode.ALREADY_EXISTS


def test_a_repeated_submission_may_have_another_deadline(jobs: JobCalls) -> None:
    first, second = (round((time.time() + hours * 3600) * 1e6) for hours in (12, 13))
    submit = {"request_id": "deadline", "items": [tiny("a")]}
    job = jobs.submit(MODEL, deadline_unix_us=first, **submit)
    for other in ({"deadline_unix_us": second}, {"deadline_in_s": 60}):
        again = jobs.submit(MODEL, **other, **submit)
        assert (again.id, again.spec.deadline_unix_us) == (job.id, first)


def test_a_repeated_submission_is_refused_once_items_were_replaced(jobs: JobCalls) -> None:
    """Whether it comes with the items as they were or as they are, and wherever a message of them ends."""
    good = [spoken(f"{number}", "Hello.") for number in range(3)]
    bad = [spoken("0", UNSPEAKABLE), *good[1:]]
    job = jobs.wait(jobs.submit("hibari-en", bad, request_id="replaced").id)
    jobs.replace(job.id, good[:1])
    for items in (bad, good):
        for end in (1, 3):
            error = refused(lambda items=items, end=end: jobs.add(job.id, items[:end], offset=0))
            assert error.code() is grpc.StatusCode.ALREADY_EXISTS
            assert "some of them have been replaced since" in error.details()
    assert jobs.add(job.id, seal=True).id == job.id


def test_items_sent_again_after_a_broken_stream_are_added_once(jobs: JobCalls) -> None:
    job = jobs.submit(MODEL, [], open=True)
    batches = [[tiny(f"{start + number}") for number in range(100)] for start in (0, 100, 200)]
    jobs.stub.AddItems(iter([pb.AddItemsRequest(job_id=job.id, offset=0, items=batches[0])]))
    again = [
        pb.AddItemsRequest(job_id=job.id, offset=0, items=batches[0]),
        pb.AddItemsRequest(offset=50, items=[*batches[0][50:], *batches[1]]),
        pb.AddItemsRequest(items=batches[2], seal=True),
    ]
    assert jobs.stub.AddItems(iter(again)).job.sealed
    assert jobs.wait(job.id).progress.succeeded == 300
    assert [item.id for item in jobs.items(job.id, page_size=77)] == [str(number) for number in range(300)]


@pytest.mark.parametrize("sealed", [False, True])
def test_a_request_id_with_other_items_is_refused_in_whatever_messages_they_come(jobs: JobCalls, sealed: bool) -> None:
    name, items = f"other-{sealed}", [tiny(f"{number}", number) for number in range(300)]
    job = jobs.submit(MODEL, items[:100], open=True, request_id=name)
    jobs.add(job.id, items[100:250], offset=100)
    jobs.add(job.id, items[250:], offset=250, seal=sealed)
    other = [*items[:149], tiny("149", 7.0), *items[150:]]

    def again(items: list[pb.NewItem], **fields: object) -> grpc.StatusCode:
        return refused(lambda: jobs.add(job.id, items, **fields)).code()

    assert again(other[100:250], offset=100) is grpc.StatusCode.ALREADY_EXISTS
    assert again(other[140:160], offset=140) is grpc.StatusCode.ALREADY_EXISTS, "in the middle of what was stored"
    assert again(items[300:], offset=300, digest=running_digests(b"", other)[-1]) is grpc.StatusCode.ALREADY_EXISTS
    assert again(items[:200], offset=0, seal=True) is grpc.StatusCode.ALREADY_EXISTS, "fewer"
    submit = {"spec": pb.JobSpec(deployment=MODEL), "request_id": name}
    for wrong in (other, items[:200], [*items, tiny("more")] if sealed else items[1:]):
        request = pb.SubmitJobRequest(items=wrong, **submit)  # type: ignore[arg-type]
        assert refused(lambda request=request: jobs.stub.SubmitJob(request)).code() is grpc.StatusCode.ALREADY_EXISTS

    for start, end in ((0, 77), (77, 300)):
        jobs.add(job.id, items[start:end], offset=start, digest=running_digests(b"", items[:end])[-1])
    assert jobs.submit(MODEL, items, request_id=name).id == job.id
    assert jobs.wait(job.id).progress.succeeded == 300
    assert jobs.submit(MODEL, items, request_id=name).id == job.id, "when it is over, too"
    request = pb.SubmitJobRequest(items=other, **submit)  # type: ignore[arg-type]
    assert refused(lambda: jobs.stub.SubmitJob(request)).code() is grpc.StatusCode.ALREADY_EXISTS


def test_a_submission_that_another_of_its_request_id_overtakes_is_told_to_look_again(jobs: JobCalls) -> None:
    items = [tiny(f"{number}", number) for number in range(2 * PAGE_ITEMS)]
    job = jobs.submit(MODEL, [], open=True, request_id="overtaken")

    def messages() -> Iterator[pb.AddItemsRequest]:
        digest = running_digests(b"", items)[-1]
        yield pb.AddItemsRequest(job_id=job.id, offset=0, items=items, digest=digest)
        wait_for(lambda: jobs.get(job.id).progress.items == PAGE_ITEMS, 10, "its first page")
        jobs.add(job.id, seal=True)
        yield pb.AddItemsRequest(offset=len(items), seal=True, digest=digest)

    error = refused(lambda: jobs.stub.AddItems(messages()))
    assert (error.code(), error.details()) == (
        grpc.StatusCode.ABORTED,
        f'job_id: somebody else adds items to "{job.id}"; try again',
    )
    again = refused(lambda: jobs.add(job.id, items, offset=0, digest=running_digests(b"", items)[-1]))
    assert again.code() is grpc.StatusCode.ALREADY_EXISTS


def test_a_job_is_sealed_with_the_items_that_its_submission_has(jobs: JobCalls, stack: Stack) -> None:
    job = jobs.submit(MODEL, [tiny("a"), tiny("b")], open=True)
    with Redis.from_url(stack.settings.redis_url) as redis:
        assert scripts.run(redis, "seal", job.id, 1) == [b"moved", b"2"]
        assert not jobs.get(job.id).sealed
        assert scripts.run(redis, "seal", job.id, 2) == [b"ok"]
    assert jobs.wait(job.id).progress.succeeded == 2


def test_a_job_that_version_0_1_0_began_is_gone_on_with_and_ends(jobs: JobCalls, stack: Stack) -> None:
    """It kept the digest of the request, but neither digests of items nor how often workers took them."""
    items = [tiny(f"{number}", number) for number in range(300)]
    spec, name = pb.JobSpec(deployment=MODEL), "of-0.1.0"
    request = pb.SubmitJobRequest(spec=spec, request_id=name, open=True)
    job = jobs.stub.SubmitJob(request).job
    jobs.add(job.id, items[:120])
    wait_for(lambda: jobs.get(job.id).progress.succeeded == 120)
    with Redis.from_url(stack.settings.redis_url) as redis:
        redis.delete(keys.job(job.id, "digests"), keys.job(job.id, "attempts"))
        redis.hdel(keys.job(job.id), "max_batch")
        redis.hdel(keys.job_request(name), "spec")
        digest = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
        redis.hset(keys.job_request(name), "digest", digest)

    assert jobs.stub.SubmitJob(request).job.id == job.id
    other = [tiny(f"{number}", 7.0) for number in range(300)]
    assert refused(lambda: jobs.add(job.id, other[:120], offset=0)).code() is grpc.StatusCode.ALREADY_EXISTS
    jobs.add(job.id, items[60:], offset=60, digest=running_digests(b"", items)[-1], seal=True)
    over = jobs.wait(job.id)
    assert over.state == pb.JOB_STATE_SUCCEEDED
    assert {item.attempts for item in jobs.items(job.id)} == {1}
    assert refused(lambda: jobs.add(job.id, other, offset=0)).code() is grpc.StatusCode.ALREADY_EXISTS
    jobs.delete(job.id)
    wait_for(lambda: jobs.is_gone(job.id))


def test_an_open_job_runs_what_it_has_and_is_over_only_once_sealed(jobs: JobCalls) -> None:
    job = jobs.submit(MODEL, [tiny("a")], open=True)
    for event in jobs.watch(job.id):
        if event.job.progress.succeeded == 1:
            break
    assert jobs.get(job.id).state == pb.JOB_STATE_RUNNING
    jobs.stub.AddItems(iter([pb.AddItemsRequest(job_id=job.id, seal=True)]))
    assert jobs.wait(job.id).state == pb.JOB_STATE_SUCCEEDED
    more = pb.AddItemsRequest(job_id=job.id, items=[tiny("b")])
    assert refused(lambda: jobs.stub.AddItems(iter([more]))).code() is grpc.StatusCode.FAILED_PRECONDITION


def test_a_gap_in_the_items_is_refused(jobs: JobCalls) -> None:
    job = jobs.submit(MODEL, [tiny("a")], open=True)
    gap = pb.AddItemsRequest(job_id=job.id, offset=2, items=[tiny("c")])
    assert refused(lambda: jobs.stub.AddItems(iter([gap]))).code() is grpc.StatusCode.FAILED_PRECONDITION
    jobs.cancel(job.id)
    jobs.wait(job.id)


@pytest.mark.parametrize("apart", [False, True])
def test_an_item_id_is_taken_once(jobs: JobCalls, apart: bool) -> None:
    job = jobs.submit(MODEL, [tiny("a")] if apart else [], open=True)
    twice = pb.AddItemsRequest(job_id=job.id, items=[tiny("b"), tiny("a")] if apart else [tiny("a"), tiny("a")])
    error = refused(lambda: jobs.stub.AddItems(iter([twice])))
    assert error.code() is grpc.StatusCode.ALREADY_EXISTS
    assert '"a"' in error.details()
    assert jobs.get(job.id).progress.items == (1 if apart else 0)
    jobs.cancel(job.id)
    jobs.wait(job.id)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"spec": {"priority": 10_001}}, "spec.priority"),
        ({"spec": {"deadline_unix_us": 1}}, "spec.deadline_unix_us"),
        ({"spec": {"deadline_in_s": -1}}, "spec.deadline_in_s"),
        ({"spec": {"deadline_in_s": 60, "deadline_unix_us": 4 * 10**15}}, "spec.deadline_in_s"),
        ({"spec": {"output_format": pb.OUTPUT_FORMAT_MP3}}, "spec.output_format"),
        ({"spec": {"retention_s": -1}}, "spec.retention_s: expected 0 to 315,360,000 seconds, got -1"),
        ({"spec": {"retention_s": 10**9}}, "spec.retention_s: expected 0 to 315,360,000 seconds, got 1,000,000,000"),
        ({"spec": {"metadata": {"k": "v" * 20_000}}}, "spec.metadata"),
        ({"spec": {"webhook": pb.Webhook(url="ftp://example.org")}}, "spec.webhook.url"),
        ({"spec": {"webhook": pb.Webhook(url=f"https://example.org/{'p' * 2048}")}}, "spec.webhook.url"),
        ({"spec": {"webhook": pb.Webhook(url="https://example.org", secret="s" * 1025)}}, "spec.webhook.secret"),
        ({"spec": {"webhook": pb.Webhook(url="https://example.org", events=[1] * 17)}}, "spec.webhook.events"),
        ({"spec": {"shared_inputs": [tensors.from_array("z", [1.0])]}}, "spec.shared_inputs[0].name"),
        ({"items": [tiny("")]}, "items[0].id"),
        ({"items": []}, "items"),
        ({"items": [tiny(str(number)) for number in range(MAX_ITEMS + 1)]}, "items: expected at most 20,000"),
        ({"items": [pb.NewItem(id="a", inputs=[Tensor()] * (MAX_TENSORS + 1))]}, "items[0].inputs"),
        ({"items": [tiny(str(i)) for i in range(100)] + [pb.NewItem(id="bare")]}, "items[100].inputs"),
        ({"items": [pb.NewItem(id="a", inputs=[tensors.from_array("x", np.zeros(3))])]}, "items[0].inputs[0].dtype"),
        ({"request_id": "r" * 129}, "request_id"),
    ],
)
def test_what_is_wrong_with_a_job_is_named_and_nothing_is_queued(
    jobs: JobCalls, change: dict[str, object], field: str
) -> None:
    spec = pb.JobSpec(deployment=MODEL, **change.pop("spec", {}))  # type: ignore[arg-type]
    known = len(jobs.stub.ListJobs(pb.ListJobsRequest(page_size=1000)).jobs)
    request = pb.SubmitJobRequest(spec=spec, **{"items": [tiny("a")], **change})  # type: ignore[arg-type]
    error = refused(lambda: jobs.stub.SubmitJob(request))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert field in error.details()
    assert len(jobs.stub.ListJobs(pb.ListJobsRequest(page_size=1000)).jobs) == known


def test_an_unknown_deployment_job_or_item_is_not_found(jobs: JobCalls) -> None:
    assert refused(lambda: jobs.submit("nobody", [tiny("a")])).code() is grpc.StatusCode.NOT_FOUND
    assert refused(lambda: jobs.get("nothing")).code() is grpc.StatusCode.NOT_FOUND
    assert refused(lambda: list(jobs.watch("nothing"))).code() is grpc.StatusCode.NOT_FOUND
    job = jobs.wait(jobs.submit(MODEL, [tiny("a")]).id)
    assert refused(lambda: jobs.output(job.id, "b")).code() is grpc.StatusCode.NOT_FOUND


def test_an_items_own_input_goes_before_the_shared_one(jobs: JobCalls) -> None:
    shared = tensors.from_arrays({"speed": np.array([2.0], np.float32)})
    items = [spoken("fast", "Hello there."), spoken("slow", "Hello there.", speed=np.array([0.5], np.float32))]
    job = jobs.wait(jobs.submit("hibari-en", items, shared_inputs=shared).id)
    fast, slow = jobs.items(job.id)
    assert slow.audio_s > 2 * fast.audio_s
    assert job.spec.shared_inputs[0].name == "speed"
    assert not job.spec.shared_inputs[0].data


def test_a_job_that_is_left_open_expires(jobs: JobCalls) -> None:
    job = jobs.wait(jobs.submit(MODEL, [tiny("a")], open=True, retention_s=1).id)
    assert job.state == pb.JOB_STATE_EXPIRED
    assert "left open" in job.reason
