"""`python -m kernelport_ops.bench.bounds.sending`: sends one of the worst inputs, again and again, until SIGTERM.

It stands for callers on other machines, so it runs with whatever the processes that are measured leave of the cores.
It says on standard output that it has begun, and at its end, in a line of JSON, how many of its calls ended in which
way.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys

import click
import grpc

from kernelport.broker.connections import connect_async
from kernelport.client import Address
from kernelport.config.settings import Settings
from kernelport.process import run_where_idle
from kernelport_ops.bench.bounds.inputs import WORST_INPUTS, Sender


async def send_until_told(target: str, name: str) -> dict[str, int]:
    """Sends the input of that name to a front door and the Redis of the environment; deletes what is left of it."""
    redis = connect_async(Settings.from_environment().redis_url, None)
    send = WORST_INPUTS[name]()

    async def keep_sending() -> None:
        while True:
            await send(sender)

    async with Address(target).open(grpc.aio) as channel:
        sender = Sender(channel, redis)
        sending = asyncio.create_task(keep_sending())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, sending.cancel)
        sys.stdout.write("sending\n")
        sys.stdout.flush()
        with contextlib.suppress(asyncio.CancelledError):
            await sending
        await sender.clear()
    await redis.aclose()
    return dict(sender.endings)


@click.command()
@click.option("--target", required=True)
@click.option("--name", required=True)
def main(target: str, name: str) -> None:
    """The command."""
    run_where_idle(os.getpid())  # on another machine, as it were
    sys.stdout.write(json.dumps(asyncio.run(send_until_told(target, name))) + "\n")


if __name__ == "__main__":
    main()
