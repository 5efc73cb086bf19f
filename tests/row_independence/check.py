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

from kernelport_workers.row_proof import prove
from tests.row_independence.architectures import ARCHITECTURES, architecture
from tests.row_independence.cases import LEAST, ROUNDING, Case, stacked_by_hand
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
    parser.add_argument("level", nargs="?", choices=["backend", "stack"], help="only this one")
    parser.add_argument("--match", default="", help="only the models with this in their name")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # also for the workers: the models are small

    skipped: Counter[str] = Counter()
    nodes = [case for test in node_tests(skipped) for case in variants(test)]
    every = [*nodes, *dependent(), *map(architecture, ARCHITECTURES)]
    cases = [case for case in every if options.match in case.name]
    print(f"{len(cases)} models. Left out of ONNX's node tests: {_counts(skipped)}.")
    print(f"Floats may be off by these parts of the largest in the answer, or of {LEAST}: {_counts(ROUNDING)}.")

    results: dict[str, object] = {"skipped": skipped}
    wrong: list[Wrong] = []
    enough = True
    if options.level != "stack":
        judgements = _by_backend(cases)
        wrong += [Wrong(each.name, "a batch", each.wrong) for each in judgements if each.wrong]
        enough = _tell_known(judgements)
        results["backend"] = _tell_stacked(cases, judgements)
    if options.level != "backend":
        wrong += _by_stack(cases)
    results["wrong"] = [asdict(each) for each in wrong]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1))
    for each in wrong:
        print(f"WRONG {each.name} by {each.way}: {each.finding}")
    print(f"{len(wrong)} models and ways are wrong. {RESULTS} has it all.")
    sys.exit(bool(wrong) or not enough)


def _by_backend(cases: Sequence[Case]) -> list[Judgement]:
    with tempfile.TemporaryDirectory() as folder:
        judgements = list(_with_progress(judge_backend(cases, Path(folder)), len(cases), "backend"))
    print(f"{sum(each.compared for each in judgements)} answers compared in batches.")
    return judgements


def _by_stack(cases: Sequence[Case]) -> list[Wrong]:
    """One stack, with one worker, after the other."""
    wrong: list[Wrong] = []
    chunks = [cases[start : start + WORKER_SERVES] for start in range(0, len(cases), WORKER_SERVES)]
    for chunk in _with_progress(chunks, len(chunks), "stack"):
        with tempfile.TemporaryDirectory() as folder, served(chunk, Path(folder)) as serving:
            called = [(case, "calls", serving.judge_callers(case)) for case in chunk]
            jobs = [(case, serving.submit(case)) for case in chunk]
            done = [(case, "a job", serving.judge_job(case, job_id)) for case, job_id in jobs]
        wrong += [Wrong(case.name, way, finding) for case, way, finding in [*called, *done] if finding]
    compared = sum(len(case.requests) for case in cases)
    print(f"{compared} answers compared in concurrent calls, and as many in jobs.")
    return wrong


def _tell_known(judgements: Sequence[Judgement]) -> bool:
    """Prints how many of the known variants are stacked, and which are not; True when they are enough."""
    stacked = {each.name for each in judgements if each.stacked}
    known = set(STACKED_BY_TRIAL.read_text().split()) & {each.name for each in judgements}
    print(f"{len(known & stacked)} of {len(known)} known ones are still stacked; {LEAST_STILL_STACKED:.0%} must be.")
    print("Not any more:", ", ".join(sorted(known - stacked)) or "none")
    return len(known & stacked) >= LEAST_STILL_STACKED * len(known)


def _tell_stacked(cases: Sequence[Case], judgements: Sequence[Judgement]) -> list[dict[str, object]]:
    """Prints what is stacked, and what is not and why. Returns each judgement with what else is known of its case."""
    known = [
        {**asdict(each), "rows_stay_apart": stacked_by_hand(case) is None, **_verdict(case.model)}
        for case, each in zip(cases, judgements, strict=True)
    ]
    stacked = [each for each in known if each["stacked"]]
    shared = sum(each.stacked and each.runs < each.compared for each in judgements)
    print(f"{len(stacked)} models stacked, {shared} of them shared a run.")
    apart = sum(bool(each["rows_stay_apart"]) for each in stacked), sum(bool(each["rows_stay_apart"]) for each in known)
    print(f"{apart[0]} of {apart[1]} whose rows stay apart on these inputs are stacked.")
    others = Counter((each["verdict"], _without_names(str(each["reason"]))) for each in known if not each["stacked"])
    print("Not stacked, by verdict and reason:")
    for (verdict, reason), count in others.most_common():
        print(f"  {count:5} {verdict}: {reason}")
    return known


def _verdict(model: onnx.ModelProto) -> dict[str, str]:
    """What the proof says of a model, and why."""
    proof = prove(model)
    return {"verdict": proof.verdict.name.lower(), "reason": proof.reason}


def _without_names(reason: str) -> str:
    """A reason without the names of nodes, so that equal ones count together."""
    return re.sub("'[^']*'", "'...'", reason)


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
