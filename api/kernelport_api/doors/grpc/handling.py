"""What stands around the handling of every call over gRPC but `Infer`, which is too quick for it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc

from kernelport_api.access.decision import Access
from kernelport_api.access.needs import METHODS
from kernelport_api.calls import AccessLog, Call
from kernelport_api.doors.calls import Calls
from kernelport_api.doors.credentials import shown_over_grpc
from kernelport_api.doors.grpc.errors import abort

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True)
class Handling:
    """Decides who may call, counts calls and notes them.

    Attributes:
        calls: among which they count.
    """

    calls: Calls
    access_log: AccessLog
    access: Access

    @contextlib.asynccontextmanager
    async def of(
        self, method: str, context: Context, *, lasts: bool = False, is_watched: bool = False
    ) -> AsyncIterator[Call]:
        """Stands around the handling of a call, whatever comes of it.

        Args:
            lasts: it may go on for long, and ends when its caller may no longer make it.
            is_watched: its caller hangs up in the end.
        """
        call, need = self.access_log.begin(method), METHODS.get(method)
        call.peer = context.peer()
        try:
            call.principal = self.access.decide(need, lambda: shown_over_grpc(context))
            if self.calls.is_refusing:
                await self.calls.wait_to_be_told()
            with contextlib.ExitStack() as stack:
                stack.enter_context(self.calls)
                if lasts:
                    stack.enter_context(self.access.while_allowed(need, lambda: shown_over_grpc(context)))
                yield call
            context.set_trailing_metadata((call.metadata(),))
            self.access_log.answered(call)
        except asyncio.CancelledError:
            if is_watched:
                self.access_log.answered(call, "CANCELLED")
            else:
                self.access_log.cancelled(call)
            raise
        except Exception as error:
            await abort(context, error, call, self.access_log)
