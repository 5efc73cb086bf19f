"""Methods of services that change something: the audit log tells of each."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from kernelport.errors import InternalError, KernelPortError, UnavailableError
from kernelport.telemetry import audit
from kernelport_api import calls

Answer = TypeVar("Answer")
Method = Callable[[Any, Any, Any], Awaitable[Answer]]


def audited(action: str, resource: Callable[[Any], str]) -> Callable[[Method[Answer]], Method[Answer]]:
    """Wraps a method of a servicer. An answer with `removed` that says no has changed nothing.

    Args:
        action: a noun and a verb, such as `voice.delete`.
        resource: what it is about, of its request.
    """

    def decorate(method: Method[Answer]) -> Method[Answer]:
        @functools.wraps(method)
        async def wrapped(self: Any, request: Any, context: Any) -> Answer:
            try:
                answer = await method(self, request, context)
            except KernelPortError as error:
                if isinstance(error, (InternalError, UnavailableError)):  # else it was refused
                    tell(action, resource(request), audit.UNCERTAIN)
                raise
            except BaseException:
                tell(action, resource(request), audit.UNCERTAIN)
                raise
            if getattr(answer, "removed", True):
                tell(action, resource(request))
            return answer

        return wrapped

    return decorate


def tell(action: str, resource: str, outcome: str = audit.DONE) -> None:
    """Tells of a change that the current call has made."""
    call = calls.current()
    audit.record(action, resource, actor=call.principal.name or audit.ANYBODY, source=call.source, outcome=outcome)
