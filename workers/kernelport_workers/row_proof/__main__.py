"""`python -m kernelport_workers.row_proof MODEL`: says as JSON what the graph of an ONNX file tells of its rows."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    if importlib.util.find_spec("onnx") is None:
        sys.exit("the package onnx, which reads the model's graph, is missing: pip install onnx")
    json.dump(_answer(Path(sys.argv[1])), sys.stdout)


def _answer(file: Path) -> dict[str, Any]:
    """What is told of a model; of a file that is none only its `problem`."""
    if not file.is_file():  # of a pipe nobody knows when its end comes
        got = "a directory" if file.is_dir() else "something else" if file.exists() else "none"
        return {"problem": f"{file.name}: expected a file, got {got}"}
    import onnx
    from google.protobuf.message import DecodeError

    from kernelport_workers.row_proof import prove

    try:
        model = onnx.load(file, format="protobuf", load_external_data=False)
    except OSError as error:
        return {"problem": f"{file.name}: cannot be read: {error.strerror}"}
    except DecodeError as error:
        return {"problem": f"{file.name}: expected an ONNX model: {error}"}
    if not (model.ir_version and model.HasField("graph")):
        return {"problem": f"{file.name}: expected an ONNX model, got one without a version or a graph"}
    proof = prove(model, folder=file.parent)
    return {
        "verdict": proof.verdict.name.lower(),
        "reason": proof.reason,
        "inputs": dict(proof.input_axes),
        "outputs": dict(proof.output_axes),
    }


if __name__ == "__main__":
    main()
