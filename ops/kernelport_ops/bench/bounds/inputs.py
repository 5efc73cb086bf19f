"""The worst that may be sent: each input again and again, as fast as it is answered."""

import asyncio
import contextlib
import secrets
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from redis.asyncio import Redis

from kernelport.audio import encode_audio
from kernelport.broker import voices
from kernelport.broker.queues import queue_name
from kernelport.limits import (
    MAX_FIELDS,
    MAX_ITEMS,
    MAX_METADATA,
    MAX_METADATA_BYTES,
    MAX_NAME,
    MAX_REASON,
    MAX_STRING_ELEMENTS,
    MAX_TENSORS,
    MAX_TOKEN,
    MAX_WEBHOOK_SECRET,
    MAX_WEBHOOK_URL,
)
from kernelport.v1 import inference_pb2, job_pb2, job_pb2_grpc, voice_pb2, voice_pb2_grpc

LOADED, SPEECH = "loaded", "speech"
TIMEOUT_S, POLL_S = 60.0, 0.05
CALLERS_OF_ONE_ID, SUBMITS_AT_ONCE, SMALL_JOBS = 100, 200, 5000
FORGED_AT_ONCE, FORGED_BYTES = 10, 2**20
REFUSED_BYTES, TEXT_BYTES = 4 * 2**20, 2**20
# As long as a text of this model may be.
WORD_LETTERS = 100_000
MANY_CALLS, LARGE_AT_ONCE, KEPT_AT_ONCE, SHARING = 5000, 4, 16, 100
# A little less than a front door takes; what a request id keeps; what the items of a job share.
LARGE_BYTES, KEPT_BYTES, SHARED_BYTES = 63 * 2**20, 4 * 2**20, 8 * 2**20
RECORDING_HZ, LONG_RECORDING_S, VOICE = 48_000, 2400, "bounds"
_INFER = "/kernelport.v1.InferenceService/Infer"
_X = inference_pb2.Tensor(name="x", dtype=inference_pb2.F32, shape=[1, 1, 2, 2], data=bytes(16))


@dataclass
class Sender:
    """Sends to a front door and its Redis.

    Attributes:
        channel: a `grpc.aio.Channel`.
        endings: how many calls ended in which way.
    """

    channel: Any
    redis: Redis
    endings: Counter[str] = field(default_factory=Counter)
    jobs: list[str] = field(default_factory=list)

    async def infer(self, body: bytes) -> None:
        """One call of `Infer`."""
        await self._ended(self.channel.unary_unary(_INFER)(body, timeout=TIMEOUT_S))

    async def submit(self, items: Iterable[job_pb2.NewItem], **spec: Any) -> None:
        """One job of the loaded deployment."""
        request = job_pb2.SubmitJobRequest(spec=job_pb2.JobSpec(deployment=LOADED, **spec), items=items)
        answer = await self._ended(self._jobs.SubmitJob(request, timeout=TIMEOUT_S))
        if answer is not None:
            self.jobs.append(answer.job.id)

    async def clear(self) -> None:
        """Deletes the jobs that were submitted; many at a time, since each waits for the disk of Redis."""
        jobs, self.jobs = self.jobs, []
        for first in range(0, len(jobs), SUBMITS_AT_ONCE):
            await asyncio.gather(*map(self._delete, jobs[first : first + SUBMITS_AT_ONCE]))

    async def _delete(self, job: str) -> None:
        for call, request in (
            (self._jobs.CancelJob, job_pb2.CancelJobRequest(job_id=job)),
            (self._jobs.DeleteJob, job_pb2.DeleteJobRequest(job_id=job, delete_outputs=True)),
        ):
            with contextlib.suppress(grpc.RpcError):  # over already, or not yet
                await call(request, timeout=TIMEOUT_S)

    @property
    def _jobs(self) -> Any:
        return job_pb2_grpc.JobServiceStub(self.channel)

    async def _ended(self, call: Awaitable[Any]) -> Any:
        try:
            answer = await call
        except grpc.aio.AioRpcError as error:
            self.endings[error.code().name] += 1
            return None
        self.endings["OK"] += 1
        return answer

    async def add_voice(self, recording: bytes) -> None:
        """One voice, under the same name each time."""
        stub: Any = voice_pb2_grpc.VoiceServiceStub(self.channel)
        request = voice_pb2.AddVoiceRequest(name=VOICE, audio=recording, consent="made up", owner="nobody")
        await self._ended(stub.AddVoice(request, timeout=TIMEOUT_S))
        with contextlib.suppress(grpc.RpcError):  # it was not taken
            await stub.DeleteVoice(voice_pb2.DeleteVoiceRequest(name=VOICE), timeout=TIMEOUT_S)

    async def words(self) -> None:
        """What else of a caller's is kept or looked up, each as long as may be."""
        webhook = job_pb2.Webhook(url="https://192.0.2.1/".ljust(MAX_WEBHOOK_URL, "u"), secret="s" * MAX_WEBHOOK_SECRET)
        cancel = job_pb2.CancelJobRequest(job_id="j" * MAX_NAME, reason="r" * MAX_REASON)
        listing = job_pb2.ListJobsRequest(page_token="t" * MAX_TOKEN)
        await asyncio.gather(
            self.submit([_item("a")], webhook=webhook),
            self._ended(self._jobs.CancelJob(cancel, timeout=TIMEOUT_S)),
            self._ended(self._jobs.ListJobs(listing, timeout=TIMEOUT_S)),
        )


Send = Callable[[Sender], Awaitable[None]]


def _request(*tensors: inference_pb2.Tensor, model: str = LOADED, request_id: str = "") -> bytes:
    return inference_pb2.InferRequest(model=model, inputs=tensors, request_id=request_id).SerializeToString()


def _item(item_id: str) -> job_pb2.NewItem:
    return job_pb2.NewItem(id=item_id, inputs=[_X])


def _text(size: int) -> bytes:
    return _request(
        inference_pb2.Tensor(name="text", dtype=inference_pb2.U8, shape=[size], data=b"a" * size), model=SPEECH
    )


def _x(size: int) -> inference_pb2.Tensor:
    return inference_pb2.Tensor(name="x", dtype=inference_pb2.F32, shape=[1, 1, 1, size // 4], data=bytes(size))


def _infer(body: bytes, at_once: int = 1) -> Send:
    async def send(sender: Sender) -> None:
        await asyncio.gather(*(sender.infer(body) for _ in range(at_once)))

    return send


def _add_voice(seconds: float) -> Send:
    samples = np.resize(
        np.array([0.1, -0.1], np.float32), round(seconds * RECORDING_HZ)
    )  # no silence, and compresses well
    recording = encode_audio(samples, RECORDING_HZ, ".flac")
    return lambda sender: sender.add_voice(recording)


async def _kept_results(sender: Sender) -> None:
    bodies = (_request(_x(KEPT_BYTES), request_id=secrets.token_hex(8)) for _ in range(KEPT_AT_ONCE))
    await asyncio.gather(*map(sender.infer, bodies))


async def _shared_job(sender: Sender) -> None:
    await sender.submit((job_pb2.NewItem(id=str(n)) for n in range(SHARING)), shared_inputs=[_x(SHARED_BYTES)])
    await sender.clear()


async def _one_id(sender: Sender) -> None:
    body = _request(_X, request_id=secrets.token_hex(8))
    await asyncio.gather(*(sender.infer(body) for _ in range(CALLERS_OF_ONE_ID)))


async def _large_job(sender: Sender) -> None:
    await sender.submit(map(_item, map(str, range(MAX_ITEMS))))
    await sender.clear()


async def _small_jobs(sender: Sender) -> None:
    if len(sender.jobs) >= SMALL_JOBS:
        await sender.clear()
    await asyncio.gather(*(sender.submit([_item("a")]) for _ in range(SUBMITS_AT_ONCE // 4)))


async def _many_submits(sender: Sender) -> None:
    await asyncio.gather(*(sender.submit([_item("a")]) for _ in range(SUBMITS_AT_ONCE)))
    await sender.clear()


async def _large_names(sender: Sender) -> None:
    size = MAX_METADATA_BYTES // MAX_METADATA // 2 - 4
    metadata = {f"{number:0{size}}": "v" * size for number in range(MAX_METADATA)}
    items = (_item(f"{number:0{MAX_NAME}}") for number in range(MAX_ITEMS // 10))
    await sender.submit(items, metadata=metadata)
    await sender.clear()


async def _forged_entries(sender: Sender) -> None:
    queue: Any = queue_name(LOADED)
    await sender.redis.lpush(queue, *(b"[" * FORGED_BYTES for _ in range(FORGED_AT_ONCE)))
    while await sender.redis.llen(queue):  # noqa: ASYNC110 - Redis sets no event
        await asyncio.sleep(POLL_S)
    sender.endings["dropped"] += FORGED_AT_ONCE


def _empty_tensors(number: int = 0, size: int = 0) -> Send:
    """So many of them, or so many bytes."""
    head = inference_pb2.InferRequest(model=LOADED).SerializeToString()
    with_one = inference_pb2.InferRequest(model=LOADED, inputs=[inference_pb2.Tensor()]).SerializeToString()
    one = with_one[len(head) :]
    return _infer(head + one * (number or size // len(one)))


def _long_names() -> Send:
    name = "n" * MAX_NAME
    return _infer(_request(*(inference_pb2.Tensor(name=f"{n}{name}"[:MAX_NAME]) for n in range(MAX_TENSORS))))


def _strings() -> Send:
    data = struct.pack("<I", 0) * MAX_STRING_ELEMENTS
    x = inference_pb2.Tensor(name="x", dtype=inference_pb2.STRING, shape=[MAX_STRING_ELEMENTS], data=data)
    return _infer(_request(x))


WORST_INPUTS: Mapping[str, Callable[[], Send]] = {
    f"{REFUSED_BYTES // 2**20} MiB of empty tensors": lambda: _empty_tensors(size=REFUSED_BYTES),
    f"{MAX_FIELDS - 2:,} empty tensors": lambda: _empty_tensors(number=MAX_FIELDS - 2),
    f"{MAX_TENSORS:,} tensors with names of {MAX_NAME}": _long_names,
    f"{MAX_STRING_ELEMENTS:,} STRING elements": _strings,
    f"one request id by {CALLERS_OF_ONE_ID} callers": lambda: _one_id,
    f"jobs of {MAX_ITEMS:,} items": lambda: _large_job,
    f"{SMALL_JOBS:,} small jobs": lambda: _small_jobs,
    f"{SUBMITS_AT_ONCE} submits at once": lambda: _many_submits,
    "jobs with all the metadata and long ids": lambda: _large_names,
    f"texts of {TEXT_BYTES // 2**20} MiB": lambda: _infer(_text(TEXT_BYTES)),
    f"words of {WORD_LETTERS:,} letters": lambda: _infer(_text(WORD_LETTERS)),
    f"{FORGED_AT_ONCE} forged queue entries of {FORGED_BYTES // 2**20} MiB": lambda: _forged_entries,
    "reasons, page tokens and webhooks at their limits": lambda: Sender.words,
    f"jobs of {SHARING} items that share {SHARED_BYTES // 2**20} MiB": lambda: _shared_job,
    f"recordings of {voices.MAX_SECONDS:g} s": lambda: _add_voice(voices.MAX_SECONDS),
    f"recordings of {LONG_RECORDING_S:,} s": lambda: _add_voice(LONG_RECORDING_S),
    f"{MANY_CALLS:,} calls at once": lambda: _infer(_request(_X), MANY_CALLS),
    f"{LARGE_AT_ONCE} requests of {LARGE_BYTES // 2**20} MiB at once": lambda: _infer(
        _request(_x(LARGE_BYTES)), LARGE_AT_ONCE
    ),
    f"results of {KEPT_BYTES // 2**20} MiB kept for request ids": lambda: _kept_results,
}
"""By what they are; each is made when it is called for."""
