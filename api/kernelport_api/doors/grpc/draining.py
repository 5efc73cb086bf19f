"""Stops a gRPC server without a call that is cancelled.

gRPC by itself answers CANCELLED to calls that come while it shuts down and to those that outlast its grace time, as if
their callers had given them up. So callers are sent away first: whoever calls is held. Once hardly anybody calls,
connections get a GOAWAY, and behind it those who are held UNAVAILABLE and when to try again, which they do elsewhere
then; calls in flight finish. What is left just before the time is over is told UNAVAILABLE, too.
"""

import asyncio
from collections.abc import Sequence

import grpc

from kernelport_api.doors.calls import Calls

# Callers count as gone when none has called for so long; a client that does not heed what it is told is not waited for.
QUIET_S, PATIENCE_S = 0.1, 1.0
# So long before the time is over, what is left is told.
MARGIN_S = 1.0
# What gRPC takes to send a GOAWAY, and some time more.
GOAWAY_S = 0.05


async def stop(server: grpc.aio.Server, calls: Sequence[Calls], watches: Calls, stop_s: float) -> None:
    """Stops a server within `stop_s` seconds.

    Args:
        calls: those that are waited for.
        watches: those that would go on for ever.
    """
    loop = asyncio.get_running_loop()
    margin_s = min(MARGIN_S, stop_s / 2)
    ends_at = loop.time() + stop_s - margin_s
    patient_until = min(loop.time() + PATIENCE_S, ends_at)
    for each in calls:
        each.refuse()
    while True:
        quiet_s = min(max(each.refused_at for each in calls) + QUIET_S, patient_until) - loop.time()
        if quiet_s <= 0:
            break
        await asyncio.sleep(quiet_s)
    stopped = asyncio.create_task(server.stop(max(0.0, ends_at - loop.time()) + margin_s))
    await asyncio.sleep(GOAWAY_S)
    for each in calls:
        each.send_away()
    for each in calls:
        await each.finished(ends_at)
    for each in (*calls, watches):
        each.end()
    await stopped
