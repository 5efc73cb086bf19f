"""Puts the front door together and runs it until it is told to stop."""

import asyncio
import contextlib
import faulthandler
import logging
import os
import signal
import socket
from collections.abc import Callable, Collection, Coroutine, Mapping
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from redis.exceptions import RedisError
from starlette.types import ASGIApp

from kernelport import __version__
from kernelport.broker import keys
from kernelport.broker.clock import clock
from kernelport.broker.connections import connect, connect_async
from kernelport.broker.shared_folder import SharedFolder
from kernelport.config.deployments import Deployment, DeploymentTable, load_deployments
from kernelport.config.schema import ConfigError
from kernelport.config.settings import Settings
from kernelport.jobs.artifacts import Artifacts
from kernelport.jobs.finishing import Finisher
from kernelport.jobs.leftovers import Leftovers
from kernelport.jobs.storage import SharedStorage
from kernelport.jobs.sweeping import Sweeper
from kernelport.jobs.webhooks.notifier import Notifier
from kernelport.limits import MAX_CALLS, MAX_PENDING_CALLS, SHORTEST_PING_MS
from kernelport.open_inference import inference_pb2 as open_inference_pb2
from kernelport.open_inference import inference_pb2_grpc
from kernelport.telemetry import metrics
from kernelport.telemetry.redis_watch import RedisWatch
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
from kernelport.v1.deployment_pb2 import FrontDoor
from kernelport_api import listeners
from kernelport_api.calls import AccessLog
from kernelport_api.doors.calls import Calls
from kernelport_api.doors.grpc import draining
from kernelport_api.doors.grpc.health import Health
from kernelport_api.doors.grpc.inference import InferenceDoor
from kernelport_api.doors.grpc.methods import Methods
from kernelport_api.doors.grpc.open_inference import OpenInferenceService
from kernelport_api.doors.http.door import Services, application
from kernelport_api.doors.http.server import HttpServer, listener
from kernelport_api.doors.open_inference.models import Models
from kernelport_api.queueing.admission import Admission
from kernelport_api.queueing.dispatcher import Dispatcher
from kernelport_api.queueing.durability import WAITING_S, Durability
from kernelport_api.queueing.live_workers import REFRESH_INTERVAL_S, WorkerView
from kernelport_api.queueing.losses import Losses
from kernelport_api.queueing.multiplexer import Multiplexer
from kernelport_api.queueing.payloads import Payloads
from kernelport_api.queueing.replies import ReplyReader
from kernelport_api.services.dead_letters import DeadLetters
from kernelport_api.services.deployments import Deployments
from kernelport_api.services.figures import Figures
from kernelport_api.services.files import Files
from kernelport_api.services.gauges import keep_gauges
from kernelport_api.services.inference import Inference
from kernelport_api.services.jobs.maintenance import keep_feeding
from kernelport_api.services.jobs.memory import JobMemory
from kernelport_api.services.jobs.service import Jobs
from kernelport_api.services.jobs.store import JobStore
from kernelport_api.services.jobs.submission import Submission
from kernelport_api.services.jobs.waiting import Waiting
from kernelport_api.services.operations import Operations
from kernelport_api.services.records import Records
from kernelport_api.services.voices import Voices

log = logging.getLogger(__name__)

# A caller is told that the queue cannot be reached rather than kept waiting for it.
REDIS_TIMEOUT_S = 3.0
# How often Redis is looked at, and after how long without it the front door takes no calls.
REDIS_LOOK_INTERVAL_S, REDIS_PATIENCE_S = 1.0, 3.0
# Redis answers a reader of replies every second, whether there are any or not.
REPLY_PATIENCE_S = 5.0
# Workers finish jobs, and at once; where there is none, a front door does.
FINISHER_PATIENCE_S = 5.0
CANCEL_INTERVAL_S = 0.1
# How long another front door has to take the place of this one.
OPEN_S = 60.0

# For what is to be closed once calls have finished.
STOP_MARGIN_S = 3.0


class ListenError(Exception):
    """The address cannot be listened on."""


async def serve(settings: Settings, *, beside: bool = False) -> None:
    """Runs the front door until SIGTERM or SIGINT; calls in flight finish first. At SIGHUP it reads its deployments
    file again. For some time from SIGUSR1 on, it lets another one take its place on the same addresses.

    Args:
        beside: whether it takes the place of another one that lets it.

    Raises:
        ConfigError: when the deployments file is not valid.
        ArtifactsError: when the outputs of jobs cannot go where they should.
        ListenError: when the address is taken or no address.
    """
    deployments = load_deployments(settings.deployments_file)
    shares_ports = beside or settings.share_ports
    name = os.urandom(6).hex()  # no other front door has it, now or later
    # Pools of their own: what is asked of jobs and voices keeps no request from the queue, and neither keeps this front
    # door from saying that it lives.
    own, queue, calls = (connect_async(settings.redis_url, REDIS_TIMEOUT_S) for _ in range(3))
    untimed = connect_async(settings.redis_url, None)
    publisher, reply_connection = Multiplexer(untimed, REDIS_TIMEOUT_S), Multiplexer(untimed, REPLY_PATIENCE_S)
    workers = WorkerView(own, deployments, settings.heartbeat_ttl_s)
    replies = ReplyReader(reply_connection, name)
    admission = Admission(own, lambda: _about(name, deployments), settings.result_bytes)
    access_log = AccessLog(name, settings.access_log, settings.log_inputs)
    shared = SharedFolder.open(settings.shared_dir)
    payloads = Payloads(queue, workers, admission, shared, settings.claim_bytes)
    dispatcher = Dispatcher(queue, publisher, workers, replies, payloads)
    figures = Figures(deployments, own, dispatcher)
    inference = Inference(deployments, queue, workers, admission, dispatcher, figures)
    server = grpc.aio.server(options=_options(settings, shares_ports))
    infer_calls, calls_of_methods, watches = Calls(), Calls(MAX_CALLS), Calls()
    methods: Any = Methods(server, calls_of_methods, access_log)
    health_servicer, watch = Health(), RedisWatch(settings.redis_url, REDIS_LOOK_INTERVAL_S)
    server.add_generic_rpc_handlers((InferenceDoor(inference, infer_calls, access_log).handler(),))
    models = Models(deployments, inference, lambda: health_servicer.reason)
    described = Deployments(calls, deployments, workers)
    running_methods: Any = Methods(server, infer_calls, access_log)
    inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(OpenInferenceService(models), running_methods)
    deployment_pb2_grpc.add_DeploymentServiceServicer_to_server(described, methods)
    thread_redis = connect(settings.redis_url)
    patient = connect_async(settings.redis_url, WAITING_S)
    durability = Durability(calls, patient, thread_redis)
    letters = DeadLetters(deployments, calls, inference, durability)
    dead_letter_pb2_grpc.add_DeadLetterServiceServicer_to_server(letters, methods)
    store, artifacts = JobStore(calls), Artifacts(settings.artifacts_url, settings.storage_patience_s)
    storage = SharedStorage(thread_redis, artifacts, decides=True)
    finisher = Finisher(thread_redis, artifacts, storage, FINISHER_PATIENCE_S)
    sweeper = Sweeper(thread_redis, artifacts, storage)
    leftovers = Leftovers(thread_redis, deployments, artifacts, storage, shared, settings)
    submission = Submission(deployments, store, workers, settings, artifacts, storage, JobMemory(calls, deployments))
    stop = asyncio.Event()
    waiting = Waiting(deployments, workers)
    jobs = Jobs(deployments, store, submission, thread_redis, artifacts, durability, waiting, sweeper.kick, stop)
    job_pb2_grpc.add_JobServiceServicer_to_server(jobs, methods)
    voices = Voices(calls, durability)
    voice_pb2_grpc.add_VoiceServiceServicer_to_server(voices, methods)
    # Asking for its health is never one call too many, and of no interest.
    own_methods: Any = Methods(server, watches, AccessLog(name))
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, own_methods)
    describing: Any = reflection_pb2_grpc
    describing.add_ServerReflectionServicer_to_server(reflection.aio.ReflectionServicer(_service_names()), methods)
    port = _listen(server, settings.listen)
    if settings.own_listen:
        _listen(server, settings.own_listen)
    http = None
    if settings.http_listen:
        services = Services(
            deployments=deployments,
            inference=inference,
            models=models,
            voices=voices,
            described=described,
            letters=letters,
            jobs=jobs,
            files=Files(calls, artifacts, settings.job_retention_s),
            batches=Records(calls, keys.BATCHES),
            operations=Operations.of(settings, calls, deployments, workers, figures, store, waiting),
            stop=stop,
            not_serving=lambda: health_servicer.reason,
            runs=infer_calls,
            others=calls_of_methods,
            watches=watches,
        )
        http = _http_server(settings, shares_ports, application(services, settings, access_log))
    if settings.metrics_listen:
        try:
            metrics.serve(settings.metrics_listen, beside=beside)
        except OSError as error:
            raise ListenError(f"cannot show metrics at {settings.metrics_listen}: {error}") from error

    addresses = (settings.listen, settings.http_listen, settings.metrics_listen)
    ports = {int(each.rpartition(":")[2]) for each in addresses if each}
    if beside:
        listeners.steer(ports, listeners.OLD)
    read_again = asyncio.Event()
    loop = asyncio.get_running_loop()

    def let_in() -> None:
        if not settings.share_ports:  # else others are let in for good
            listeners.open_up(ports, is_open=True)
            loop.call_later(OPEN_S, lambda: listeners.open_up(ports, is_open=False))

    loop.add_signal_handler(signal.SIGUSR1, let_in)
    for number, event in ((signal.SIGTERM, stop), (signal.SIGINT, stop), (signal.SIGHUP, read_again)):
        loop.add_signal_handler(number, event.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])

    def by_name() -> list[Coroutine[Any, Any, Any]]:
        feeding = keep_feeding(deployments, JobStore(own), workers)
        return [feeding, keep_gauges(deployments, own, workers, dispatcher)] if settings.metrics_listen else [feeding]

    background = [
        asyncio.create_task(replies.run()),
        asyncio.create_task(workers.keep_fresh()),
        asyncio.create_task(dispatcher.keep_looking()),
        asyncio.create_task(figures.keep()),
        asyncio.create_task(_keep_current(deployments, settings.deployments_file, read_again, by_name)),
        asyncio.create_task(_keep_health(health_servicer, deployments, workers, watch)),
        asyncio.create_task(stop.wait()),
    ]
    notifier = Notifier(thread_redis, settings.webhook_networks)
    threads = (finisher, sweeper, leftovers, notifier, Losses(thread_redis, settings.heartbeat_ttl_s))
    await asyncio.to_thread(watch.ask)  # what time it is, before the first deadline
    for thread in (watch, *threads):
        thread.start()
    await durability.probe()
    await server.start()
    background.append(asyncio.create_task(admission.keep_sharing()))  # it is one of the front doors from now on
    if http is not None:
        background.append(asyncio.create_task(http.run()))
    if beside:
        listeners.steer(ports, listeners.NEW)
        listeners.open_up(ports, is_open=False)
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
        for thread in (watch, *threads):
            thread.stop()
        await health_servicer.enter_graceful_shutdown()
        await draining.stop(server, (infer_calls, calls_of_methods), watches, settings.stop_s)
        if http is not None:
            await http.stop()
        await end_all(background)
        with contextlib.suppress(RedisError):  # both keys expire by themselves
            await own.delete(replies.key)
            await admission.leave_for_good()
        await publisher.close()
        await reply_connection.close()
        for redis in (own, queue, calls, patient, untimed):
            await redis.aclose()


async def end_all(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancels tasks until they have ended.

    Before Python 3.12 a cancellation that meets the result of an `asyncio.wait_for`, as redis-py sends each command by,
    is lost. A task that sends many would go on for ever.
    """
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=CANCEL_INTERVAL_S)


async def _keep_current(
    deployments: DeploymentTable,
    file: Path,
    read_again: asyncio.Event,
    by_name: Callable[[], list[Coroutine[Any, Any, Any]]],
) -> None:
    """Reads the deployments file each time it is told to.

    Args:
        by_name: makes what goes by the names in the file, and is begun anew.
    """
    while True:
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(each) for each in (*by_name(), read_again.wait())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await end_all(tasks)
        read_again.clear()
        try:
            deployments.become(await asyncio.to_thread(load_deployments, file))
            log.info("read %s again: %d deployments", file, len(deployments))
        except (ConfigError, OSError) as error:
            log.error("the deployments stay as they were: %s", error)


async def _keep_health(
    health_servicer: Health, deployments: Mapping[str, Deployment], workers: WorkerView, watch: RedisWatch
) -> None:
    """Reports the front door as serving unless Redis has been away for a while, and each deployment as its live workers
    say."""
    await health_servicer.begin()
    while True:
        why_not = watch.down(REDIS_PATIENCE_S)
        names = set(deployments)
        reason = f"waiting for Redis: {why_not}" if why_not else ""
        await health_servicer.tell(names, names & workers.counts().keys(), reason)
        await asyncio.sleep(REFRESH_INTERVAL_S)


def _listen(server: grpc.aio.Server, address: str) -> int:
    try:
        return server.add_insecure_port(address)
    except RuntimeError as error:
        raise ListenError(f"cannot listen on {address}: {error}") from error


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


def _http_server(settings: Settings, shares_ports: bool, app: ASGIApp) -> HttpServer:
    try:
        server = HttpServer(app, listener(settings.http_listen, shared=shares_ports))
    except OSError as error:
        other = "KERNELPORT_HTTP_LISTEN or --http-listen names another address, or with an empty value none"
        raise ListenError(f"cannot listen on {settings.http_listen} for HTTP: {error}; {other}") from error
    log.info("listening on %s for HTTP", server.address)
    return server


def _options(settings: Settings, shares_ports: bool) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", -1),
        # Unless that is wanted, two front doors must not share connections silently: a taken port is an error.
        ("grpc.so_reuseport", int(shares_ports)),
        # gRPC's own limit is 1,000 calls that nobody has taken up yet, and it answers the next with CANCELLED, which
        # nobody did. A crowd is told that it is one by kernelport_api.queueing.admission.
        ("grpc.server.max_pending_requests", MAX_PENDING_CALLS),
        ("grpc.server.max_pending_requests_hard_limit", MAX_PENDING_CALLS),
        # Clients may ask whether the connection lives, with or without calls on it.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", SHORTEST_PING_MS),
    ]


def _service_names() -> list[str]:
    return [
        inference_pb2.DESCRIPTOR.services_by_name["InferenceService"].full_name,
        deployment_pb2.DESCRIPTOR.services_by_name["DeploymentService"].full_name,
        dead_letter_pb2.DESCRIPTOR.services_by_name["DeadLetterService"].full_name,
        job_pb2.DESCRIPTOR.services_by_name["JobService"].full_name,
        voice_pb2.DESCRIPTOR.services_by_name["VoiceService"].full_name,
        open_inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name,
        health.SERVICE_NAME,
        reflection.SERVICE_NAME,
    ]
