"""Reads what the job store holds: jobs and items as the contract shows them."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property

from kernelport.broker import keys, stored
from kernelport.internal.v1.job_store_pb2 import BatchResult, ItemResult, Page
from kernelport.items import TEXT_INPUT
from kernelport.jobs.pages import PAGE_ITEMS
from kernelport.jobs.shrinking import decompressed
from kernelport.jobs.webhooks.addresses import masked
from kernelport.limits import MAX_NAME
from kernelport.names import file_name, is_job_id, owner_of
from kernelport.tensors import to_array
from kernelport.v1 import job_pb2 as pb
from kernelport.v1.inference_pb2 import STRING

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
# What the names of files end in, as formats of outputs say.
_SUFFIX = re.compile(r"[a-z0-9]{0,8}")
# The states of items: a page has a byte for each. UNCHANGED leaves what there is, in what came of a slice.
WAITING, RUNNING, SUCCEEDED, FAILED, UNCHANGED = b"wrsf."
_ITEM_STATES: dict[int, pb.ItemState] = {
    WAITING: pb.ITEM_STATE_WAITING,
    RUNNING: pb.ITEM_STATE_RUNNING,
    SUCCEEDED: pb.ITEM_STATE_SUCCEEDED,
    FAILED: pb.ITEM_STATE_FAILED,
}

_STOPPED = {WAITING: pb.ITEM_STATE_CANCELLED}

Results = dict[int, tuple[BatchResult, ItemResult]]
"""What came of a page's items, by position."""


class JobRecord:
    """A job's hash in Redis. Whatever reads a field that is not as it was written raises StoredError.

    Args:
        fields: as HGETALL gives them, without `decode_responses`.
    """

    def __init__(self, job_id: str, fields: Mapping[bytes, bytes]) -> None:
        self.id = job_id
        self._fields = fields

    @property
    def name(self) -> str:
        """Its id as its tenant knows it."""
        return owner_of(self.id)[1]

    def text(self, field: str) -> str:
        """A field as text; empty when there is none."""
        return stored.text(self._fields.get(field.encode()), self._where(field), MAX_TEXT_BYTES)

    def number(self, field: str) -> int:
        """A field as a whole number; 0 when there is none."""
        return stored.number(self._fields.get(field.encode()), self._where(field))

    def _where(self, field: str) -> str:
        return f"{keys.job(self.id)} {field}"

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
        spec.deadline_unix_us = self.number("deadline")  # of the newest resume
        spec.ClearField("deadline_in_s")
        return spec

    @property
    def deployment(self) -> str:
        """The name of the deployment that runs it."""
        return self.text("deployment")

    @property
    def round(self) -> int:
        """How often nothing of it ran any more."""
        return self.number("round")

    @property
    def has_run_again(self) -> bool:
        """Whether items may have several results: it was resumed, or files of it were made again."""
        return self.round > (self.is_final or self.text("state") == "finishing")

    @property
    def edition(self) -> int:
        """How often items of it have been replaced."""
        return self.number("edition")

    @property
    def is_final(self) -> bool:
        """Whether the job is over, its manifest written."""
        return self.text("state") in FINAL

    @property
    def is_deleting(self) -> bool:
        """Whether its files are being deleted; its items are gone."""
        return self.text("state") == "deleting"

    @property
    def is_sealed(self) -> bool:
        """Whether it takes no more items."""
        return self.text("sealed") == "1"

    @cached_property  # each of its items asks
    def is_stopped(self) -> bool:
        """Whether it starts nothing any more: over, or about to be."""
        return self.is_final or self.is_deleting or bool(self.text("ending"))

    def ended(self, state: str, reason: str) -> "JobRecord":
        """The job as it is about to be."""
        return JobRecord(self.id, {**self._fields, b"state": state.encode(), b"reason": reason.encode()})

    @property
    def log_length(self) -> int:
        """The number of its newest log entry, counted from 1."""
        return self.number("log_length")

    def job(self) -> pb.Job:
        """The job as the contract shows it."""
        state = STATES.get(self.text("state"))
        if state is None:
            raise stored.StoredError(
                f"{self._where('state')}: expected the state of a job, got {self.text('state')!r:.80}"
            )
        if self.text("ending") == "cancelled" and not self.is_final:
            state = pb.JOB_STATE_CANCELLING
        try:
            return pb.Job(
                id=self.name,
                spec=self.spec,
                state=state,
                reason=self.text("reason"),
                sealed=self.is_sealed,
                progress=self._progress(),
                output_url=self.text("output_url"),
                created_unix_us=self.number("created"),
                started_unix_us=self.number("started"),
                finished_unix_us=self.number("finished"),
                expires_unix_us=self.number("expires"),
                resumed_unix_us=self.number("resumed"),
            )
        except stored.StoredError:
            raise
        except ValueError as error:  # a count below 0
            raise stored.StoredError(f"{keys.job(self.id)}: {error}") from None

    def _progress(self) -> pb.JobProgress:
        items, running, succeeded, failed = (
            self.number(field) for field in ("items", "running", "succeeded", "failed")
        )
        left = items - running - succeeded - failed
        return pb.JobProgress(
            items=items,
            waiting=0 if self.is_stopped else left,
            running=running,
            succeeded=succeeded,
            failed=failed,
            cancelled=left if self.is_stopped else 0,
            audio_s=self.number("audio_us") / MICROSECONDS,
            backend_s=self.number("backend_us") / MICROSECONDS,
            output_bytes=self.number("output_bytes"),
            useful_cost=self.number("useful_cost"),
            padded_cost=self.number("padded_cost"),
            deleted_files=self.number("deleted_files"),
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


def result_of(entry: bytes, where: str) -> BatchResult:
    """What came of a batch.

    Args:
        entry: from the job's log.
        where: that is, for people.

    Raises:
        StoredError: it is none.
    """
    batch = stored.message(BatchResult, entry, where)
    if not _SUFFIX.fullmatch(batch.suffix) or any(item.position >= PAGE_ITEMS for item in batch.items):
        raise stored.StoredError(f"{where}: expected a result with positions in a page and the ending of a file's name")
    return batch


def results_of(entries: Iterable[bytes], where: str) -> Results:
    """The results in serialized log entries of one page; a later one replaces an earlier one.

    Raises:
        StoredError: one cannot be read.
    """
    results: Results = {}
    for entry in entries:
        batch = result_of(entry, where)
        results.update((item.position, (batch, item)) for item in batch.items)
    return results


def page_of(value: bytes | None, job_id: str, number: int) -> Page:
    """A page of a job.

    Raises:
        StoredError: there is none, or it is something else.
    """
    where = f"{keys.job(job_id, 'pages')} {number}"
    page = stored.message(Page, value, where)
    if page.compressed:
        try:
            page = stored.message(Page, decompressed(page, stored.MAX_DATA_BYTES), where)
        except ValueError as error:
            raise stored.StoredError(f"{where}: expected a compressed Page: {error}") from None
    if len(page.items) > PAGE_ITEMS or sorted(page.places) != list(range(len(page.items))):
        raise stored.StoredError(f"{where}: expected at most {PAGE_ITEMS} items, each in a place of its own")
    return page


def _state(job: JobRecord, state: int) -> pb.ItemState:
    if state not in _ITEM_STATES:
        raise stored.StoredError(f"{keys.job(job.id, 'states')}: expected states of items, got {state:#x}")
    return (_STOPPED if job.is_stopped else {}).get(state, _ITEM_STATES[state])


def bytes_of(job: JobRecord, states: Collection[pb.ItemState]) -> bytes:
    """How items of these states are written down; all bytes for none."""
    return bytes(each for each in _ITEM_STATES if not states or _state(job, each) in states)


def items_of(
    job: JobRecord,
    page: Page,
    states: bytes,
    attempts: bytes,
    results: Results,
    *,
    inputs: bool = False,
    first: int = 0,
    only: bytes = bytes(_ITEM_STATES),
    named: bytes = b"",
) -> Iterator[pb.Item]:
    """A page's items in the order of submission, with their inputs if asked for.

    Args:
        first: the place in the page to begin at.
        only: the states that are wanted, a byte each.
        named: what the ids have in them.

    Raises:
        StoredError: one cannot be read, or its state.
    """
    if len(states) != len(page.items) or (attempts and len(attempts) != len(states)):
        raise stored.StoredError(f"{keys.job(job.id, 'states')}: expected {len(page.items)} states, got {len(states)}")
    for position in in_order(page)[first:]:
        if states[position] not in only and states[position] in _ITEM_STATES:
            continue
        if named not in page.items[position]:  # serialized, an item has its id in it
            continue
        item = item_of(job, page, position, states[position], attempts, results.get(position), inputs=inputs)
        if named in item.id.encode():
            yield item


def in_order(page: Page) -> list[int]:
    """The positions of a page's items in the order of submission."""
    return sorted(range(len(page.items)), key=page.places.__getitem__)


def item_of(
    job: JobRecord,
    page: Page,
    position: int,
    state: int,
    attempts: bytes,
    result: tuple[BatchResult, ItemResult] | None,
    *,
    inputs: bool = False,
) -> pb.Item:
    """One item, with its inputs if asked for.

    Args:
        state: its byte in the page's states.
        attempts: how often workers took the page's items, a byte each; empty when none was taken since version 0.1.0.
    """
    new = stored.message(pb.NewItem, page.items[position], keys.job(job.id, "pages"))
    item = pb.Item(
        id=new.id, index=page.first_index + page.places[position], state=_state(job, state), text=text_of(new)
    )
    if inputs:
        item.inputs.extend(new.inputs)
    item.attempts = attempts[position] if attempts else 0
    if item.state == pb.ITEM_STATE_CANCELLED:
        item.reason = job.text("reason")
    if result is None or item.state not in (pb.ITEM_STATE_SUCCEEDED, pb.ITEM_STATE_FAILED):
        return item
    batch, own = result
    item.attempts = item.attempts or batch.attempts
    item.reason, item.lasting = own.error, own.lasting
    item.backend_s = batch.backend_s
    item.batch_size = batch.batch_size
    item.finished_unix_us = batch.finished_unix_us
    item.revision, item.device, item.compute_path = batch.revision, batch.device, batch.compute_path
    if not own.error:
        item.file = file_name(new.id, batch.suffix, portable=batch.portable_names)
        item.file_bytes = own.file_bytes
        item.sha256 = own.sha256
        item.audio_s = own.audio_s
        item.warnings.extend(own.warnings)
    return item


def job_id_of(member: bytes, key: str) -> str:
    """A job's id as it stands in one of Redis's sets of jobs.

    Raises:
        StoredError: it is none.
    """
    text = member.decode(errors="replace")
    if not is_job_id(text):
        raise stored.StoredError(f"{key}: expected the id of a job, got {member[:80]!r}")
    return text


def text_of(item: pb.NewItem) -> str:
    """The UTF-8 of the input `text`, or its strings, a space between them; empty when there is none."""
    for tensor in item.inputs:
        if tensor.name == TEXT_INPUT:
            data = b" ".join(to_array(tensor).ravel().tolist()) if tensor.dtype == STRING else tensor.data
            return data.decode(errors="replace")
    return ""
