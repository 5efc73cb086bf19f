"""DeploymentService: what is deployed and what state it is in."""

import contextlib
from collections.abc import Callable
from typing import Any

import grpc
from redis.asyncio import Redis
from redis.exceptions import RedisError

from kernelport.broker.registry import front_doors
from kernelport.config.deployments import Deployment, DeploymentTable
from kernelport.errors import NotFoundError
from kernelport.v1 import deployment_pb2 as pb
from kernelport.v1 import deployment_pb2_grpc
from kernelport_api.access.deployments import CallersDeployments
from kernelport_api.queueing.live_workers import WorkerView
from kernelport_api.queueing.redis_errors import reached

Context = grpc.aio.ServicerContext[Any, Any]


class Deployments(deployment_pb2_grpc.DeploymentServiceServicer):
    """Describes the deployments file, with what is known of live workers.

    Args:
        tells_file: whether to say where the deployments file of each process is.
    """

    def __init__(
        self,
        redis: Redis,
        deployments: DeploymentTable | CallersDeployments,
        workers: WorkerView,
        tells_file: Callable[[], bool],
    ) -> None:
        self._redis = redis
        self._deployments = deployments
        self._workers = workers
        self._tells_file = tells_file

    async def ListDeployments(self, request: pb.ListDeploymentsRequest, context: Context) -> pb.ListDeploymentsResponse:
        await self._look_again()
        described = [await self._describe(self._deployments[name]) for name in sorted(self._deployments)]
        for each in described:
            self._hide_file(each)
        return pb.ListDeploymentsResponse(deployments=described)

    async def GetDeployment(self, request: pb.GetDeploymentRequest, context: Context) -> pb.GetDeploymentResponse:
        deployment = self._deployments.get(request.name)
        if deployment is None:
            raise NotFoundError(f"name: {self._deployments.unknown(request.name)}")
        await self._look_again()
        described = await self._describe(deployment)
        with contextlib.suppress(RedisError):  # which says nothing of the deployment
            described.front_doors.extend(await front_doors(self._redis))
        self._hide_file(described)
        return pb.GetDeploymentResponse(deployment=described)

    async def _look_again(self) -> None:
        """Who has just changed something wants to see it: what is known may be a quarter of a second old."""
        with contextlib.suppress(RedisError):  # then what is known is told
            await self._workers.look_again()

    def _hide_file(self, described: pb.Deployment) -> None:
        if not self._tells_file():
            for each in (*described.workers, *described.front_doors):
                each.ClearField("deployments_file")

    async def _describe(self, deployment: Deployment) -> pb.Deployment:
        workers = self._workers.workers(deployment.name)
        signature = await reached(self._workers.signature(deployment.name))
        return pb.Deployment(
            name=deployment.name,
            backend=deployment.backend,
            manifest=deployment.manifest.id if deployment.manifest else "",
            image=deployment.image,
            state=pb.DEPLOYMENT_STATE_SERVING if workers else pb.DEPLOYMENT_STATE_UNAVAILABLE,
            live_workers=len(workers),
            signature=signature,
            policy=pb.Policy(
                max_batch=deployment.batching.max_batch,
                max_batch_bytes=deployment.batching.max_bytes,
                request_timeout_s=deployment.timeouts.request_s,
                device=deployment.device,
                max_waiting=deployment.limits.max_waiting,
                max_waiting_bytes=deployment.limits.max_waiting_bytes,
                max_attempts=deployment.limits.max_attempts,
                wait_for_worker=deployment.on_no_worker == "wait",
                max_rows=deployment.batching.max_rows,
                batch_axes=deployment.batching.axes,
            ),
            workers=workers,
            settings=deployment.digest,
        )
