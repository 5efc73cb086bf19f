"""Whether rows of different callers may share one run of an ONNX model, proven from its graph.

`prove` follows the rows of the inputs through the graph once; the table of rules says what each operator makes of
them. What the table does not know is not proven. Knows neither the runtime nor any backend; needs the package `onnx`.
"""

from kernelport_workers.row_proof.proof import Proof, prove
from kernelport_workers.row_proof.values import Verdict

__all__ = ["Proof", "Verdict", "prove"]
