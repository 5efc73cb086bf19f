"""`python -m tests.fuzz`: for some minutes, random input for everything that reads what others wrote.

It shows that nothing ends a process, fails in a way that was not foreseen, or lets another caller down. What it finds
it prints, with the command that finds it again.
"""

import itertools
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings

from tests.fuzz.bodies import batch_files, bodies
from tests.fuzz.credentials import credentials
from tests.fuzz.forgeries import forgeries
from tests.fuzz.methods import methods
from tests.fuzz.readers import readers
from tests.fuzz.routes import routes
from tests.fuzz.target import FindingError, Target
from tests.fuzz.world import serving_world

_SHOWN = 6000


@click.command(help=(__doc__ or "").partition("\n\n")[2])
@click.option("--minutes", default=10.0, show_default=True, type=click.FloatRange(min=0, min_open=True))
@click.option("--seed", "first", default=1, show_default=True, help="Of the first round; each has the next number.")
@click.option("--only", default="", help="Targets whose names contain this.")
def main(minutes: float, first: int, only: str) -> None:
    """The command."""
    ends_at = time.monotonic() + 60 * minutes
    found, examples = 0, 0
    with (
        tempfile.TemporaryDirectory(prefix="kernelport-fuzz-") as folder,
        serving_world(Path(folder) / "world") as world,
    ):
        known = [*readers(Path(folder)), *credentials(Path(folder)), batch_files(Path(folder)), *bodies(world)]
        rounds = (
            (number, target)
            for number in itertools.count(first)
            for target in [*known, *methods(world, number), *routes(world, number), *forgeries(world, number)]
            if only in target.name
        )
        for number, target in _until(ends_at, rounds):
            counted, finding = _round(target, number, ends_at)
            examples += counted
            if finding:
                found += 1
                with suppress(FindingError):  # what else it left is not the next one's doing
                    world.check()
                print(f"\n{target.name}: {finding}")
                print(f"again: python -m tests.fuzz --only {target.name} --seed {number}", flush=True)
        print(f"{examples} examples, {world.answered} calls of another caller answered right, {found} findings")
    sys.exit(found > 0)


def _until(ends_at: float, rounds: Iterator[tuple[int, Target]]) -> Iterator[tuple[int, Target]]:
    return itertools.takewhile(lambda _: time.monotonic() < ends_at, rounds)


def _round(target: Target, number: int, ends_at: float) -> tuple[int, str]:
    """Gives a target its examples, until the time is over; how many those were, and what was found, if anything."""
    counted, found = 0, ""

    @seed(number)
    @settings(
        max_examples=target.most,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink] if target.shrinks else [Phase.generate],
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )
    @given(target.examples)
    def check(example: object) -> None:
        nonlocal counted, found
        if time.monotonic() > ends_at or (found and not target.shrinks):
            return
        counted += 1
        try:
            target.check(example)
        except Exception as error:
            found = f"{''.join(traceback.format_exception(error, limit=-4))[-_SHOWN:]}given {example!r}"
            raise

    try:
        check()
    except Exception as error:  # it is what was found, or the example could not be made
        found = found or "".join(traceback.format_exception(error))
    return counted, found


if __name__ == "__main__":
    main()
