"""`python -m kernelport_workers.row_proof MODEL`: says as JSON what the graph of an ONNX file tells of its rows."""

import importlib.util
import json
import sys
from pathlib import Path


def main() -> None:
    if importlib.util.find_spec("onnx") is None:
        sys.exit("the package onnx, which reads the model's graph, is missing: pip install onnx")
    from kernelport_workers.row_proof import prove

    proof = prove(Path(sys.argv[1]))
    answer = {
        "verdict": proof.verdict.name.lower(),
        "reason": proof.reason,
        "inputs": dict(proof.input_axes),
        "outputs": dict(proof.output_axes),
    }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
