"""`kernelport voices`: recordings that requests name instead of carrying them."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from kernelport.cli import options, tables
from kernelport.cli.mistakes import of_each
from kernelport.client import Client
from kernelport.counting import counted
from kernelport.errors import NotFoundError
from kernelport.shapes import plain
from kernelport.v1.voice_pb2 import Voice


@click.group()
def voices() -> None:
    """Register, look at and delete voices for voice cloning."""


@voices.command()
@click.argument("name")
@click.argument("recording", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--consent", required=True, help="How and when the speaker agreed that the voice is cloned.")
@click.option("--owner", required=True, help="Who answers for the voice.")
@click.option("--transcript", default="", help="What the recording says; workers transcribe it when absent.")
@options.target
def add(name: str, recording: Path, consent: str, owner: str, transcript: str, target: str) -> None:
    """Register RECORDING, a WAV, FLAC, OGG or MP3 file of up to 60 seconds, as the voice NAME."""
    with Client(target) as client:
        voice = client.add_voice(name, recording.read_bytes(), consent=consent, owner=owner, transcript=transcript)
    click.echo(f"{voice.name}: {voice.seconds:.1f} s of {voice.format} at {voice.sample_rate} Hz")


@voices.command("list")
@options.as_json
@options.target
def list_voices(as_json: bool, target: str) -> None:
    """Every voice, by name."""
    with Client(target) as client:
        found = client.voices()
    if as_json:
        options.echo_json(map(plain, found))
        return
    columns = ["name", "seconds", "owner", "since", "transcript"]
    rows = [
        (voice.name, f"{voice.seconds:.1f}", voice.owner, _since(voice), voice.transcript or _heard(voice) or "-")
        for voice in found
    ]
    tables.show(columns, rows, "there are no voices; `kernelport voices add` makes one")


@voices.command()
@click.argument("name")
@options.as_json
@options.target
def show(name: str, as_json: bool, target: str) -> None:
    """All that is known of the voice NAME."""
    with Client(target) as client:
        voice = client.voice(name)
    if as_json:
        options.echo_json([plain(voice)])
        return
    for label, value in (
        ("name", voice.name),
        ("transcript", voice.transcript or _heard(voice) or "none: workers transcribe the recording"),
        ("consent", voice.consent),
        ("owner", voice.owner),
        (
            "recording",
            f"{voice.seconds:.2f} s, {voice.format}, {voice.sample_rate} Hz, {counted(voice.channels, 'channel')}",
        ),
        ("bytes", voice.bytes),
        ("sha256", voice.sha256),
        ("since", _since(voice)),
    ):
        click.echo(f"{label:<11} {value}")


@voices.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@options.target
def delete(names: tuple[str, ...], target: str) -> None:
    """Delete voices and their recordings."""
    with Client(target) as client:

        def delete_one(name: str) -> None:
            if not client.delete_voice(name):
                raise NotFoundError(f"no voice is named {name[:64]!r}; `kernelport voices list` shows those there are")

        deleted, code = of_each(names, delete_one)
    click.echo(f"{len(deleted)} deleted")
    sys.exit(code)


def _heard(voice: Voice) -> str:
    return f"{voice.heard} (as heard)" if voice.heard else ""


def _since(voice: Voice) -> str:
    return datetime.fromtimestamp(voice.created_unix_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")
