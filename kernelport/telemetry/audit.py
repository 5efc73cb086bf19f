"""The audit log: a line for each change that somebody made, with who, what, when and from where. Never a secret, nor
what a request held."""

import logging
from typing import Any, Final

from kernelport.telemetry import logs

# Who is told where nobody has to say who they are.
ANYBODY = "anybody"
# Whether it was done is not known: the answer never came.
DONE: Final = "DONE"
UNCERTAIN: Final = "UNCERTAIN"

log: logging.Logger = logging.getLogger(logs.AUDIT)


def record(action: str, resource: str, *, actor: str, source: str = "", outcome: str = DONE, **more: Any) -> None:
    """Tells of a change.

    Args:
        action: a noun and a verb, such as `voice.delete`.
        resource: what was changed.
        actor: who changed it: a key's name, or the process that does so by itself.
        source: the address it was asked from; empty for a process.
        more: what else is to be known; no secrets.
    """
    told = logs.fields(action=action, resource=resource, actor=actor, source=source, outcome=outcome, **more)
    log.info("%s %s", action, resource, extra=told)
