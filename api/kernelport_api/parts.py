"""What a front door is made of: each part is made once, of those before it."""

import asyncio
import os
import socket
from collections.abc import Sequence

from kernelport import __version__
from kernelport.broker import keys
from kernelport.broker.clock import clock
from kernelport.broker.connections import connect, connect_async
from kernelport.broker.shared_folder import SharedFolder
from kernelport.config.deployments import DeploymentTable, load_deployments
from kernelport.config.settings import Settings
from kernelport.jobs.artifacts import Artifacts
from kernelport.jobs.background import Background
from kernelport.jobs.finishing import Finisher
from kernelport.jobs.leftovers import Leftovers
from kernelport.jobs.storage import SharedStorage
from kernelport.jobs.sweeping import Sweeper
from kernelport.jobs.webhooks.notifier import Notifier
from kernelport.limits import MAX_CALLS
from kernelport.telemetry.redis_watch import RedisWatch
from kernelport.v1.deployment_pb2 import FrontDoor
from kernelport_api.access.decision import Access
from kernelport_api.access.deployments import CallersDeployments
from kernelport_api.calls import AccessLog
from kernelport_api.doors.calls import Calls
from kernelport_api.doors.grpc.health import Health
from kernelport_api.doors.open_inference.models import Models
from kernelport_api.doors.services import Services
from kernelport_api.queueing.admission import Admission
from kernelport_api.queueing.call_quotas import CallQuotas
from kernelport_api.queueing.dispatcher import Dispatcher
from kernelport_api.queueing.durability import WAITING_S, Durability
from kernelport_api.queueing.live_workers import WorkerView
from kernelport_api.queueing.losses import Losses
from kernelport_api.queueing.multiplexer import Multiplexer
from kernelport_api.queueing.payloads import Payloads
from kernelport_api.queueing.replies import ReplyReader
from kernelport_api.services.access import Keys
from kernelport_api.services.counting import Counting
from kernelport_api.services.dead_letters import DeadLetters
from kernelport_api.services.deployments import Deployments
from kernelport_api.services.figures import Figures
from kernelport_api.services.files import Files
from kernelport_api.services.inference import Inference
from kernelport_api.services.jobs.memory import JobMemory
from kernelport_api.services.jobs.service import Jobs
from kernelport_api.services.jobs.store import JobStore
from kernelport_api.services.jobs.submission import Submission
from kernelport_api.services.jobs.waiting import Waiting
from kernelport_api.services.operations import Operations
from kernelport_api.services.records import BatchRecord, Records
from kernelport_api.services.stock import Stock
from kernelport_api.services.usage import Usage
from kernelport_api.services.voices import Voices

# A caller is told that the queue cannot be reached rather than kept waiting for it.
REDIS_TIMEOUT_S = 3.0
REDIS_LOOK_INTERVAL_S = 1.0
# Redis answers a reader of replies every second, whether there are any or not.
REPLY_PATIENCE_S = 5.0
# Workers finish jobs, and at once; where there is none, a front door does.
FINISHER_PATIENCE_S = 5.0


class Connections:
    """To Redis. Pools of their own: what is asked of jobs and voices keeps no request from the queue, and neither keeps
    this front door from saying that it lives.

    Attributes:
        own: for what it does by itself.
        queue: for requests.
        calls: for what callers ask beside these.
        patient: for what waits for a disk.
        threads: for what blocks a thread.
        publisher, replies: to publish requests by, and to read their replies.
    """

    def __init__(self, url: str) -> None:
        self.own, self.queue, self.calls = (connect_async(url, REDIS_TIMEOUT_S) for _ in range(3))
        self.patient, self.threads, self._untimed = (
            connect_async(url, WAITING_S),
            connect(url),
            connect_async(url, None),
        )
        self.publisher = Multiplexer(self._untimed, REDIS_TIMEOUT_S)
        self.replies = Multiplexer(self._untimed, REPLY_PATIENCE_S)

    async def close(self) -> None:
        """Closes those of the event loop."""
        await self.publisher.close()
        await self.replies.close()
        for redis in (self.own, self.queue, self.calls, self.patient, self._untimed):
            await redis.aclose()


class Parts:
    """All parts of one front door.

    Attributes:
        name: no other front door has it, now or later.
        storage: where the outputs of jobs are.
        threads: what else works beside the event loop, `watch` included.
        services: what its doors ask.

    Raises:
        ConfigError: when the deployments file is not valid.
        ArtifactsError: when the outputs of jobs cannot go where they should.
    """

    def __init__(self, settings: Settings, stop: asyncio.Event) -> None:
        """
        Args:
            stop: set when the front door is to stop.
        """
        self.name: str = os.urandom(6).hex()
        deployments = self.deployments = load_deployments(settings.deployments_file)
        redis = self.redis = Connections(settings.redis_url)
        self.access_log = AccessLog(self.name, settings.access_log, settings.log_inputs)
        self.health, self.watch = Health(), RedisWatch(settings.redis_url, REDIS_LOOK_INTERVAL_S)
        workers = self.workers = WorkerView(redis.own, deployments, settings.heartbeat_ttl_s)
        self.admission = Admission(redis.own, lambda: _about(self.name, deployments), settings.result_bytes)
        shared = SharedFolder.open(settings.shared_dir)
        payloads = Payloads(redis.queue, workers, self.admission, shared, settings.claim_bytes)
        self.replies = ReplyReader(redis.replies, self.name, payloads.drop)
        self.dispatcher = Dispatcher(redis.queue, redis.publisher, workers, self.replies, payloads)
        callers = CallersDeployments(deployments)
        self.figures = Figures(deployments, redis.own, self.dispatcher)
        self.usage = Usage(redis.own, self.name)
        inference = Inference(
            callers,
            redis.queue,
            workers,
            self.admission,
            self.dispatcher,
            CallQuotas(redis.queue, self.name),
            Counting(self.figures, self.usage),
        )
        self.durability = Durability(redis.calls, redis.patient, redis.threads)
        store = JobStore(redis.calls)
        artifacts = Artifacts(settings.artifacts_url, settings.storage_patience_s)
        storage = self.storage = SharedStorage(redis.threads, artifacts, self.name)
        sweeper = Sweeper(redis.threads, artifacts, storage)
        self.threads: Sequence[Background | Notifier | RedisWatch] = (
            self.watch,
            Finisher(redis.threads, artifacts, storage, FINISHER_PATIENCE_S),
            sweeper,
            Leftovers(redis.threads, deployments, artifacts, storage, shared, settings),
            Notifier(redis.threads, settings.webhook_networks),
            Losses(redis.threads, settings.heartbeat_ttl_s),
        )
        waiting = Waiting(deployments, workers)
        memory = JobMemory(redis.calls, deployments)
        stock = Stock(redis.calls)
        submission = Submission(callers, store, workers, settings, artifacts, storage, memory, stock)
        self.access = Access(redis.own, settings)
        self.services = Services(
            access=self.access,
            keys=Keys(self.access, self.usage, self.durability),
            deployments=callers,
            inference=inference,
            models=Models(callers, inference, lambda: self.health.reason),
            voices=Voices(redis.calls, self.durability),
            described=Deployments(redis.calls, callers, workers, lambda: callers.tells_file),
            letters=DeadLetters(callers, redis.calls, inference, self.durability),
            jobs=Jobs(
                callers,
                store,
                submission,
                redis.threads,
                artifacts,
                self.durability,
                waiting,
                sweeper.kick,
                stop,
            ),
            files=Files(redis.calls, artifacts, stock, settings.job_retention_s),
            batches=Records(redis.calls, keys.BATCHES, BatchRecord),
            operations=Operations.of(settings, redis.calls, deployments, workers, self.figures, store, waiting),
            stop=stop,
            not_serving=lambda: self.health.reason,
            runs=Calls(),
            others=Calls(MAX_CALLS),
            watches=Calls(),
        )


def _about(name: str, deployments: DeploymentTable) -> FrontDoor:
    """What others are told of this front door."""
    return FrontDoor(
        name=name,
        host=socket.gethostname(),
        pid=os.getpid(),
        version=__version__,
        deployments_file=str(deployments.file),
        settings=deployments.digest,
        clock_ahead_s=clock.told_ahead_s,
    )
