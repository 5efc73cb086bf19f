"""What there is to see of a stack that runs, and its workers."""

from starlette.types import ASGIApp

from kernelport_api.doors.http.answers import json_answer
from kernelport_api.doors.http.endpoint import Call
from kernelport_api.services.operations import Operations


class OperationRoutes:
    """What is at /api/operations and below /api/workers."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def all(self, call: Call) -> ASGIApp:
        """What this front door sees of each deployment now and by the minute of the last hour, the workers, what the
        autoscaler does and would do next, and where Flower and Grafana are."""
        return json_answer(await self._operations.told())

    async def workers(self, call: Call) -> ASGIApp:
        """Every live worker, with the deployments that it serves and what it has in hand."""
        return json_answer({"workers": await self._operations.workers.all()})

    async def drain(self, call: Call) -> ASGIApp:
        """Has a worker take no more work, finish what it has, and end."""
        worker_id = call.path["worker"]
        await self._operations.workers.drain(worker_id)
        return json_answer({"id": worker_id, "draining": True})
