"""`python -m kernelport_ops.bench.gpu`: every step in turn, with figures on disk after each."""

import importlib.util
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from kernelport_ops.bench.gpu.report import markdown, plot
from kernelport_ops.bench.gpu.steps import STEPS, run_step
from kernelport_ops.bench.processes import BenchError
from kernelport_ops.bench.report import write_json
from kernelport_ops.bench.terminal import new_console, one_of, separated

_NEEDED = ("machine", "checkpoints")


@click.command(help="Measures LuxTTS and the Helion kernels on a GPU: correctness, speed, memory, power, a profile.")
@click.option("--dry", is_flag=True, help="On the CPU at tiny size: whether every step works. Figures mean nothing.")
@click.option("--steps", default=",".join(STEPS), show_default=True, callback=separated(one_of(list(STEPS))))
@click.option("--minutes", default=9.0, show_default=True, help="Of all steps together.")
@click.option("--out", default=Path("out/bench-gpu"), show_default=True, type=click.Path(path_type=Path))
@click.option(
    "--work",
    default=Path("out/bench-gpu/work"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="For checkpoints (0.5 GB), logs, and what each step has recorded so far.",
)
def main(dry: bool, steps: list[str], minutes: float, out: Path, work: Path) -> None:
    """The command."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if importlib.util.find_spec("torch") is None:
        raise click.ClickException("torch is not installed: pip install 'kernelport[helion,luxtts]'")
    console = new_console()
    document: dict[str, Any] = {"dry": dry, "complete": False, "steps": {}}
    chosen = list(dict.fromkeys([*_NEEDED, *steps]))
    deadline = time.monotonic() + 60 * minutes
    try:
        for name in chosen:
            left = deadline - time.monotonic()
            if left <= 0:
                console.print(f"{name}: not begun, the time is over")
                continue
            result = run_step(name, work, min(STEPS[name].limit_s, left), dry=dry)
            document["steps"][name] = result
            _write(document, out)
            console.print(f"{name}: {len(result['records'])} records in {result['seconds']:.1f} s", markup=False)
            for fault in faults(result):
                console.print(f"  {fault}", style="red", markup=False)
            if name in _NEEDED and "failure" in result:
                break
        document["complete"] = len(document["steps"]) == len(chosen)
    except KeyboardInterrupt:
        console.print("interrupted")
    _write(document, out)
    console.print(f"figures: {out / 'gpu.json'}, {out / 'gpu.md'}")
    try:
        plot(document, out / "gpu.png")
    except BenchError as error:
        console.print(str(error), markup=False)
    wrong = any(faults(result) for result in document["steps"].values())
    sys.exit(0 if document["complete"] and not wrong else 1)


def faults(result: Mapping[str, Any]) -> list[str]:
    """What did not work in a step, and what came out wrong."""
    found = [each["failure"] for each in [*result["records"], result] if "failure" in each]
    return found + [f"wrong: {record}" for record in result["records"] if record.get("ok") is False]


def _write(document: dict[str, Any], out: Path) -> None:
    write_json(out / "gpu.json", document)
    (out / "gpu.md").write_text(markdown(document))


if __name__ == "__main__":
    main()
