"""Checks that no caller's answer depends on another's rows, on every model here: `make check-rows`.

Each model gets a crowd of requests: through the ONNX backend as one batch, and through a whole stack as concurrent
calls and as a bulk job. Each answer is compared with that of the same request alone on plain ONNX Runtime.
"""

import argparse
import json
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import onnx

from tests.row_independence.architectures import architectures
from tests.row_independence.cases import ROUNDING, Case, stacked_by_hand
from tests.row_independence.dependent import dependent
from tests.row_independence.serving import Judgement, judge_backend, served
from tests.row_independence.variants import node_tests, variants

# Variants that a trial at load stacked, before rows were proven independent, and whose answers were right.
STACKED_BY_TRIAL = Path(__file__).with_name("stacked_by_trial.txt")
LEAST_STILL_STACKED = 5 / 6
WORKER_SERVES = 150
RESULTS = Path("out/row-independence.json")
T = TypeVar("T")


@dataclass(frozen=True)
class Wrong:
    """An answer that is not the one alone."""

    name: str
    way: str
    finding: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("levels", nargs="*", choices=["backend", "stack"], default=["backend", "stack"])
    parser.add_argument("--match", default="", help="only the models with this in their name")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # also for the workers: the models are small

    skipped: Counter[str] = Counter()
    nodes = [case for test in node_tests(skipped) for case in variants(test)]
    every = [*nodes, *dependent(), *architectures()]
    cases = [case for case in every if options.match in case.name]
    print(f"{len(cases)} models. Left out of ONNX's node tests: {_counts(skipped)}.")
    print(f"Floats may be off by these parts of the largest in the answer: {_counts(ROUNDING)}.")

    wrong: list[Wrong] = []
    results: dict[str, object] = {"skipped": skipped}
    if "backend" in options.levels:
        judgements = _by_backend(cases)
        wrong += [Wrong(each.name, "batch", each.wrong) for each in judgements if each.wrong]
        results["backend"] = _told(cases, judgements)
    if "stack" in options.levels:
        wrong += _by_stack(cases)
    results["wrong"] = [asdict(each) for each in wrong]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1))
    for each in wrong:
        print(f"WRONG {each.name} as {each.way}: {each.finding}")
    print(f"{len(wrong)} wrong of {sum(len(case.requests) for case in cases)} requests a way. {RESULTS} has it all.")
    sys.exit(bool(wrong))


def _by_backend(cases: Sequence[Case]) -> list[Judgement]:
    with tempfile.TemporaryDirectory() as folder:
        return list(_with_progress(judge_backend(cases, Path(folder)), len(cases), "backend"))


def _by_stack(cases: Sequence[Case]) -> Iterator[Wrong]:
    """One stack, with one worker, after the other."""
    chunks = [cases[start : start + WORKER_SERVES] for start in range(0, len(cases), WORKER_SERVES)]
    for chunk in _with_progress(chunks, len(chunks), "stack"):
        with tempfile.TemporaryDirectory() as folder, served(chunk, Path(folder)) as serving:
            for case in chunk:
                if finding := serving.judge_callers(case):
                    yield Wrong(case.name, "calls", finding)
            for case, job_id in [(case, serving.submit(case)) for case in chunk]:
                if finding := serving.judge_job(case, job_id):
                    yield Wrong(case.name, "a job", finding)


def _told(cases: Sequence[Case], judgements: Sequence[Judgement]) -> list[dict[str, object]]:
    """Prints what is stacked, and what is not and why. Returns each judgement with what else is known of its case."""
    apart = [stacked_by_hand(case) is None for case in cases]
    verdicts = [_verdict(case.model) for case in cases]
    stacked = {each.name for each in judgements if each.stacked}
    shared = sum(each.stacked and each.runs < each.compared for each in judgements)
    known = set(STACKED_BY_TRIAL.read_text().split()) & {case.name for case in cases}
    print(f"{sum(each.compared for each in judgements)} answers compared in batches.")
    print(f"{len(stacked)} models stacked, {shared} of them shared a run.")
    print(f"{len(known & stacked)} of {len(known)} known ones are still stacked; {LEAST_STILL_STACKED:.0%} must be.")
    unmixed = [each.name for each, is_apart in zip(judgements, apart, strict=True) if is_apart]
    print(f"{len(stacked.intersection(unmixed))} of {len(unmixed)} whose rows stay apart on these inputs are stacked.")
    others = Counter(verdict for each, verdict in zip(judgements, verdicts, strict=True) if not each.stacked)
    print("Not stacked, by verdict and reason (without the names of nodes):")
    for (verdict, reason), count in sorted(_without_names(others).items(), key=lambda each: -each[1]):
        print(f"  {count:5} {verdict}: {reason}")
    return [
        {**asdict(each), "rows_stay_apart": is_apart, "verdict": verdict, "reason": reason}
        for each, is_apart, (verdict, reason) in zip(judgements, apart, verdicts, strict=True)
    ]


def _verdict(model: onnx.ModelProto) -> tuple[str, str]:
    """What the proof says of a model, and why."""
    try:
        from kernelport_workers.row_proof import prove
    except ImportError:
        return "not tried", ""
    proof = prove(model)
    return proof.verdict.name.lower(), proof.reason


def _without_names(verdicts: Mapping[tuple[str, str], int]) -> Counter[tuple[str, str]]:
    counts: Counter[tuple[str, str]] = Counter()
    for (verdict, reason), count in verdicts.items():
        counts[verdict, re.sub("'[^']*'", "'...'", reason)] += count
    return counts


def _with_progress(each: Iterable[T], total: int, what: str) -> Iterator[T]:
    """The same; tells ten times on the way how far it is."""
    for number, item in enumerate(each, start=1):
        yield item
        if number * 10 // total > (number - 1) * 10 // total:
            print(f"{what}: {number} of {total}", file=sys.stderr, flush=True)


def _counts(counts: Mapping[str, float]) -> str:
    return ", ".join(f"{name}: {count:g}" for name, count in counts.items()) or "none"


if __name__ == "__main__":
    main()
