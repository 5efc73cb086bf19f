"""`python -m kernelport_ops.bench.pair`: this tree and an earlier commit, or itself without some settings, under the
same loads, in turn.

Exits with 0 when every load is no slower, 1 when one is slower, 2 when the benchmark failed, 3 when one load is
undecided and none slower.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from kernelport_ops.bench.generator import Generator
from kernelport_ops.bench.machine import describe_machine
from kernelport_ops.bench.pair.checkouts import base_checkout, this_checkout, this_repository
from kernelport_ops.bench.pair.loads import LOADS, Load
from kernelport_ops.bench.pair.report import document, line, table
from kernelport_ops.bench.pair.rounds import (
    BASE,
    NEW,
    Comparison,
    Measurement,
    Round,
    Verdict,
    compare,
    take_turns,
)
from kernelport_ops.bench.pair.stacks import Standing, both_standing
from kernelport_ops.bench.processes import BenchError
from kernelport_ops.bench.report import write_json
from kernelport_ops.bench.terminal import (
    NO_TERMINAL_WIDTH,
    new_console,
    one_of,
    prepare_process,
    progress_bar,
    separated,
)

# It is a secret.
FIRST_KEY = "KERNELPORT_FIRST_KEY="

SLOWER, FAILED, UNDECIDED, INTERRUPTED = 1, 2, 3, 130


def carry_out(
    loads: Sequence[str], number: int, stacks: Mapping[str, Standing], seconds: float, notify: Callable[[str], None]
) -> Iterator[tuple[str, Round]]:
    """A round of each load, by its name; each after a turn of both sides that is not counted.

    Args:
        number: of the round.
        notify: told what happens now, in a line.
    """
    with Generator() as generator:
        for name in loads:

            def measure(side: str, load: Load = LOADS[name]) -> Measurement:
                return load.run(stacks[side], generator, seconds)

            notify(f"round {number + 1}: {name}")
            for side in stacks:
                measure(side)
            yield name, take_turns(measure, LOADS[name].turns, number)


@click.command(help="Says whether this tree takes more CPU time a request than an earlier commit, or by a setting.")
@click.option("--base", default="", metavar="COMMIT", help="What to compare with: a commit, branch or tag.")
@click.option(
    "--with",
    "variables",
    multiple=True,
    metavar="NAME=VALUE",
    help="A variable that this tree's stack is given; without --base it is compared with this tree without it. Of "
    "KERNELPORT_FIRST_KEY: callers of both show the key that KERNELPORT_API_KEY names.",
)
@click.option(
    "--quota",
    "quotas",
    multiple=True,
    type=(str, float),
    metavar="NAME LIMIT",
    help="A quota of this tree's callers, all together, such as calls_a_second 1e6: so high that it refuses nothing.",
)
@click.option("--loads", default=",".join(LOADS), show_default=True, callback=separated(one_of(list(LOADS))))
@click.option("--minutes", default=40.0, show_default=True, help="Of all loads: then what is open stays undecided.")
@click.option("--seconds", default=1.0, show_default=True, help="Of a side's turn in a load of calls.")
@click.option("--out", default=Path("out/bench-pair"), show_default=True, type=click.Path(path_type=Path))
def main(
    base: str,
    variables: tuple[str, ...],
    quotas: tuple[tuple[str, float], ...],
    loads: list[str],
    minutes: float,
    seconds: float,
    out: Path,
) -> None:
    """The command."""
    if not (base or variables or quotas):
        raise click.UsageError("expected --base, or --with or --quota for a comparison of this tree with itself")
    prepare_process()
    console = new_console()
    found: dict[str, Any] = {"machine": describe_machine(), "complete": False}
    comparisons: dict[str, Comparison] = {}
    code = 0
    with progress_bar(console) as progress:
        task = progress.add_task("", total=len(loads))

        def notify(text: str) -> None:
            decided = sum(comparison.is_decided for comparison in comparisons.values())
            progress.update(task, description=text, completed=decided)

        def note(name: str, comparison: Comparison) -> None:
            comparisons[name] = comparison
            if comparison.is_decided:
                console.print(line(name, comparison))

        try:
            if base:
                notify(f"installing {base}")
            other = base_checkout(this_repository(), base, out) if base else this_checkout(BASE)
            checkouts = [other, this_checkout(NEW, variables, dict(quotas))]
            for checkout in checkouts:
                checkout.check_imports()
            found["commits"] = {checkout.side: checkout.commit for checkout in checkouts}
            found["with"] = [each for each in variables if not each.startswith(FIRST_KEY)]
            found["quotas"] = dict(quotas)

            def start(open_loads: Sequence[str], number: int) -> Iterator[tuple[str, Round]]:
                notify(f"round {number + 1}: starting both stacks")
                deployments = list(dict.fromkeys(LOADS[name].deployment for name in open_loads))
                with both_standing(checkouts, deployments, out / "run") as stacks:
                    yield from carry_out(open_loads, number, stacks, seconds, notify)

            compare(start, loads, 60 * minutes, note)
            found["complete"] = True
            progress.update(task, description="done", completed=len(loads))
        except KeyboardInterrupt:
            console.print("interrupted")
            code = INTERRUPTED
        except BenchError as error:
            console.print(str(error), style="red", markup=False)
            code = FAILED
    if not comparisons:
        console.print("nothing was measured")
        sys.exit(code)
    found["loads"] = {name: document(comparison) for name, comparison in comparisons.items()}
    write_json(out / "pair.json", found)
    shown = table(comparisons)
    console.print(shown)
    with (out / "pair.txt").open("w") as text:
        Console(file=text, width=NO_TERMINAL_WIDTH).print(shown)
    console.print(f"figures: {out / 'pair.json'}, {out / 'pair.txt'}")
    verdicts = {comparison.verdict for comparison in comparisons.values()}
    if Verdict.SLOWER in verdicts:
        sys.exit(SLOWER)
    sys.exit(code or (UNDECIDED if Verdict.UNDECIDED in verdicts else 0))


if __name__ == "__main__":
    main()
