"""Runs a front door until it is told to stop: starts its parts in order, and stops them in order."""

import asyncio
import contextlib
import faulthandler
import logging
import signal
from collections.abc import Collection, Coroutine
from typing import Any

import grpc
from redis.exceptions import RedisError

from kernelport.certificates.files import CertificateFiles
from kernelport.config.deployments import load_deployments
from kernelport.config.schema import ConfigError
from kernelport.config.settings import Settings
from kernelport.jobs.storage import OtherStorageError
from kernelport.telemetry import metrics
from kernelport_api import listeners
from kernelport_api.doors.grpc import draining
from kernelport_api.doors.grpc.door import grpc_server
from kernelport_api.doors.http.door import application
from kernelport_api.doors.http.server import HttpServer, listener
from kernelport_api.doors.tls import Tls
from kernelport_api.parts import Parts
from kernelport_api.queueing.live_workers import REFRESH_INTERVAL_S
from kernelport_api.services.gauges import keep_gauges
from kernelport_api.services.jobs.maintenance import keep_feeding
from kernelport_api.services.jobs.store import JobStore

log = logging.getLogger(__name__)

# After how long without Redis the front door takes no calls.
REDIS_PATIENCE_S = 3.0
# Calls do not wait for a storage, nor for a Redis, that does not answer.
STORAGE_PATIENCE_S = 3.0
CANCEL_INTERVAL_S = 0.1
# How long another front door has to take the place of this one.
OPEN_S = 60.0
# For what is to be closed once calls have finished.
STOP_MARGIN_S = 3.0


class ListenError(Exception):
    """The address cannot be listened on."""


async def serve(settings: Settings, *, beside: int = 0) -> None:
    """Runs the front door until SIGTERM or SIGINT; calls in flight finish first. At SIGHUP it reads its deployments
    file again. For some time from SIGUSR1 on, it lets another one take its place on the same addresses.

    Args:
        beside: how many listen on its addresses; it takes the place of one that lets it. 0 when it takes nobody's.

    Raises:
        ConfigError: when the deployments file is not valid.
        ArtifactsError: when the outputs of jobs cannot go where they should.
        OtherStorageError: when they should go elsewhere than live front doors have them.
        ListenError: when the address is taken or no address.
        AccessError: when whoever reaches it could do everything.
        SettingsError: when a first key is none.
        CertificateError: when a certificate or its key is not what it should be.
    """
    files = CertificateFiles.of(settings)
    tls = Tls(files) if files else None
    stop, read_again = asyncio.Event(), asyncio.Event()
    parts = Parts(settings, stop)
    shared_ports = _ports(settings.listen, settings.http_listen)
    own_ports = _ports(settings.own_listen, settings.metrics_listen)
    closed_ports = own_ports if settings.share_ports else own_ports | shared_ports
    timers: list[asyncio.TimerHandle] = []
    _heed_signals(stop, read_again, closed_ports, timers)
    await asyncio.to_thread(parts.watch.ask)  # what time it is, before the first deadline
    await parts.durability.probe()
    await parts.access.begin()
    parts.storage.start()
    refusal = await asyncio.to_thread(parts.storage.first_refusal, STORAGE_PATIENCE_S)
    if refusal and settings.artifacts:  # who names no storage may be here for calls alone
        raise OtherStorageError(refusal)

    # What connects from here on is served in a moment.
    if settings.metrics_listen:
        try:
            metrics.serve(settings.metrics_listen, beside=beside > 0)
        except OSError as error:
            raise ListenError(f"cannot show metrics at {settings.metrics_listen}: {error}") from error
    services, shares_ports = parts.services, beside > 0 or settings.share_ports
    server = grpc_server(services, parts.health, settings, parts.access_log, shares_ports=shares_ports)
    port = _listen(server, settings.listen, tls)
    if settings.own_listen:
        _listen(server, settings.own_listen)
    http = _http_server(parts, settings, shares_ports, tls) if settings.http_listen else None
    background = [
        asyncio.create_task(parts.replies.run()),
        asyncio.create_task(parts.workers.keep_fresh()),
        asyncio.create_task(parts.dispatcher.keep_looking()),
        asyncio.create_task(parts.figures.keep()),
        asyncio.create_task(_keep_current(parts, settings, read_again)),
        asyncio.create_task(_keep_health(parts)),
        asyncio.create_task(parts.access.keep_current()),
        asyncio.create_task(parts.usage.keep_telling()),
        asyncio.create_task(stop.wait()),
    ]
    if tls is not None:
        background.append(asyncio.create_task(tls.keep_current()))
    for thread in parts.threads:
        thread.start()
    await server.start()
    background.append(asyncio.create_task(parts.admission.keep_sharing()))  # it is one of the front doors from now on
    if http is not None:
        background.append(asyncio.create_task(http.run()))
    if beside:
        listeners.steer(shared_ports, beside)
        listeners.steer(own_ports, 1)
        listeners.open_up(closed_ports, is_open=False)
        # The one in whose place it comes has gone by then.
        gone_s = OPEN_S + settings.stop_s
        timers.append(asyncio.get_running_loop().call_later(gone_s, listeners.stop_steering, shared_ports | own_ports))
    log.info("front door %s listens on %s (port %d)", parts.name, settings.listen, port)
    try:
        # Whichever ends first: only the stop signal should; a background task that ends has failed.
        done, _ = await asyncio.wait(background, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        log.info("stopping: calls in flight have %g s to finish", settings.stop_s)
        # Whatever hangs then, a thread or a connection, is shown in the log, and the process ends all the same.
        faulthandler.dump_traceback_later(settings.stop_s + STOP_MARGIN_S, exit=True)
        for thread in (*parts.threads, parts.storage):
            thread.stop()
        try:
            await parts.health.enter_graceful_shutdown()
            await draining.stop(server, (services.runs, services.others), services.watches, settings.stop_s)
            if http is not None:
                await http.stop()
        finally:
            parts.access_log.write()
        await end_all(background)
        await parts.usage.tell()
        with contextlib.suppress(RedisError):  # all of it expires by itself
            await parts.redis.own.delete(parts.replies.key)
            await parts.admission.leave_for_good()
            await parts.storage.leave(parts.redis.own)
        await parts.redis.close()


def _ports(*addresses: str) -> set[int]:
    """Those of addresses that are there."""
    return {int(each.rpartition(":")[2]) for each in addresses if each}


def _heed_signals(
    stop: asyncio.Event, read_again: asyncio.Event, closed_ports: Collection[int], timers: list[asyncio.TimerHandle]
) -> None:
    """Goes by the signals of `serve` from now on.

    Args:
        closed_ports: to which another one is let in when it asks.
        timers: of what is to be done to listeners, which must not meet the one that is let in.
    """
    loop = asyncio.get_running_loop()

    def let_in() -> None:
        for each in timers:
            each.cancel()
        listeners.open_up(closed_ports, is_open=True)
        timers[:] = [loop.call_later(OPEN_S, let_nobody_in)]

    def let_nobody_in() -> None:
        listeners.open_up(closed_ports, is_open=False)
        listeners.stop_steering(closed_ports)

    loop.add_signal_handler(signal.SIGUSR1, let_in)
    for number, event in ((signal.SIGTERM, stop), (signal.SIGINT, stop), (signal.SIGHUP, read_again)):
        loop.add_signal_handler(number, event.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])


async def end_all(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancels tasks until they have ended.

    Before Python 3.12 a cancellation that meets the result of an `asyncio.wait_for`, as redis-py sends each command by,
    is lost. A task that sends many would go on for ever.
    """
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=CANCEL_INTERVAL_S)


async def _keep_current(parts: Parts, settings: Settings, read_again: asyncio.Event) -> None:
    """Does what goes by the deployments file, and reads that each time it is told to."""
    deployments, workers, own = parts.deployments, parts.workers, parts.redis.own
    while True:
        following: list[Coroutine[Any, Any, Any]] = [keep_feeding(deployments, JobStore(own), workers)]
        if settings.metrics_listen:
            following.append(keep_gauges(deployments, own, workers, parts.dispatcher))
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(each) for each in (*following, read_again.wait())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await end_all(tasks)
        read_again.clear()
        try:
            deployments.become(await asyncio.to_thread(load_deployments, settings.deployments_file))
            log.info("read %s again: %d deployments", settings.deployments_file, len(deployments))
        except (ConfigError, OSError) as error:
            log.error("the deployments stay as they were: %s", error)


async def _keep_health(parts: Parts) -> None:
    """Reports the front door as serving unless Redis has been away for a while, and each deployment as its live workers
    say."""
    await parts.health.begin()
    while True:
        why_not = parts.watch.down(REDIS_PATIENCE_S)
        names = set(parts.deployments)
        reason = f"waiting for Redis: {why_not}" if why_not else ""
        await parts.health.tell(names, names & parts.workers.counts().keys(), reason)
        await asyncio.sleep(REFRESH_INTERVAL_S)


def _listen(server: grpc.aio.Server, address: str, tls: Tls | None = None) -> int:
    try:
        return server.add_secure_port(address, tls.grpc_credentials()) if tls else server.add_insecure_port(address)
    except RuntimeError as error:
        raise ListenError(f"cannot listen on {address}: {error}") from error


def _http_server(parts: Parts, settings: Settings, shares_ports: bool, tls: Tls | None) -> HttpServer:
    app, context = application(parts.services, settings, parts.access_log), tls.http_context() if tls else None
    try:
        server = HttpServer(app, listener(settings.http_listen, shared=shares_ports), context)
    except OSError as error:
        other = "KERNELPORT_HTTP_LISTEN or --http-listen names another address, or with an empty value none"
        raise ListenError(f"cannot listen on {settings.http_listen} for HTTP: {error}; {other}") from error
    log.info("listening on %s for HTTP", server.address)
    return server
