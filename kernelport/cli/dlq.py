"""`kernelport dlq`: requests that outlived every worker that tried them."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from kernelport.cli import options, tables
from kernelport.cli.mistakes import of_each
from kernelport.client import Client
from kernelport.counting import counted
from kernelport.errors import NotFoundError
from kernelport.shapes import letter_dict
from kernelport.tensors import dtype_name
from kernelport.v1.inference_pb2 import InferRequest


@click.group()
def dlq() -> None:
    """Look at dead letters, run them again, or throw them away."""


@dlq.command("list")
@click.argument("deployment")
@options.as_json
@options.target
def list_letters(deployment: str, as_json: bool, target: str) -> None:
    """The dead letters of DEPLOYMENT, oldest first."""
    with Client(target) as client:
        letters = client.dead_letters(deployment)
    if as_json:
        options.echo_json(map(letter_dict, letters))
        return
    columns = ["id", "since", "attempts", "bytes", "reason"]
    rows = [
        (letter.id, _time(letter.unix_us), str(len(letter.attempts)), str(letter.request_bytes), letter.reason)
        for letter in letters
    ]
    tables.show(columns, rows, f"{deployment} has no dead letters")


@dlq.command()
@click.argument("deployment")
@click.argument("letter_id", metavar="ID")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Write the serialized InferRequest to this file.")
@options.target
def show(deployment: str, letter_id: str, out: Path | None, target: str) -> None:
    """One dead letter of DEPLOYMENT: its reason, its history, its inputs."""
    with Client(target) as client:
        letter = client.dead_letter(deployment, letter_id)
    click.echo(f"{letter.id}: {letter.reason}")
    for attempt in letter.attempts:
        click.echo(f"  taken      {_time(attempt.unix_us)} by {attempt.worker}")
    click.echo(f"  given up   {_time(letter.unix_us)}")
    for tensor in InferRequest.FromString(letter.request).inputs:
        kind = f"{dtype_name(tensor.dtype)}{list(tensor.shape)}"
        click.echo(f"  input      {tensor.name}: {kind}, {counted(len(tensor.data), 'byte')}")
    if out is not None:
        out.write_bytes(letter.request)


@dlq.command()
@click.argument("deployment")
@click.argument("letter_ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every dead letter of the deployment.")
@options.target
def replay(deployment: str, letter_ids: tuple[str, ...], everything: bool, target: str) -> None:
    """Run dead letters of DEPLOYMENT again, one after the other; those that succeed are removed."""
    with Client(target) as client:

        def replay_one(letter_id: str) -> None:
            client.replay_dead_letter(deployment, letter_id)
            click.echo(f"{letter_id}: succeeded")

        chosen = _chosen(client, deployment, letter_ids, everything)
        _, code = of_each(chosen, replay_one)
    sys.exit(code)


@dlq.command()
@click.argument("deployment")
@click.argument("letter_ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every dead letter of the deployment.")
@options.target
def purge(deployment: str, letter_ids: tuple[str, ...], everything: bool, target: str) -> None:
    """Throw dead letters of DEPLOYMENT away."""
    with Client(target) as client:

        def purge_one(letter_id: str) -> None:
            if not client.purge_dead_letter(deployment, letter_id):
                raise NotFoundError(f"{deployment} has no such dead letter")

        chosen = _chosen(client, deployment, letter_ids, everything)
        removed, code = of_each(chosen, purge_one)
    click.echo(f"{len(removed)} removed")
    sys.exit(code)


def _chosen(client: Client, deployment: str, letter_ids: tuple[str, ...], everything: bool) -> list[str]:
    if bool(letter_ids) == everything:
        raise click.UsageError("expected ids of dead letters, or --all")
    return list(letter_ids) or [letter.id for letter in client.dead_letters(deployment)]


def _time(unix_us: int) -> str:
    return datetime.fromtimestamp(unix_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")
