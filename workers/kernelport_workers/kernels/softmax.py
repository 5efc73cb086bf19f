"""Softmax over the rows of a matrix, the demonstration of a served Helion kernel."""

import helion
import helion.language as hl
import torch

from kernelport.signature import Signature, tensor_spec
from kernelport.v1 import inference_pb2 as pb

SIGNATURE = Signature(
    inputs=[tensor_spec("x", pb.F32, ["rows", "columns"], other_dtypes=[pb.F16])],
    outputs=[tensor_spec("y", pb.F32, ["rows", "columns"], other_dtypes=[pb.F16], description="as `x`; rows sum to 1")],
    batchable=True,
)


def softmax_two_pass(x: torch.Tensor) -> torch.Tensor:
    """Softmax over dimension 1 of a 2-D tensor of any size, in its dtype, computed in F32."""
    if x.numel() == 0:  # a billion rows of nothing are no work
        return torch.empty_like(x)
    result: torch.Tensor = _two_pass(x)
    return result


# One compiled kernel serves every shape: a server cannot afford to tune anew for each.
@helion.kernel(static_shapes=False)  # type: ignore[untyped-decorator]
def _two_pass(x: torch.Tensor) -> torch.Tensor:
    """The kernel itself.

    Tile by tile, the first pass over the columns keeps each row's running maximum and the running sum of exponentials
    relative to it; the second writes the result.
    """
    rows, columns = x.size()
    y = torch.empty_like(x)
    row_block = hl.register_block_size(rows)
    column_block = hl.register_block_size(columns)
    for row_tile in hl.tile(rows, block_size=row_block):
        maximum = hl.full([row_tile], float("-inf"), dtype=torch.float32)
        total = hl.zeros([row_tile], dtype=torch.float32)
        for column_tile in hl.tile(columns, block_size=column_block):
            values = x[row_tile, column_tile].to(torch.float32)
            new_maximum = torch.maximum(maximum, torch.amax(values, dim=1))
            # While a row has seen nothing but -inf, any finite reference avoids -inf - -inf.
            reference = torch.where(new_maximum == float("-inf"), 0.0, new_maximum)
            total = total * torch.exp(maximum - reference) + torch.exp(values - reference[:, None]).sum(dim=1)
            maximum = new_maximum
        for column_tile in hl.tile(columns, block_size=column_block):
            values = x[row_tile, column_tile].to(torch.float32)
            y[row_tile, column_tile] = (torch.exp(values - maximum[:, None]) / total[:, None]).to(x.dtype)
    return y
