"""gRPC's health service, which says why it does not serve."""

from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2

from kernelport.health import LIVE, reason_metadata

_STATUSES = health_pb2.HealthCheckResponse


class Health(health.aio.HealthServicer):
    """The statuses of the front door (the service without a name), of each deployment, and of LIVE.

    Attributes:
        reason: why no calls can be taken; empty when they can.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reason: str = ""
        self._names: set[str] = set()
        self._served: set[str] = set()

    async def begin(self) -> None:
        """The process answers from now on."""
        await self.set(LIVE, _STATUSES.SERVING)

    async def tell(self, names: set[str], served: set[str], reason: str) -> None:
        """Says what is served now.

        Args:
            names: of all deployments.
            served: those that workers serve.
            reason: as the attribute.
        """
        if reason:
            served = set()
        if reason != self.reason:
            self.reason = reason
            await self.set("", _STATUSES.NOT_SERVING if reason else _STATUSES.SERVING)
        for name in (self._names ^ names) | (self._served ^ served):
            known = _STATUSES.SERVING if name in served else _STATUSES.NOT_SERVING
            await self.set(name, known if name in names else _STATUSES.SERVICE_UNKNOWN)
        self._names, self._served = names, served

    async def Check(self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        """The status of a service now, and in the metadata why it is not served."""
        if self.reason and request.service != LIVE:
            await context.send_initial_metadata(reason_metadata(self.reason))
        return await super().Check(request, context)
