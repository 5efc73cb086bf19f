"""Nothing is proven of models that mix rows."""

import numpy as np
import onnx
import pytest

from kernelport_workers.row_proof import Verdict, prove
from tests.row_proof.mixed import MIXED, NOT_TOLD, OPSETS
from tests.row_proof.stacking import Runner, axes_of_rows, model_of, requests_for, same_as_alone, stacked

ROW_COUNTS = (4, 8, 1)


@pytest.mark.parametrize("name", MIXED)
def test_a_model_that_mixes_rows_is_not_proven(name: str) -> None:
    model = model_of(MIXED[name], OPSETS.get(name))
    proof = prove(model)
    assert proof.verdict is (Verdict.UNKNOWN if name in NOT_TOLD else Verdict.REFUTED), proof.reason
    assert not proof.output_axes
    assert _differs(model), "stacked, each request has its answer alone: the model mixes nothing"


def _differs(model: onnx.ModelProto) -> bool:
    """Whether a request's share of a stacked run is another than its answer alone, along whatever axes."""
    run = Runner(model)
    feeds = requests_for(model, ROW_COUNTS)
    alone = [run(feed) for feed in feeds]
    together = run(stacked(feeds, axes_of_rows(model)))
    ranks = {name: np.ndim(value) for name, value in together.items()}
    if min(ranks.values()) == 0 or any(len({np.ndim(one[name]) for one in alone}) > 1 for name in together):
        return True
    tried = [{name: min(axis, rank - 1) for name, rank in ranks.items()} for axis in range(max(ranks.values()))]
    return not any(same_as_alone(together, alone, axes, ROW_COUNTS) for axes in tried)
