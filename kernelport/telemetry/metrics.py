"""Every Prometheus metric, and the endpoint that shows them.

No label grows with machines or requests: `deployment` comes from the deployments file, `status` from gRPC's codes,
`kind` from short lists.
Times are in seconds, sizes in bytes.
"""

import functools
from collections.abc import Iterable, Mapping
from typing import TypeVar

from prometheus_client import Counter, Gauge, Histogram, start_http_server

Metric = TypeVar("Metric", Counter, Histogram)

_DEPLOYMENT = ("deployment",)
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

# At the front door.
REQUESTS = Counter("kernelport_requests", "Requests answered, by gRPC status.", ("deployment", "status"))
REQUEST_BYTES = Counter("kernelport_request_bytes", "Bytes of requests taken in.", _DEPLOYMENT)
RESPONSE_BYTES = Counter("kernelport_response_bytes", "Bytes of responses given.", _DEPLOYMENT)
TOTAL_SECONDS = Histogram(
    "kernelport_request_seconds", "From a request's arrival to its answer.", _DEPLOYMENT, buckets=_SECONDS
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
WAITING = Gauge("kernelport_waiting_requests", "Requests at this front door without an answer.", _DEPLOYMENT)
OLDEST_WAITING = Gauge("kernelport_oldest_waiting_seconds", "Age of the oldest of them.", _DEPLOYMENT)
QUEUE_DEPTH = Gauge("kernelport_queue_batches", "Batches in the deployment's queue.", _DEPLOYMENT)
KEPT_DEAD_LETTERS = Gauge("kernelport_kept_dead_letters", "Dead letters neither replayed nor purged.", _DEPLOYMENT)
LIVE_WORKERS = Gauge("kernelport_live_workers", "Workers with a heartbeat.", _DEPLOYMENT)
REPUBLISHED = Counter(
    "kernelport_republished_batches", "Batches that were nowhere any more and were published again.", _DEPLOYMENT
)
JOB_BACKLOG = Gauge("kernelport_job_backlog_items", "Items of active jobs that no worker has taken.", _DEPLOYMENT)
JOB_DELETE_FAILURES = Counter("kernelport_job_delete_failures", "Tries at deleting a job's files that storage refused.")
ABANDONED = Gauge(
    "kernelport_abandoned",
    "What was begun and waits to be gone on with or swept: open_jobs, output_folders, shared_messages.",
    ("kind",),
)
OUTPUT_BYTES = Gauge(
    "kernelport_output_bytes",
    "What jobs have made and is kept: of jobs, of jobs that are gone (no_job).",
    ("kind",),
)
STORAGE_FREE = Gauge("kernelport_storage_free_bytes", "What is free where outputs are kept, where that is a directory.")
REDIS_MEMORY = Gauge("kernelport_redis_memory_bytes", "What Redis holds.")
REDIS_MEMORY_LIMIT = Gauge("kernelport_redis_memory_limit_bytes", "What Redis may hold; 0 for no limit.")

# In a worker.
BATCH_SIZE = Histogram("kernelport_batch_requests", "Requests in a batch.", _DEPLOYMENT, buckets=_SIZES)
RUN_SIZE = Histogram("kernelport_run_requests", "Requests that shared a run of the model.", _DEPLOYMENT, buckets=_SIZES)
BACKEND_SECONDS = Histogram("kernelport_backend_seconds", "A batch on the backend.", _DEPLOYMENT, buckets=_SECONDS)
REDELIVERIES = Counter("kernelport_redeliveries", "Batches taken again after a worker died.", _DEPLOYMENT)
DUPLICATES_DROPPED = Counter("kernelport_duplicates_dropped", "Batches another worker finished first.", _DEPLOYMENT)
EXPIRED_DROPPED = Counter("kernelport_expired_dropped", "Requests past their deadline when taken.", _DEPLOYMENT)
DEAD_LETTERS = Counter("kernelport_dead_letters", "Requests given up after their attempts.", _DEPLOYMENT)
JOB_ITEMS = Counter("kernelport_job_items", "Items of jobs that were done, by state.", ("deployment", "state"))
LEASE_RENEWALS = Counter("kernelport_lease_renewals", "Renewals of leases on running batches.")

# In the autoscaler.
AUTOSCALE_WORKERS = Gauge(
    "kernelport_autoscale_workers", "Workers, by state: ready, starting, wanted.", ("deployment", "state")
)
AUTOSCALE_RATE = Gauge("kernelport_autoscale_dollars_per_hour", "What the machines that run cost an hour.")
AUTOSCALE_SPENT = Gauge("kernelport_autoscale_dollars_per_day", "What machines have cost in the last 24 hours.")


@functools.cache
def labelled(metric: Metric, *labels: str) -> Metric:
    """The metric for these labels; cheaper than `metric.labels`, which every request would pay several times."""
    return metric.labels(*labels)


class SparseGauge:
    """A gauge that is 0 for most deployments most of the time: of thousands, only the others cost anything."""

    def __init__(self, gauge: Gauge, deployments: Iterable[str]) -> None:
        """
        Args:
            deployments: that are shown, as 0 where nothing else is said.
        """
        self._gauge = gauge
        self._deployments = set(deployments)
        self._to_reset = self._deployments

    def show(self, values: Mapping[str, float]) -> None:
        """Sets the gauge for these deployments, and to 0 for all others."""
        shown = self._deployments & values.keys()
        for name in self._to_reset - shown:
            labelled(self._gauge, name).set(0)
        for name in shown:
            labelled(self._gauge, name).set(values[name])
        self._to_reset = shown


def serve(listen: str) -> None:
    """Shows the metrics at http://`listen`/metrics from a thread of its own.

    Raises:
        OSError: when the address cannot be listened on.
    """
    host, _, port = listen.rpartition(":")
    start_http_server(int(port), addr=host or "127.0.0.1")
