"""`python -m kernelport_ops.bench.gpu.child FUNCTION WORK RECORDS [--dry]`: one step, a line of JSON a record."""

import importlib
import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from kernelport_ops.bench.gpu.setting import Record, Setting


def main(function: str, work: str, records: str, *options: str) -> None:
    """Runs a step. What it raises ends the process, with a traceback in its log."""
    logging.basicConfig(level=logging.INFO)
    # float32 means float32: on a GPU, convolutions have ten bits of mantissa by default.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    module, _, name = function.partition(":")
    step: Callable[[Setting], Iterator[Record]] = getattr(
        importlib.import_module(f"kernelport_ops.bench.gpu.{module}"), name
    )
    with Path(records).open("a") as file:
        for record in step(Setting.of(Path(work), dry="--dry" in options)):
            file.write(json.dumps(record) + "\n")
            file.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
