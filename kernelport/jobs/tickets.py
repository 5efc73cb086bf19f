"""Tickets: the Celery messages by which a worker comes to the next slice of a job.

A ticket names no job. Its bearer gets whichever slice is due then, so a cancelled job stops at once, jobs share as
their priorities say at every batch, and the queue holds no more than workers can take up.
"""

import secrets

from kernelport.broker.queues import job_message, job_queue_key

# More are made by the next tick.
_MOST_AT_ONCE = 32


def tick_arguments(deployment: str, live_workers: int) -> list[str | bytes | int]:
    """What the script `tick` takes, with as many new tickets as it may have use for."""
    arguments: list[str | bytes | int] = [deployment, job_queue_key(deployment), live_workers]
    for _ in range(min(live_workers, _MOST_AT_ONCE)):
        ticket = secrets.token_hex(12)
        arguments += [ticket, job_message(deployment, ticket)]
    return arguments
