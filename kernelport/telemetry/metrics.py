"""Every Prometheus metric, and the endpoint that shows them.

No label grows with machines or requests: `deployment` comes from the deployments file (and is UNKNOWN for all that is
not there), `method` from the services, `status` from gRPC's codes, `tenant` from the tenants that operators have made
(and is OTHERS for all behind the first hundred that a process has to do with), all others from short lists.
Times are in seconds, sizes in bytes. What is read elsewhere is shown while it is known, and not at all once it is not:
docs/metrics.md, which `python -m tests.docs.metrics_page` makes of this module, has them all.
"""

import contextlib
import errno
import functools
import logging
import threading
import time
from collections.abc import Iterator
from typing import TypeVar
from wsgiref.simple_server import WSGIServer

from prometheus_client import REGISTRY, Counter, Histogram, start_http_server
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.registry import Collector

from kernelport.telemetry.known import KnownCounter, KnownGauge

log: logging.Logger = logging.getLogger(__name__)
Counted = TypeVar("Counted", Counter, Histogram)

# The deployment of what names none that there is. No deployment has brackets in its name.
UNKNOWN = "(unknown)"
# The tenant of those behind the first MOST_TENANTS.
OTHERS, MOST_TENANTS = "(others)", 100
# How soon to look again whether an address is free.
_LOOK_INTERVAL_S = 0.2
_DEPLOYMENT = ("deployment",)
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

# In every process.
REDIS_UP = KnownGauge("kernelport_redis_up", "1 when Redis takes writes of this process, 0 when not.")
REDIS_SECONDS = KnownGauge("kernelport_redis_seconds", "What the last write took there and back.")
REDIS_MEMORY = KnownGauge("kernelport_redis_memory_bytes", "What Redis holds.")
REDIS_MEMORY_LIMIT = KnownGauge("kernelport_redis_memory_limit_bytes", "What Redis may hold; 0 for no limit.")
REDIS_MEMORY_USED = KnownGauge(
    "kernelport_redis_memory_used_ratio", "Share of its limit that Redis holds; nothing where it has none."
)
CLOCK_AHEAD = KnownGauge(
    "kernelport_clock_ahead_seconds",
    "How far its machine's clock is ahead of that of Redis; behind, where it is negative. Only times in logs go by it.",
)

# In front doors and workers.
STORAGE_FAILURES = Counter(
    "kernelport_storage_failures",
    "Calls to the storage of outputs that it refused or did not answer, by operation: read, write, delete.",
    ("operation",),
)
STORAGE_SECONDS = Histogram(
    "kernelport_storage_seconds",
    "A call to the storage of outputs that went well, by operation.",
    ("operation",),
    buckets=_SECONDS,
)

# At the front door.
CALLS = Counter(
    "kernelport_calls", "Calls of all methods and routes answered, by the status of gRPC or HTTP.", ("method", "status")
)
REQUESTS = Counter("kernelport_requests", "Requests answered, by gRPC status.", ("deployment", "status"))
TENANT_REQUESTS = Counter(
    "kernelport_tenant_requests",
    "Requests answered, by whose they are and outcome: ok, failed, cancelled by its caller, or over_quota.",
    ("tenant", "outcome"),
)
REQUEST_BYTES = Counter("kernelport_request_bytes", "Bytes of requests taken in.", _DEPLOYMENT)
RESPONSE_BYTES = Counter("kernelport_response_bytes", "Bytes of responses given.", _DEPLOYMENT)
TOTAL_SECONDS = Histogram(
    "kernelport_request_seconds",
    "From a request's arrival to its answer, by outcome: ok, failed, or cancelled by its caller.",
    ("deployment", "outcome"),
    buckets=_SECONDS,
)
QUEUE_SECONDS = Histogram(
    "kernelport_queue_seconds",
    "From a batch's publication to its answer, outside the worker.",
    _DEPLOYMENT,
    buckets=_SECONDS,
)
BATCHING_SECONDS = Histogram(
    "kernelport_batching_seconds", "Forming the batch, at the front door and the worker.", _DEPLOYMENT, buckets=_SECONDS
)
WAITING = KnownGauge("kernelport_waiting_requests", "Requests at this front door without an answer.", _DEPLOYMENT)
OLDEST_WAITING = KnownGauge("kernelport_oldest_waiting_seconds", "Age of the oldest of them.", _DEPLOYMENT)
QUEUE_DEPTH = KnownGauge("kernelport_queue_batches", "Batches in the deployment's queue.", _DEPLOYMENT)
KEPT_DEAD_LETTERS = KnownGauge("kernelport_kept_dead_letters", "Dead letters neither replayed nor purged.", _DEPLOYMENT)
LIVE_WORKERS = KnownGauge("kernelport_live_workers", "Workers with a heartbeat.", _DEPLOYMENT)
WORKER_DEATHS = KnownCounter(
    "kernelport_worker_deaths", "Workers that were killed or ended by themselves, as Redis counts them.", _DEPLOYMENT
)
REDELIVERIES = KnownCounter(
    "kernelport_redeliveries",
    "Batches, of calls or of a job's items, that came back because their worker died, as Redis counts them.",
    _DEPLOYMENT,
)
REPUBLISHED = Counter(
    "kernelport_republished_batches", "Batches that were nowhere any more and were published again.", _DEPLOYMENT
)
JOBS = KnownGauge("kernelport_jobs", "Jobs that Redis knows, by state.", ("deployment", "state"))
OLDEST_JOB = KnownGauge(
    "kernelport_oldest_job_seconds", "Age of the oldest job that is not over, by state.", ("deployment", "state")
)
JOB_BACKLOG = KnownGauge("kernelport_job_backlog_items", "Items of active jobs that no worker has taken.", _DEPLOYMENT)
JOB_DELETE_FAILURES = Counter("kernelport_job_delete_failures", "Tries at deleting a job's files that storage refused.")
ABANDONED = KnownGauge(
    "kernelport_abandoned",
    "What was begun and waits to be gone on with or swept: open_jobs, output_folders, shared_messages.",
    ("kind",),
)
OUTPUT_BYTES = KnownGauge(
    "kernelport_output_bytes",
    "What jobs have made and is kept: of jobs, of jobs that are gone (no_job).",
    ("kind",),
)
STORAGE_FREE = KnownGauge(
    "kernelport_storage_free_bytes", "What is free where outputs are kept, where that is a directory."
)

# In a worker.
BATCH_SIZE = Histogram("kernelport_batch_requests", "Requests in a batch.", _DEPLOYMENT, buckets=_SIZES)
RUN_SIZE = Histogram("kernelport_run_requests", "Requests that shared a run of the model.", _DEPLOYMENT, buckets=_SIZES)
BACKEND_SECONDS = Histogram("kernelport_backend_seconds", "A batch on the backend.", _DEPLOYMENT, buckets=_SECONDS)
DUPLICATES_DROPPED = Counter("kernelport_duplicates_dropped", "Batches another worker finished first.", _DEPLOYMENT)
EXPIRED_DROPPED = Counter("kernelport_expired_dropped", "Requests past their deadline when taken.", _DEPLOYMENT)
DEAD_LETTERS = Counter("kernelport_dead_letters", "Requests given up after their attempts.", _DEPLOYMENT)
JOB_ITEMS = Counter(
    "kernelport_job_items",
    "Items of jobs that were done, by outcome (succeeded, failed) and reason: inputs that the model does not take, the "
    "model itself, a format that does not hold its outputs, workers that died over it.",
    ("deployment", "outcome", "reason"),
)
LEASE_RENEWALS = Counter("kernelport_lease_renewals", "Renewals of leases on running batches.")

# In `kernelport up`, and of local workers in the autoscaler.
PROCESS_DEATHS = Counter(
    "kernelport_process_deaths", "Processes that ended without being asked to.", ("process", "deployment")
)
PROCESS_RESTARTS = Counter(
    "kernelport_process_restarts", "Processes started again after that.", ("process", "deployment")
)

# In the autoscaler.
AUTOSCALE_WORKERS = KnownGauge(
    "kernelport_autoscale_workers", "Workers, by state: ready, starting, wanted.", ("deployment", "state")
)
AUTOSCALE_HELD_BACK = KnownGauge(
    "kernelport_autoscale_held_back",
    "1 when wanted workers are not launched, by reason: budget, no_capacity, failing (the last ones did not come up).",
    ("deployment", "reason"),
)
AUTOSCALE_FAILURES = Counter(
    "kernelport_autoscale_failures", "Looks that came to nothing: the provider or Redis failed."
)
AUTOSCALE_RATE = KnownGauge("kernelport_autoscale_dollars_per_hour", "What the machines that run cost an hour.")
AUTOSCALE_SPENT = KnownGauge("kernelport_autoscale_dollars_per_day", "What machines have cost in the last 24 hours.")
AUTOSCALE_BUDGET = KnownGauge(
    "kernelport_autoscale_budget_dollars",
    "What they may cost, by period: hour, day; nothing for no bounds.",
    ("period",),
)


@functools.cache
def labelled(metric: Counted, *labels: str) -> Counted:
    """The metric for these labels; cheaper than `metric.labels`, which every request would pay several times."""
    return metric.labels(*labels)


_tenants: set[str] = set()


def tenant_label(tenant: str) -> str:
    """What a tenant is called among labels."""
    if tenant not in _tenants:
        if len(_tenants) >= MOST_TENANTS:
            return OTHERS
        _tenants.add(tenant)
    return tenant


def serve(listen: str, *, beside: bool = False, registry: Collector = REGISTRY) -> WSGIServer:
    """Shows metrics at http://`listen`/metrics from a thread of its own, until the server that this gives is shut down.

    Args:
        beside: whether another process may, too, if it lets this one.
        registry: what is shown; all metrics of this process when not given.

    Raises:
        OSError: when the address cannot be listened on.
    """
    host, _, port = listen.rpartition(":")
    ThreadingWSGIServer.allow_reuse_port = beside  # of the only one in this process
    server, _ = start_http_server(int(port), addr=host or "127.0.0.1", registry=registry)
    log.info("metrics are shown at %s", listen)
    return server


def serve_in_turn(listen: str) -> None:
    """Shows all metrics of this process there; where another process still shows its own, from a thread, once that has
    ended. Never both at once: what the other has counted would seem to come and go.

    Raises:
        OSError: when the address cannot be listened on, for another reason.
    """
    try:
        serve(listen)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        log.warning("metrics are shown at %s once it is free: %s", listen, error)
        threading.Thread(target=_serve_once_free, args=(listen,), name="metrics", daemon=True).start()


def _serve_once_free(listen: str) -> None:
    while True:
        time.sleep(_LOOK_INTERVAL_S)
        try:
            serve(listen)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            log.error("cannot show metrics at %s: %s", listen, error)
        return


@contextlib.contextmanager
def timed(
    label: str, seconds: Histogram, failures: Counter, answers: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Measures what is done within, or what it decorates; what raises is a failure, and has no time.

    Args:
        answers: exceptions that are none: what was asked for is not there, or is refused before it is tried.
    """
    began = time.perf_counter()
    try:
        yield
    except answers:
        raise
    except Exception:
        labelled(failures, label).inc()
        raise
    labelled(seconds, label).observe(time.perf_counter() - began)
