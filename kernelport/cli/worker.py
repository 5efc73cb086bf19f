"""`kernelport worker`: one worker process."""

import os
import sys
from pathlib import Path

import click

from kernelport.cli import options
from kernelport.cli.process_command import ProcessCommand, become
from kernelport.config import described
from kernelport.config.deployments import deployment_names
from kernelport.config.settings import PREFIX, Settings
from kernelport.supervisor.joining import run_beside
from kernelport.supervisor.running_file import joined_environment
from kernelport.supervisor.worker_command import worker_command

# Beyond what a worker takes for itself to stop.
STOP_MARGIN_S = 5.0


@click.command(cls=ProcessCommand, settings=described.WORKER, context_settings={"ignore_unknown_options": True})
@click.argument("deployments", nargs=-1, required=True)
@click.option("--celery", "extra", multiple=True, metavar="ARGUMENT", help="A further argument for `celery worker`.")
@options.state_dir
@options.redis_url
@options.deployments_file
@options.custom_ops
@options.roll
def worker(
    deployments: tuple[str, ...],
    extra: tuple[str, ...],
    state_dir: Path,
    redis_url: str | None,
    deployments_file: Path | None,
    custom_ops: bool,
    roll: bool,
) -> None:
    """Run a worker pinned to the queues of DEPLOYMENTS, in the foreground.

    It joins the stack that `kernelport up` runs on the state directory, ends with it, and comes back when it is started
    again; unless another Redis is named. It is `celery -A kernelport_workers.app worker -Q kp.NAME -P threads -c 1`
    with the right settings.
    """
    if deployments_file is not None:
        os.environ[f"{PREFIX}DEPLOYMENTS_FILE"] = str(deployments_file.absolute())
    if custom_ops:
        os.environ[f"{PREFIX}CUSTOM_OPS"] = "1"
    os.environ[f"{PREFIX}ROLL"] = str(roll)
    environment = joined_environment(state_dir, redis_url)
    settings = Settings.from_environment(environment)
    known = deployment_names(settings.deployments_file)
    for name in deployments:
        if name not in known:
            raise click.BadParameter(
                f"no deployment is named {name!r}; there are: {', '.join(sorted(known))} "
                f"(in {settings.deployments_file})"
            )
    command = worker_command(deployments, extra)
    if redis_url is not None:
        become(command, {**environment, f"{PREFIX}STATE_DIR": str(state_dir)})
    sys.exit(run_beside(command, state_dir, None, settings.stop_s + STOP_MARGIN_S, options.note))
