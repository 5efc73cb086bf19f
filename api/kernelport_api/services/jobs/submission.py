"""Takes jobs in, and what is changed about their items."""

import hashlib
from collections.abc import Callable, Iterator, Sequence

from kernelport.access.quotas import QuotaExceededError
from kernelport.broker import keys, stored
from kernelport.broker.clock import clock
from kernelport.config.deployments import Deployment
from kernelport.config.settings import Settings
from kernelport.counting import counted
from kernelport.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    FieldViolation,
    InvalidArgumentError,
    KernelPortError,
    NotFoundError,
    ResourceExhaustedError,
)
from kernelport.internal.v1.job_store_pb2 import Page
from kernelport.jobs.artifacts import Artifacts
from kernelport.jobs.item_records import SUCCEEDED
from kernelport.jobs.pages import PAGE_BYTES
from kernelport.jobs.records import DEFAULT_PRIORITY, JobRecord, shown
from kernelport.jobs.storage import SharedStorage
from kernelport.jobs.webhooks.addresses import parse_networks, refusal
from kernelport.names import new_job_id, owned, owner_of
from kernelport.telemetry import tracing
from kernelport.v1 import job_pb2 as pb
from kernelport.v1.inference_pb2 import Tensor
from kernelport_api import calls
from kernelport_api.access.deployments import CallersDeployments
from kernelport_api.aside import SMALL_BYTES, aside
from kernelport_api.queueing.live_workers import WorkerView
from kernelport_api.queueing.redis_errors import reached
from kernelport_api.services.jobs import day_quotas
from kernelport_api.services.jobs.adding import (
    Adder,
    check_count,
    duplicate,
    pin_voices,
    raise_any,
    repeated_id,
    tick,
    voices_of,
)
from kernelport_api.services.jobs.memory import JobMemory, NoMemoryError
from kernelport_api.services.jobs.store import JobStore
from kernelport_api.services.jobs.validation import deadline_unix_us, shared_violations, spec_violations
from kernelport_api.services.stock import Stock

# What a page may grow to when items of it are replaced; one large item is always taken.
MOST_PAGE_BYTES = 16 * PAGE_BYTES


class Submission:
    """Makes jobs, and adders that put items into them."""

    def __init__(
        self,
        deployments: CallersDeployments,
        store: JobStore,
        workers: WorkerView,
        settings: Settings,
        artifacts: Artifacts,
        storage: SharedStorage,
        memory: JobMemory,
        stock: Stock,
    ) -> None:
        self._stock = stock
        self._deployments = deployments
        self._store = store
        self._workers = workers
        self._settings = settings
        self._artifacts = artifacts
        self._storage = storage
        self._memory = memory

    async def create(self, request: pb.SubmitJobRequest) -> tuple[JobRecord, bool]:
        """The job that the request makes, without its items, or made before; and whether it was made before.

        Raises:
            FailedPreconditionError: whoever lives could not keep its outputs where this front door looks for them.
        """
        spec = request.spec
        deployment = self._deployment(spec.deployment)
        self._check_storage(deployment.name)
        signature = await reached(self._workers.signature(deployment.name))
        await _checked(spec, lambda: spec_violations(spec, signature))
        networks = parse_networks(self._settings.webhook_networks)
        if spec.HasField("webhook") and (refused := refusal(spec.webhook.url, networks)):
            raise_any([FieldViolation("spec.webhook.url", refused)])
        if not request.items and not request.open:
            raise_any([FieldViolation("items", "expected at least one item")])
        await self._stock.check_bytes(0)
        tenant = calls.current().principal.tenant
        job_id = owned(tenant, new_job_id(clock.now()))
        digest = await aside(_spec_digest, spec) if request.request_id else b""
        fields: dict[str, str | bytes | int] = {
            "spec": shown(spec).SerializeToString(),
            "weight": spec.priority or DEFAULT_PRIORITY,
            "max_batch": self.max_batch(deployment),
            "deadline": deadline_unix_us(spec),
            "retention_s": (retention_s := spec.retention_s or round(self._settings.jobs_kept_s)),
            "open_s": min(retention_s, round(self._settings.abandoned_s)),
            "output_url": self._artifacts.url(job_id),
            "request_id": calls.current().request_id,
        }
        if spec.HasField("webhook"):
            fields["has_webhook"] = 1
        if request.one_time_id:
            fields["one_time"] = 1
        if tracing.is_on:
            fields["traceparent"] = tracing.traceparent(deployment.name, job_id, "job")
        request_key = keys.job_request(owned(tenant, request.request_id)) if request.request_id else ""
        try:
            await self._memory.take(spec.ByteSize())
        except ResourceExhaustedError as error:
            if not (request_key and await reached(self._store.redis.exists(request_key))):  # else nothing is new
                raise _not_taken(job_id, error) from error
        found, *known = await self._store.run(
            "create",
            job_id,
            deployment.name,
            clock.now_us(),
            request_key,
            digest,
            await self._store.put_spec(job_id, spec),
            *(value for pair in fields.items() for value in pair),
        )
        if known and not (known[0] == digest or (known[0] is None and known[1] == _digest(request))):
            raise AlreadyExistsError(f'request_id: "{request.request_id}" was used before, with another spec')
        return await self._store.get(stored.name(found)), bool(known)

    async def adder(self, job_id: str, repeated: bool) -> "Adder":
        """What adds items to a job.

        Args:
            repeated: whether the items are those of the job, come again, as far as it has them.
        """
        record = await self._store.get(job_id)
        deployment = self._deployment(record.deployment)
        signature = await reached(self._workers.signature(deployment.name))
        spec = await self._store.spec(job_id)
        await _checked(spec, lambda: shared_violations(spec, signature))  # what it takes may be known by now
        digest = await self._store.digest(record, record.items)
        return Adder(
            self._store,
            self._memory,
            self._stock,
            self._workers,
            record,
            deployment,
            list(spec.shared_inputs),
            signature,
            digest,
            repeated,
        )

    async def discard(self, job_id: str) -> None:
        """Takes an open job back, and what it has made: it was never there."""
        await self._store.run("discard", job_id)

    async def refused(self, job_id: str, error: ResourceExhaustedError, *, existed: bool) -> KernelPortError:
        """What a caller is told whose items do not fit. Where nobody could go on with their job it is discarded, else
        it says what became of it.

        Args:
            existed: whether the job was there before this call.
        """
        record = await self._store.find(job_id)
        named = existed and record is not None and record.has_own_request_id
        if record is None or not named:
            await self.discard(job_id)
            return _not_taken(job_id, error)
        so = (
            f"it has {counted(record.items, 'item')}: go on by the same request id once there is room, or seal it as "
            f"it is (kernelport jobs seal {owner_of(job_id)[1]})"
        )
        told = _not_taken(job_id, error, so)
        await self._store.run("refuse", job_id, told.message)
        return told

    def max_batch(self, deployment: Deployment) -> int:
        """How many items a slice may have, as things are now."""
        return self._workers.batching(deployment).max_batch

    async def replace(self, job: JobRecord, items: Sequence[pb.NewItem]) -> None:
        """Gives items of a job that is over other inputs, once all of them have been checked.

        Raises:
            AbortedError: when somebody else changes the job at the same time.
            FailedPreconditionError: when the job is not over, or one of the items has succeeded.
            InvalidArgumentError: when an item is not what the deployment takes.
            ItemExistsError: when an id comes twice.
            ItemNotFoundError: when the job has no item of an id.
            ResourceExhaustedError: when a page of the job would become too large, or Redis has no room.
        """
        if not items:
            raise_any([FieldViolation("items", "expected at least one item")])
        check_count(items)
        signature = await reached(self._workers.signature(self._deployment(job.deployment).name))
        shared = (await self._store.spec(job.id)).shared_inputs
        names = await voices_of(items, shared, signature)
        if repeated := await aside(repeated_id, items):
            raise duplicate(repeated)
        new = await aside(lambda: {item.id: item.SerializeToString() for item in items})
        pages: dict[int, tuple[Page, list[int]]] = {}
        more: dict[int, tuple[int, int]] = {}
        for number, positions in (await self._store.locate(job, list(new))).items():
            states = await self._store.states(job.id, number)
            if done := next(
                (item_id for item_id, position in positions.items() if states[position] == SUCCEEDED), None
            ):
                raise FailedPreconditionError(f'items: item "{done}" has succeeded; expected items that did not')
            page = Page()
            page.CopyFrom(await self._store.page(job, number))
            before = [page.items[position] for position in positions.values()]
            for item_id, position in positions.items():
                page.items[position] = new[item_id]
            after = [page.items[position] for position in positions.values()]
            more[number] = await aside(_more, before, after, shared)
            if page.ByteSize() > MOST_PAGE_BYTES:
                raise ResourceExhaustedError(
                    f"items: expected at most {MOST_PAGE_BYTES:,} bytes in {counted(len(page.items), 'item')} that are "
                    f"kept together, got {page.ByteSize():,}: submit the largest as a job of their own"
                )
            pages[number] = page, list(positions.values())
        await self._memory.take(sum(page.ByteSize() for page, _ in pages.values()))
        await pin_voices(self._store, job.id, names, signature)
        for edition, (number, (page, places)) in enumerate(pages.items(), job.edition):
            await self._store.change(
                "replace", "replace", job.id, edition, number, page.SerializeToString(), *more[number], *places
            )

    async def tick(self, deployment: str) -> None:
        """Puts tickets for the deployment's live workers on its queue, as far as there is need."""
        await tick(self._store, self._workers, deployment)

    def _check_storage(self, deployment: str) -> None:
        if self._storage.refusal:
            raise FailedPreconditionError(f"spec: this front door takes no jobs: {self._storage.refusal}")
        refusals = [f"{worker.id}: {worker.jobs_refused}" for worker in self._workers.workers(deployment)]
        if refusals and all(worker.jobs_refused for worker in self._workers.workers(deployment)):
            found = f'no live worker of "{deployment}" takes items of jobs: {refusals[0]}'
            raise FailedPreconditionError(f"spec.deployment: {found}")

    def _deployment(self, name: str) -> Deployment:
        if not name:
            raise InvalidArgumentError.of(
                [FieldViolation("spec.deployment", "expected the name of a deployment, got nothing")]
            )
        if name not in self._deployments:
            raise NotFoundError(f"spec.deployment: {self._deployments.unknown(name)}")
        return self._deployments[name]


def _not_taken(job_id: str, error: ResourceExhaustedError, kept: str = "") -> KernelPortError:
    """What a caller is told whose items would pass a quota, or do not fit into Redis.

    Args:
        kept: what has become of the job; empty when nothing of it is kept.
    """
    job, so = f'job "{owner_of(job_id)[1]}"', kept or "nothing of it is kept"
    if isinstance(error, QuotaExceededError):
        return error.about(job, so)
    why = error.message if isinstance(error, NoMemoryError) else "Redis is full, and has 0 left for jobs"
    room = "" if kept else "; jobs that are over make room when they are deleted (kernelport jobs delete)"
    return NoMemoryError(f"{job}: {why}; {so}{room}")


def _more(before: Sequence[bytes], after: Sequence[bytes], shared: Sequence[Tensor]) -> tuple[int, int]:
    """By how many characters and bytes serialized items are more than others."""
    (characters, size), (more_characters, more_size) = (
        day_quotas.amounts([pb.NewItem.FromString(item) for item in items], shared) for items in (before, after)
    )
    return more_characters - characters, more_size - size


async def _checked(spec: pb.JobSpec, find: Callable[[], Iterator[FieldViolation]]) -> None:
    """Raises what a look at a spec finds; at a large one aside from the event loop."""
    raise_any(await aside(lambda: list(find())) if spec.ByteSize() > SMALL_BYTES else list(find()))


def _digest(message: pb.JobSpec | pb.SubmitJobRequest) -> bytes:
    return hashlib.sha256(message.SerializeToString(deterministic=True)).digest()


def _spec_digest(spec: pb.JobSpec) -> bytes:
    """Of what a repeated submission must have the same: not the deadline, which may count from the time of the call."""
    compared = pb.JobSpec()
    compared.CopyFrom(spec)
    for name in ("deadline_unix_us", "deadline_in_s"):
        compared.ClearField(name)
    return _digest(compared)
