"""Every Redis key that KernelPort makes.

| key | type | lives |
|---|---|---|
| kp:workers | set of worker ids | a minute after the last heartbeat of any worker |
| kp:worker:<id> | serialized WorkerRecord | until the worker's heartbeat is overdue |
| kp:replies:<front door> | list of serialized Reply | a minute after the last reply, or until the front door stops |
| kp.<deployment> | list of Celery messages | for good: the queue itself |
| kp:unacked, kp:unacked_index, kp:unacked_mutex | kombu's record of delivered batches | for good; empty when idle |
| _kombu.binding* | kombu's routing table | for good; a few entries a queue |
"""

WORKERS = "kp:workers"
INDEX_TTL_S = 60
REPLIES_TTL_S = 60


def worker(worker_id: str) -> str:
    """Holds the WorkerRecord of a live worker."""
    return f"kp:worker:{worker_id}"


def replies(front_door: str) -> str:
    """The list that a front door reads its replies from."""
    return f"kp:replies:{front_door}"
