"""`kernelport front-door`: a front door by itself."""

import os
from pathlib import Path

import click

from kernelport.cli import options
from kernelport.cli.process_command import ProcessCommand, become
from kernelport.config import described
from kernelport.config.settings import DEFAULT_REDIS_URL
from kernelport.supervisor.processes import module_command


@click.command("front-door", cls=ProcessCommand, settings=described.FRONT_DOOR)
@options.listen
@click.option(
    "--http-listen",
    type=options.ADDRESS,
    default="",
    help="host:port it listens on for HTTP, too; port 0 takes a free one. None by default.",
)
@options.studio
@options.tls
@options.keys
@click.option("--redis-url", type=options.REDIS_URL, default=DEFAULT_REDIS_URL, help="The Redis that holds the queues.")
@options.deployments_file
@click.option("--metrics-listen", type=options.ADDRESS, default="", help="host:port of its Prometheus endpoint.")
def front_door(
    listen: str,
    http_listen: str,
    studio: bool,
    tls_cert: str,
    tls_key: str,
    tls_client_ca: str,
    insecure: bool,
    first_key_file: str,
    redis_url: str,
    deployments_file: Path | None,
    metrics_listen: str,
) -> None:
    """Run a front door by itself, in the foreground: it takes calls, queues them for workers and answers.

    It needs a Redis, and workers on the same Redis (`kernelport worker`). SIGTERM ends it once calls in flight are
    answered; at SIGHUP it reads its deployments file again.
    """
    told = {
        "listen": listen,
        "http_listen": http_listen,
        "studio": "on" if studio else "off",
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "tls_client_ca": tls_client_ca,
        "insecure": "1" if insecure else "",
        "first_key_file": first_key_file,
        "redis_url": redis_url,
        "metrics_listen": metrics_listen,
        "deployments_file": str(deployments_file.absolute()) if deployments_file else "",
    }
    command = module_command("kernelport_api")
    given = {described.variable(name): value for name, value in told.items() if value}
    become(command, {**os.environ, **given})
