"""No caller's answer depends on another's rows; where rows are independent, requests share runs.

A part of what `make check-rows` checks.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.row_independence.architectures import ARCHITECTURES, architecture
from tests.row_independence.cases import Case, stacked_by_hand
from tests.row_independence.check import STACKED_BY_TRIAL
from tests.row_independence.dependent import dependent
from tests.row_independence.serving import Judgement, ServedCases, judge_backend, served
from tests.row_independence.variants import node_tests, variants

DEPENDENT = {case.name: case for case in dependent()}
# Their dependence shows on no small input: what a trial with random ones takes for independent.
SERVED = ("lag_seven", "jump_above_two", "if_any_is_large")
SAMPLE = 16
# Of the sample's known ones; with onnx 1.23, 83 of 84 are.
LEAST_STACKED = 0.95


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The models are small: threads would only wait for each other."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def served_cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedCases]:
    """A whole stack, of which one worker serves three dependent models."""
    with served([DEPENDENT[name] for name in SERVED], tmp_path_factory.mktemp("served")) as serving:
        yield serving


@pytest.mark.parametrize("case", DEPENDENT.values(), ids=DEPENDENT)
def test_a_batch_of_a_model_that_mixes_rows_gives_each_request_its_own_answer(case: Case, tmp_path: Path) -> None:
    judgement = judged(case, tmp_path)
    assert judgement.compared == len(case.requests)
    assert judgement.wrong is None


@pytest.mark.parametrize("case", DEPENDENT.values(), ids=DEPENDENT)
def test_the_requests_to_a_model_that_mixes_rows_show_it(case: Case) -> None:
    finding = stacked_by_hand(case)
    assert finding is not None
    assert finding.startswith("caller")


@pytest.mark.parametrize("name", SERVED)
def test_concurrent_callers_of_a_model_that_mixes_rows_get_their_own_answers(
    name: str, served_cases: ServedCases
) -> None:
    assert served_cases.judge_callers(DEPENDENT[name]) is None


@pytest.mark.parametrize("name", SERVED)
def test_items_of_a_job_for_a_model_that_mixes_rows_get_their_own_answers(name: str, served_cases: ServedCases) -> None:
    case = DEPENDENT[name]
    assert served_cases.judge_job(case, served_cases.submit(case)) is None


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_exported_architecture_is_stacked_where_its_rows_are_independent(name: str, tmp_path: Path) -> None:
    case = architecture(name)
    assert (stacked_by_hand(case) is None) == case.independent
    judgement = judged(case, tmp_path)
    assert judgement.wrong is None
    assert judgement.stacked == case.independent, case.why
    assert (judgement.runs < judgement.compared) == case.independent


@pytest.mark.thorough
def test_onnx_s_own_tests_with_free_rows_answer_in_a_batch_as_alone(tmp_path: Path) -> None:
    cases = [case for test in node_tests(every=SAMPLE) for case in variants(test)]
    judgements = list(judge_backend(cases, tmp_path))
    assert not {each.name: each.wrong for each in judgements if each.wrong}
    stacked = {each.name for each in judgements if each.stacked}
    known = set(STACKED_BY_TRIAL.read_text().split()) & {each.name for each in judgements}
    assert len(stacked & known) >= LEAST_STACKED * len(known) > 0


def judged(case: Case, folder: Path) -> Judgement:
    (judgement,) = judge_backend([case], folder)
    return judgement
