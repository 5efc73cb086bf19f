"""`kernelport jobs`: many items through one deployment, each with its result exactly once."""

import click

from kernelport.cli.jobs.control import cancel, delete, prune, resume, seal
from kernelport.cli.jobs.export import export
from kernelport.cli.jobs.fetch import fetch
from kernelport.cli.jobs.listing import items, list_jobs, show
from kernelport.cli.jobs.submit import submit
from kernelport.cli.jobs.watch import watch


@click.group()
def jobs() -> None:
    """Submit bulk jobs, look at them, and fetch what comes out.

    A job goes on whoever watches it, and survives the death of any process.

    \b
    Exit codes of submit --watch, watch and resume --watch:
      0    every item succeeded
      1    some items failed, or the command could not be done
      2    a mistake in the command line or in the file
      3    the job was cancelled
      4    the job's deadline passed
      130  Ctrl-C: the job goes on
    """


for _command in (submit, list_jobs, show, watch, items, cancel, fetch, export, seal, resume, delete, prune):
    jobs.add_command(_command)
