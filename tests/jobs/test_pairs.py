"""Two verbs at the same moment: some runs of those that `make chaos-jobs` goes through."""

from pathlib import Path

from tests.jobs.pairs import pairs, runs

RUNS = 15
SEED = 11


def test_whichever_of_two_verbs_comes_first_what_is_left_agrees(tmp_path: Path) -> None:
    with pairs(tmp_path) as done:
        problems = {run: found for run in runs(RUNS, SEED) if (found := done.do(run))}
    assert problems == {}
