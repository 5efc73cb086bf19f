"""`python -m kernelport_ops.chaos.disk`: kills a Redis on a slow disk, time and again; nothing acknowledged is lost."""

import io
import itertools
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import soundfile
from redis import Redis
from redis.exceptions import RedisError

from kernelport import Client, KernelPortError, NotFoundError
from kernelport.config.settings import Settings, bundled_deployments
from kernelport.supervisor.ports import free_port
from kernelport.supervisor.redis_server import find_redis_server, redis_command
from kernelport.supervisor.stack import Stack

SUBMITTERS = 30
# When Redis is killed, in seconds from the round's start: acknowledgements come after 2 to 6 of them.
KILLED_S = (6.0, 10.0)
PATIENCE_S = 60.0
START_S = 90.0
_MODEL = "identity-onnx"
_ITEM = {"x": np.zeros((1, 1, 1, 4), np.float32)}


def shim(folder: Path) -> Path:
    """The library that makes syncs slow, compiled.

    Raises:
        FileNotFoundError: when there is no C compiler.
    """
    library = folder / "slow_sync.so"
    source = Path(__file__).with_name("slow_sync.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


class SlowDisk:
    """A front door whose Redis is on a slow disk.

    Args:
        folder: for what Redis keeps, and for logs; emptied first.
    """

    def __init__(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "redis").mkdir(parents=True)
        self._library = shim(folder)
        self._port = free_port()
        self._command = redis_command(find_redis_server(), self._port, folder / "redis")
        settings = replace(Settings(), listen="127.0.0.1:0", deployments_file=bundled_deployments())
        self._stack = Stack(settings, [], folder / "stack", redis_url=f"redis://127.0.0.1:{self._port}/0")
        self._numbers = itertools.count()

    @contextmanager
    def serving(self) -> Iterator[None]:
        """The front door runs while the block does."""
        with self._stack:
            self._stack.wait_ready(START_S)
            yield

    def round(self, seed: int, least: int = 0) -> tuple[int, list[str]]:
        """Submits jobs and voices until Redis is killed.

        Args:
            least: so many are acknowledged before that, if a minute is enough for them.

        Returns:
            how many were acknowledged, and those of them that are gone when Redis is back.
        """
        acknowledged: list[str] = []
        stopped = threading.Event()
        with self._redis(slow=True) as process, Client(self._stack.target, timeout_s=30) as client:
            client.jobs.patience_s = 0  # what was not acknowledged is no matter
            threads = [
                threading.Thread(target=self._submit, args=(client, acknowledged, stopped)) for _ in range(SUBMITTERS)
            ]
            for thread in threads:
                thread.start()
            time.sleep(np.random.default_rng(seed).uniform(*KILLED_S))
            given_up_at = time.monotonic() + PATIENCE_S
            while len(acknowledged) < least and time.monotonic() < given_up_at:
                time.sleep(0.01)
            process.kill()
            stopped.set()
            for thread in threads:
                thread.join()
        with self._redis(slow=False), Client(self._stack.target, timeout_s=30) as client:
            return len(acknowledged), [each for each in acknowledged if not self._is_there(client, each)]

    def _submit(self, client: Client, acknowledged: list[str], stopped: threading.Event) -> None:
        while not stopped.is_set():
            number = next(self._numbers)
            try:
                if number % 5:
                    acknowledged.append(client.jobs.submit(_MODEL, [_ITEM]).id)
                else:
                    name = f"voice-{number}"
                    client.add_voice(name, recording(number), consent="given", owner="chaos")
                    acknowledged.append(name)
            except KernelPortError:
                stopped.wait(0.1)

    def _is_there(self, client: Client, name: str) -> bool:
        while True:
            try:
                client.voice(name) if name.startswith("voice-") else client.jobs.get(name)
                return True
            except NotFoundError:
                return False
            except KernelPortError:
                time.sleep(0.1)  # the front door has not found Redis again yet

    @contextmanager
    def _redis(self, slow: bool) -> Iterator["subprocess.Popen[bytes]"]:
        environment = {**os.environ, "LD_PRELOAD": str(self._library)} if slow else dict(os.environ)
        with subprocess.Popen(self._command, env=environment, stdout=subprocess.DEVNULL) as process:
            try:
                with Redis(port=self._port) as redis:
                    while not _answers(redis):
                        time.sleep(0.05)
                yield process
            finally:
                process.kill()


def _answers(redis: Redis) -> bool:
    try:
        return bool(redis.ping())
    except RedisError:
        return False


def recording(seed: int) -> bytes:
    """A second of noise as a WAV file."""
    file = io.BytesIO()
    noise = np.random.default_rng(seed).normal(0, 0.1, 8000)
    soundfile.write(file, noise, 8000, format="WAV")
    return file.getvalue()


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=20)
@click.option("--seed", type=int, default=1)
@click.option("--folder", type=click.Path(path_type=Path), default=Path("out/chaos-disk"))
def main(rounds: int, seed: int, folder: Path) -> None:
    """Kill Redis on a slow disk, ROUNDS times. Exits with 1 when anything that was acknowledged is gone."""
    disk, lost = SlowDisk(folder.absolute()), 0
    with disk.serving():
        for number in range(1, rounds + 1):
            acknowledged, gone = disk.round(seed + number)
            lost += len(gone)
            click.echo(f"round {number}: {acknowledged} acknowledged, {len(gone)} of them gone")
    click.echo(f"{lost} lost in {rounds} rounds")
    sys.exit(bool(lost))


if __name__ == "__main__":
    main()
