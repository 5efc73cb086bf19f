"""Reads what the job store holds of jobs, and shows them as the contract does."""

from collections.abc import Mapping, Sequence
from functools import cached_property

from kernelport.broker import keys, stored
from kernelport.enums import word
from kernelport.jobs.webhooks.addresses import masked
from kernelport.limits import MAX_NAME
from kernelport.names import is_job_id, owner_of
from kernelport.v1 import job_pb2 as pb

MICROSECONDS = 1_000_000
DEFAULT_PRIORITY = 100
FINAL = frozenset({"succeeded", "failed", "cancelled", "expired"})
STATES: dict[str, pb.JobState] = {
    "pending": pb.JOB_STATE_PENDING,
    "running": pb.JOB_STATE_RUNNING,
    # All items are done; the manifest is being written.
    "finishing": pb.JOB_STATE_RUNNING,
    "succeeded": pb.JOB_STATE_SUCCEEDED,
    "failed": pb.JOB_STATE_FAILED,
    "cancelled": pb.JOB_STATE_CANCELLED,
    "expired": pb.JOB_STATE_EXPIRED,
    "deleting": pb.JOB_STATE_DELETING,
}
MAX_TEXT_BYTES = 2**20
# The fields that tell how far a job is, as HMGET takes them.
BRIEF = ("deployment", "state", "created", "items", "succeeded", "failed", "audio_us", "backend_us", "output_bytes")


class JobRecord:
    """A job's hash in Redis. Whatever reads a field that is not as it was written raises StoredError.

    Args:
        fields: as HGETALL gives them, without `decode_responses`.
    """

    def __init__(self, job_id: str, fields: Mapping[bytes, bytes]) -> None:
        self.id = job_id
        self._fields = fields

    @classmethod
    def brief(cls, job_id: str, values: Sequence[bytes | None]) -> "JobRecord":
        """A job of which no more is asked than BRIEF tells."""
        return cls(
            job_id, {name.encode(): value for name, value in zip(BRIEF, values, strict=True) if value is not None}
        )

    @property
    def name(self) -> str:
        """Its id as its tenant knows it."""
        return owner_of(self.id)[1]

    def ids(self) -> dict[str, str]:
        """What lines of the log about it carry. It is read as it is: who logs is at something else."""
        values = (self._fields.get(name, b"")[:MAX_NAME] for name in (b"deployment", b"request_id"))
        deployment, request_id = map(stored.name, values)
        return {"deployment": deployment, "job": self.id, "request_id": request_id}

    @property
    def state(self) -> str:
        """Its state as the contract has it, in small letters."""
        return pb.JobState.Name(self.job().state).removeprefix("JOB_STATE_").lower()

    @property
    def spec(self) -> pb.JobSpec:
        """The spec as the contract shows it: without the data of shared inputs, without secrets."""
        spec = stored.message(pb.JobSpec, self._fields.get(b"spec"), self._where("spec"), stored.MAX_RECORD_BYTES)
        spec.deadline_unix_us = self._number("deadline")  # of the newest resume
        spec.ClearField("deadline_in_s")
        return spec

    @property
    def deployment(self) -> str:
        """The name of the deployment that runs it."""
        return self._text("deployment")

    @property
    def stored_state(self) -> str:
        """Its state as the store names it: one of STATES."""
        return self._text("state")

    @property
    def ending(self) -> str:
        """The state that it is about to end in; empty while it is not."""
        return self._text("ending")

    @property
    def reason(self) -> str:
        """Why it is, or is about to be, in its state; may be empty."""
        return self._text("reason")

    @property
    def output_url(self) -> str:
        """Where its outputs are."""
        return self._text("output_url")

    @property
    def items(self) -> int:
        """How many items it has."""
        return self._number("items")

    @property
    def pages(self) -> int:
        """How many pages its items are in."""
        return self._number("pages")

    @property
    def succeeded(self) -> int:
        """How many of its items have a result."""
        return self._number("succeeded")

    @property
    def failed(self) -> int:
        """How many of its items have failed."""
        return self._number("failed")

    @property
    def useful_cost(self) -> int:
        """What the items cost together that have run."""
        return self._number("useful_cost")

    @property
    def audio_s(self) -> float:
        """Seconds of the audio that it has made."""
        return self._number("audio_us") / MICROSECONDS

    @property
    def backend_s(self) -> float:
        """Seconds of compute that it has taken."""
        return self._number("backend_us") / MICROSECONDS

    @property
    def output_bytes(self) -> int:
        """Bytes of its outputs."""
        return self._number("output_bytes")

    @property
    def created_unix_us(self) -> int:
        """When it was created, in microseconds of Unix time."""
        return self._number("created")

    @property
    def retention_s(self) -> int:
        """For how long it is kept once it is over."""
        return self._number("retention_s")

    @property
    def was_remade(self) -> bool:
        """Whether files of it were made again."""
        return bool(self._number("remade"))

    @property
    def has_own_request_id(self) -> bool:
        """Whether whoever submitted it named the request, and can go on by that name."""
        return bool(self._text("request_key")) and not self._number("one_time")

    @property
    def round(self) -> int:
        """How often nothing of it ran any more."""
        return self._number("round")

    @property
    def has_run_again(self) -> bool:
        """Whether items may have several results: it was resumed, or files of it were made again."""
        return self.round > (self.is_final or self.stored_state == "finishing")

    @property
    def edition(self) -> int:
        """How often items of it have been replaced."""
        return self._number("edition")

    @property
    def is_final(self) -> bool:
        """Whether the job is over, its manifest written."""
        return self.stored_state in FINAL

    @property
    def is_deleting(self) -> bool:
        """Whether its files are being deleted; its items are gone."""
        return self.stored_state == "deleting"

    @property
    def is_sealed(self) -> bool:
        """Whether it takes no more items."""
        return self._text("sealed") == "1"

    @cached_property  # each of its items asks
    def is_stopped(self) -> bool:
        """Whether it starts nothing any more: over, or about to be."""
        return self.is_final or self.is_deleting or bool(self.ending)

    @cached_property
    def state_of_the_rest(self) -> pb.ItemState:
        """The state of the items that are not done and do not run."""
        if not self.is_stopped:
            return pb.ITEM_STATE_WAITING
        # Version 0.1.0 wrote down only how a job ends.
        was_cancelled = self._number("was_cancelled") or "cancelled" in (self.stored_state, self.ending)
        return pb.ITEM_STATE_CANCELLED if was_cancelled else pb.ITEM_STATE_NOT_RUN

    def ended(self, state: str, reason: str, finished_us: int) -> "JobRecord":
        """The job as it is about to be, from some microsecond of Unix time on."""
        expires_us = finished_us + self.retention_s * MICROSECONDS
        about = {"state": state, "reason": reason, "finished": str(finished_us), "expires": str(expires_us)}
        return JobRecord(self.id, {**self._fields, **{key.encode(): value.encode() for key, value in about.items()}})

    @property
    def log_length(self) -> int:
        """The number of its newest log entry, counted from 1."""
        return self._number("log_length")

    def job(self) -> pb.Job:
        """The job as the contract shows it."""
        state = STATES.get(self.stored_state)
        if state is None:
            raise stored.StoredError(
                f"{self._where('state')}: expected the state of a job, got {self._text('state')!r:.80}"
            )
        if self.ending == "cancelled" and not self.is_final:
            state = pb.JOB_STATE_CANCELLING
        try:
            return pb.Job(
                id=self.name,
                spec=self.spec,
                state=state,
                reason=self.reason,
                sealed=self.is_sealed,
                progress=self._progress(),
                output_url=self.output_url,
                created_unix_us=self.created_unix_us,
                started_unix_us=self._number("started"),
                finished_unix_us=self._number("finished"),
                expires_unix_us=self._number("expires"),
                resumed_unix_us=self._number("resumed"),
            )
        except stored.StoredError:
            raise
        except ValueError as error:  # a count below 0
            raise stored.StoredError(f"{keys.job(self.id)}: {error}") from None

    def _text(self, field: str) -> str:
        """A field; empty when there is none."""
        return stored.text(self._fields.get(field.encode()), self._where(field), MAX_TEXT_BYTES)

    def _number(self, field: str) -> int:
        """A field as a whole number; 0 when there is none."""
        return stored.number(self._fields.get(field.encode()), self._where(field))

    def _where(self, field: str) -> str:
        return f"{keys.job(self.id)} {field}"

    def _progress(self) -> pb.JobProgress:
        running = self._number("running")
        rest = {word(pb.ItemState.Name(self.state_of_the_rest)): self.items - running - self.succeeded - self.failed}
        return pb.JobProgress(
            items=self.items,
            running=running,
            succeeded=self.succeeded,
            failed=self.failed,
            audio_s=self.audio_s,
            backend_s=self.backend_s,
            output_bytes=self.output_bytes,
            useful_cost=self.useful_cost,
            padded_cost=self._number("padded_cost"),
            deleted_files=self._number("deleted_files"),
            **rest,
        )


def shown(spec: pb.JobSpec) -> pb.JobSpec:
    """A spec without the data of shared inputs, and without secrets, those in URLs included."""
    public = pb.JobSpec()
    public.CopyFrom(spec)
    for tensor in public.shared_inputs:
        tensor.ClearField("data")
    if public.HasField("webhook"):
        public.webhook.ClearField("secret")
        public.webhook.url = masked(public.webhook.url)
    return public


def job_id_of(member: bytes, key: str) -> str:
    """A job's id as it stands in one of Redis's sets of jobs.

    Raises:
        StoredError: it is none.
    """
    text = member.decode(errors="replace")
    if not is_job_id(text):
        raise stored.StoredError(f"{key}: expected the id of a job, got {member[:80]!r}")
    return text
