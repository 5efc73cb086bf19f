"""Puts the front door together and runs it until it is told to stop."""

import asyncio
import contextlib
import faulthandler
import logging
import os
import signal
from collections.abc import Mapping

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from redis import Redis as ThreadRedis
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from kernelport import metrics
from kernelport.artifacts import Artifacts
from kernelport.deployments import Deployment, load_deployments
from kernelport.jobs.finishing import Finisher
from kernelport.jobs.sweeping import Sweeper
from kernelport.settings import Settings
from kernelport.shared_folder import SharedFolder
from kernelport.v1 import (
    dead_letter_pb2,
    dead_letter_pb2_grpc,
    deployment_pb2,
    deployment_pb2_grpc,
    inference_pb2,
    job_pb2,
    job_pb2_grpc,
    voice_pb2,
    voice_pb2_grpc,
)
from kernelport.webhooks import Notifier
from kernelport_api.admission import Admission
from kernelport_api.claims import Claims
from kernelport_api.dead_letters import DeadLetters
from kernelport_api.deployments import Deployments
from kernelport_api.dispatch import Dispatcher
from kernelport_api.durability import WAITING_S, Durability
from kernelport_api.inference import Inference
from kernelport_api.jobs.housekeeping import keep_feeding
from kernelport_api.jobs.service import Jobs
from kernelport_api.jobs.store import JobStore
from kernelport_api.jobs.submission import Submission
from kernelport_api.line import Line
from kernelport_api.observation import keep_gauges
from kernelport_api.replies import ReplyReader
from kernelport_api.voices import Voices
from kernelport_api.workers import REFRESH_INTERVAL_S, WorkerView

log = logging.getLogger(__name__)

# A caller is told that the queue cannot be reached rather than kept waiting for it.
REDIS_TIMEOUT_S = 3.0
# Redis answers a reader of replies every second, whether there are any or not.
REPLY_PATIENCE_S = 5.0
# Workers finish jobs, and at once; where there is none, a front door does.
FINISHER_PATIENCE_S = 5.0

# For what is to be closed once calls have finished.
STOP_MARGIN_S = 3.0


class ListenError(Exception):
    """The address cannot be listened on."""


async def serve(settings: Settings) -> None:
    """Runs the front door until SIGTERM or SIGINT; calls in flight finish first.

    Raises:
        ConfigError: when the deployments file is not valid.
        ArtifactsError: when the outputs of jobs cannot go where they should.
        ListenError: when the address is taken or no address.
    """
    deployments = load_deployments(settings.deployments_file)
    name = os.urandom(6).hex()  # no other front door has it, now or later
    redis, untimed_redis = (_connect(settings, timeout_s) for timeout_s in (REDIS_TIMEOUT_S, None))
    publish_line, reply_line = Line(untimed_redis, REDIS_TIMEOUT_S), Line(untimed_redis, REPLY_PATIENCE_S)
    workers = WorkerView(redis)
    replies = ReplyReader(reply_line, name)
    admission = Admission(deployments, redis, name)
    claims = Claims(redis, workers, SharedFolder.open(settings.shared_dir), settings.claim_bytes)
    dispatcher = Dispatcher(deployments, redis, publish_line, workers, replies, claims)
    inference = Inference(deployments, redis, workers, admission, dispatcher)
    server = grpc.aio.server(options=_options(settings))
    # gRPC 1.85 waits anew for calls of every registered method whenever one of any comes in. The generated code adds
    # each service as a generic handler, too: that is enough, and saves small requests 7 % of the front door's CPU time.
    server.add_registered_method_handlers = lambda *_: None  # type: ignore[method-assign]
    health_servicer = health.aio.HealthServicer()
    server.add_generic_rpc_handlers((inference.handler(),))
    deployment_pb2_grpc.add_DeploymentServiceServicer_to_server(Deployments(deployments, workers), server)
    thread_redis = ThreadRedis.from_url(settings.redis_url)
    durability = Durability(redis, _connect(settings, WAITING_S), thread_redis)
    letters = DeadLetters(deployments, redis, inference, durability)
    dead_letter_pb2_grpc.add_DeadLetterServiceServicer_to_server(letters, server)
    store, artifacts = JobStore(redis), Artifacts(settings.artifacts_url, settings.storage_patience_s)
    finisher = Finisher(thread_redis, artifacts, FINISHER_PATIENCE_S)
    sweeper = Sweeper(thread_redis, artifacts)
    submission = Submission(deployments, store, workers, settings, artifacts)
    jobs = Jobs(deployments, store, submission, artifacts, durability, sweeper.kick)
    job_pb2_grpc.add_JobServiceServicer_to_server(jobs, server)
    voice_pb2_grpc.add_VoiceServiceServicer_to_server(Voices(redis, durability), server)
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    reflection.enable_server_reflection(_service_names(), server)
    try:
        port = server.add_insecure_port(settings.listen)
    except RuntimeError as error:
        raise ListenError(f"cannot listen on {settings.listen}: {error}") from error
    if settings.metrics_listen:
        try:
            metrics.serve(settings.metrics_listen)
        except OSError as error:
            raise ListenError(f"cannot show metrics at {settings.metrics_listen}: {error}") from error

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    background = [
        asyncio.create_task(replies.run()),
        asyncio.create_task(workers.keep_fresh()),
        asyncio.create_task(admission.keep_sharing()),
        asyncio.create_task(dispatcher.keep_looking()),
        asyncio.create_task(keep_gauges(deployments, redis, workers, dispatcher)),
        asyncio.create_task(keep_feeding(deployments, store, workers)),
        asyncio.create_task(_keep_health(health_servicer, deployments, workers)),
        asyncio.create_task(stop.wait()),
    ]
    notifier = Notifier(thread_redis, settings.webhook_networks)
    for thread in (finisher, sweeper, notifier):
        thread.start()
    await durability.look()
    await server.start()
    log.info("front door %s listens on %s (port %d)", name, settings.listen, port)
    try:
        # Whichever ends first: only the stop signal should; a background task that ends has failed.
        done, _ = await asyncio.wait(background, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        log.info("stopping: calls in flight have %g s to finish", settings.stop_s)
        # Whatever hangs then, a thread or a connection, is shown in the log, and the process ends all the same.
        faulthandler.dump_traceback_later(settings.stop_s + STOP_MARGIN_S, exit=True)
        for thread in (finisher, sweeper, notifier):
            thread.stop()
        await health_servicer.enter_graceful_shutdown()
        await server.stop(settings.stop_s)
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        with contextlib.suppress(RedisError):  # both keys expire by themselves
            await redis.delete(replies.key)
            await admission.leave_for_good()
        await publish_line.close()
        await reply_line.close()
        await redis.aclose()


def _connect(settings: Settings, timeout_s: float | None) -> Redis:
    """A client that gives up after `timeout_s` seconds, if any, and tries once: callers decide about the next try."""
    return Redis.from_url(
        settings.redis_url,
        # With 3, redis-py 8 hands out connections that Redis has closed: after a restart each fails one call.
        protocol=2,
        socket_timeout=timeout_s,
        socket_connect_timeout=REDIS_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )


async def _keep_health(
    servicer: health.aio.HealthServicer, deployments: Mapping[str, Deployment], workers: WorkerView
) -> None:
    """Reports the front door as serving, and each deployment as its live workers say."""
    statuses = health_pb2.HealthCheckResponse
    await servicer.set("", statuses.SERVING)
    while True:
        for name in deployments:
            await servicer.set(name, statuses.SERVING if workers.workers(name) else statuses.NOT_SERVING)
        await asyncio.sleep(REFRESH_INTERVAL_S)


def _options(settings: Settings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", -1),
        # Two front doors on one port would share its connections silently; a taken port must be an error.
        ("grpc.so_reuseport", 0),
    ]


def _service_names() -> list[str]:
    return [
        inference_pb2.DESCRIPTOR.services_by_name["InferenceService"].full_name,
        deployment_pb2.DESCRIPTOR.services_by_name["DeploymentService"].full_name,
        dead_letter_pb2.DESCRIPTOR.services_by_name["DeadLetterService"].full_name,
        job_pb2.DESCRIPTOR.services_by_name["JobService"].full_name,
        voice_pb2.DESCRIPTOR.services_by_name["VoiceService"].full_name,
        health.SERVICE_NAME,
        reflection.SERVICE_NAME,
    ]
