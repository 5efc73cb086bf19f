"""`python -m tests.ops.autoscaler_process`: the autoscaler of rented machines as a process, in faster time."""

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import click
from redis import Redis
from redis.exceptions import RedisError

from kernelport.broker import keys
from kernelport.config.deployments import load_autoscale, load_deployments
from kernelport.config.settings import Settings
from kernelport_ops.autoscale.controller import Controller
from kernelport_ops.autoscale.demand import DemandReader
from kernelport_ops.autoscale.lock import TTL_S, FencedError, Lock
from kernelport_ops.autoscale.providers.lambda_cloud.client import Client
from kernelport_ops.autoscale.providers.lambda_cloud.pacer import Pacer
from kernelport_ops.autoscale.providers.lambda_cloud.provider import LambdaProvider
from kernelport_ops.autoscale.providers.lambda_cloud.secrets import LambdaSecrets
from kernelport_ops.autoscale.providers.provider import ProviderError
from tests.ops.fake_lambda.clocks import ScaledClock
from tests.ops.fake_lambda.cloud import KEY

log = logging.getLogger("autoscaler")
INTERVAL_S = 5.0


class Autoscaler:
    """Starts the process, kills it, and starts it again.

    Attributes:
        url: of the cloud.
        kills: how often it was killed.
    """

    def __init__(self, settings: Settings, clock: ScaledClock, log_file: Path) -> None:
        self._environment = {**os.environ, **settings.to_environment()}
        self._clock = clock
        self._log_file = log_file
        self._process: subprocess.Popen[bytes] | None = None
        self._dead_since = 0.0
        self.url = ""
        self.kills = 0

    def keep(self, redis: Redis) -> None:
        """Starts it when it does not run; after a kill only once its lock would have run out.

        Raises:
            RuntimeError: when it ended by itself.
        """
        if self._process is not None:
            if self._process.poll() is not None:
                raise RuntimeError(f"the autoscaler ended by itself: {self.told()}")
        elif self._clock.time() - self._dead_since > TTL_S:
            redis.delete(keys.autoscale_lock("main"))  # Redis does so by itself, in real time
            clock = ["--scale", str(self._clock.scale), "--start", *map(str, self._clock.start)]
            command = [sys.executable, "-m", "tests.ops.autoscaler_process", self.url, *clock]
            with self._log_file.open("ab") as file:
                self._process = subprocess.Popen(command, env=self._environment, stdout=file, stderr=file)

    def kill(self) -> bool:
        """Without a warning; False when it is dead already."""
        process, self._process = self._process, None
        if process is None:
            return False
        process.kill()
        process.wait()
        self.kills += 1
        self._dead_since = self._clock.time()
        return True

    def told(self) -> str:
        """The end of its log."""
        return self._log_file.read_text()[-3000:] if self._log_file.exists() else "nothing"


@click.command()
@click.argument("url")
@click.option("--scale", type=float, required=True, help="How many times as fast time passes.")
@click.option("--start", type=(float, float), required=True, help="Where the cloud's clock began.")
def main(url: str, scale: float, start: tuple[float, float]) -> None:
    """Looks after the deployments of the settings with machines of the cloud at URL, until it is killed."""
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")
    clock = ScaledClock(scale, start)
    settings = Settings.from_environment()
    deployments, autoscale = load_deployments(settings.deployments_file), load_autoscale(settings.deployments_file)
    assert autoscale.lambda_cloud is not None
    with Redis.from_url(settings.redis_url) as redis:
        client = Client(KEY, url, Pacer(clock), timeout_s=20)
        secrets = LambdaSecrets(redis_url=settings.redis_url)
        provider = LambdaProvider(
            client, autoscale.lambda_cloud, autoscale.fleet, deployments, redis, secrets, clock.monotonic
        )
        lock, stop_s = Lock(redis, autoscale.fleet), scale * settings.stop_s
        controller = Controller(redis, deployments, autoscale, provider, DemandReader(redis), lock, stop_s, clock.time)
        while True:
            try:
                for plan in controller.run_once() or []:
                    log.info("%s %s %s", plan.seen, plan.decision, plan.actions)
            except (ProviderError, RedisError, FencedError) as error:
                log.warning("nothing done this time: %s", error)
            time.sleep(INTERVAL_S / scale)


if __name__ == "__main__":
    main()
