"""What an item of a job is expected to cost: what slices are cut by, and progress and rates are counted in."""

from collections.abc import Iterable

from kernelport.v1.inference_pb2 import Tensor

TEXT_INPUT = "text"


def expected_cost(inputs: Iterable[Tensor]) -> int:
    """What running an item may take, in bytes: of its `text` when it has one, else of all its inputs."""
    total = 0
    for tensor in inputs:
        if tensor.name == TEXT_INPUT:
            return len(tensor.data)
        total += len(tensor.data)
    return total
