"""The rules, one module a family of operators. Importing this package fills the table."""

from kernelport_workers.row_proof.rules import (  # noqa: F401 - each adds its own
    along_axes,
    contraction,
    control,
    elementwise,
    indexing,
    joining,
    learning,
    mixing,
    quantization,
    recurrent,
    shapes,
    spatial,
)
