"""Which event of a job is due, and what it says."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Self

from google.protobuf.json_format import MessageToDict

from kernelport.broker import stored
from kernelport.v1 import job_pb2 as pb

DEFAULT_PROGRESS_INTERVAL_S = 10.0
_FINAL = {
    pb.JOB_STATE_SUCCEEDED: pb.WEBHOOK_EVENT_SUCCEEDED,
    pb.JOB_STATE_FAILED: pb.WEBHOOK_EVENT_FAILED,
    pb.JOB_STATE_CANCELLED: pb.WEBHOOK_EVENT_CANCELLED,
    pb.JOB_STATE_EXPIRED: pb.WEBHOOK_EVENT_EXPIRED,
}
# An id is a header of the POST.
_ID = re.compile(r"[0-9a-zA-Z.-]{1,200}")
MAX_BODY_BYTES = 2**20
_ALL_BUT_PROGRESS = frozenset({pb.WEBHOOK_EVENT_STARTED, *_FINAL.values()})


@dataclass(frozen=True)
class Told:
    """What a job's webhook has been told.

    Attributes:
        started: 1 once it was told of the start.
        finished: the time of the end it was told of last, in microseconds; 0 for none. A resumed job ends again.
        done: how many items were done by the last it was told.
        at: when that was, in microseconds.
    """

    started: int = 0
    finished: int = 0
    done: int = 0
    at: int = 0

    @classmethod
    def of(cls, fields: Mapping[bytes, bytes], where: str) -> Self:
        """What the fields of a hash say.

        Raises:
            StoredError: they are not as they were written.
        """
        return cls(*(stored.number(fields.get(name), where) for name in (b"started", b"finished", b"done", b"at")))


@dataclass(frozen=True)
class Event:
    """One event.

    Attributes:
        id: the same for the same event, however often it is sent.
        kind: what it tells.
        told: what has been told when it has arrived.
    """

    id: str
    kind: pb.WebhookEvent
    told: Told


@dataclass(frozen=True)
class Pending:
    """An event that has not arrived yet, as it is kept: the job may go on meanwhile.

    Attributes:
        event: its id.
        kind: a WebhookEvent.
        body: what is posted.
        tries: that have failed.
        since: when it became due, in microseconds of Unix time.
        then_finished: what `Told.finished` is once it has arrived.
        then_done: what `Told.done` is once it has arrived.
    """

    event: str
    kind: int
    body: bytes
    tries: int
    since: int
    then_finished: int
    then_done: int

    @classmethod
    def first(cls, event: Event, body: bytes, now_us: int) -> Self:
        """An event that is due now."""
        return cls(event.id, int(event.kind), body, 0, now_us, event.told.finished, event.told.done)

    @classmethod
    def of(cls, fields: Mapping[bytes, bytes], where: str) -> Self | None:
        """What the fields of a hash say; None when nothing is kept.

        Raises:
            StoredError: they are not as they were written.
        """
        if b"event" not in fields:
            return None
        event, body = stored.text(fields[b"event"], where, 200), fields.get(b"body", b"")
        numbers = (fields.get(name) for name in (b"kind", b"tries", b"since", b"then_finished", b"then_done"))
        kind, tries, since, finished, done = (stored.number(value, where) for value in numbers)
        stored.text(body, where, MAX_BODY_BYTES)
        if not _ID.fullmatch(event) or kind not in pb.WebhookEvent.values():
            raise stored.StoredError(f"{where}: expected the id and the kind of an event")
        return cls(event, kind, body, tries, since, finished, done)

    def is_overtaken(self, job: pb.Job) -> bool:
        """Whether a later event is due that makes this one worthless: the job's end, or of progress newer progress."""
        if (final := _FINAL.get(job.state)) is not None and final in _wanted(job):
            return self.event != _final_id(job)
        return self.kind == pb.WEBHOOK_EVENT_PROGRESS and _done(job) != self.then_done


def due(job: pb.Job, told: Told, now_us: int) -> Event | None:
    """The next event of a job that is wanted and may be sent now."""
    wanted = _wanted(job)
    done = _done(job)
    after = replace(told, started=1, done=done, at=now_us)
    if job.started_unix_us and not told.started and pb.WEBHOOK_EVENT_STARTED in wanted:
        return Event(f"{job.id}.started", pb.WEBHOOK_EVENT_STARTED, after)
    if (final := _FINAL.get(job.state)) is not None:
        if final not in wanted or told.finished == job.finished_unix_us:
            return None
        return Event(_final_id(job), final, replace(after, finished=job.finished_unix_us))
    if pb.WEBHOOK_EVENT_PROGRESS in wanted and done != told.done and now_us >= next_progress_us(job, told):
        return Event(f"{job.id}.progress.{now_us}", pb.WEBHOOK_EVENT_PROGRESS, after)
    return None


def next_progress_us(job: pb.Job, told: Told) -> int:
    """The first moment at which progress may be told again, in microseconds of Unix time."""
    return told.at + round((job.spec.webhook.progress_interval_s or DEFAULT_PROGRESS_INTERVAL_S) * 1e6)


def waits_for_progress(job: pb.Job, told: Told) -> bool:
    """Whether there is progress that the webhook is to be told of later."""
    wanted = pb.WEBHOOK_EVENT_PROGRESS in job.spec.webhook.events and job.state not in _FINAL
    return wanted and _done(job) != told.done


def _wanted(job: pb.Job) -> frozenset[pb.WebhookEvent]:
    return frozenset(job.spec.webhook.events) or _ALL_BUT_PROGRESS


def _done(job: pb.Job) -> int:
    return job.progress.succeeded + job.progress.failed


def _final_id(job: pb.Job) -> str:
    """Names the end of a job; one that is resumed ends again."""
    return f"{job.id}.{job.finished_unix_us}"


def body_of(event: Event, job: pb.Job, now_us: int) -> bytes:
    """What an event says, as JSON: its type, its time, and the job as the contract has it, without the webhook."""
    shown = pb.Job()
    shown.CopyFrom(job)
    shown.spec.ClearField("webhook")
    said = {
        "type": f"job.{name_of(event.kind)}",
        "timestamp": datetime.fromtimestamp(now_us / 1e6, UTC).isoformat(),
        "data": {
            "job": MessageToDict(shown, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        },
    }
    return json.dumps(said, ensure_ascii=False).encode()


def name_of(kind: pb.WebhookEvent) -> str:
    """An event in one small word."""
    return pb.WebhookEvent.Name(kind).removeprefix("WEBHOOK_EVENT_").lower()
