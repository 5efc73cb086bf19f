"""The command line of a worker process."""

import secrets
from collections.abc import Sequence

from kernelport.broker.queues import queue_name
from kernelport.supervisor.processes import module_command


def worker_command(deployments: Sequence[str], extra: Sequence[str] = ()) -> list[str]:
    """A Celery worker pinned to the queues of `deployments`, one thread, quiet towards other workers.

    Args:
        extra: further arguments for `celery worker`.
    """
    return [
        *module_command("kernelport_workers", "-A", "kernelport_workers.app", "worker"),
        *("-Q", ",".join(queue_name(name) for name in deployments)),
        *("-P", "threads", "-c", "1"),
        # Several workers of a deployment may share a machine; their names must differ.
        *("-n", f"{'-'.join(deployments)}-{secrets.token_hex(3)}@%h"),
        # Workers need not know of each other, and the chatter is what keeps them from consuming after a reconnect.
        *("--without-gossip", "--without-mingle"),
        *("--loglevel", "INFO"),
        *extra,
    ]
