"""The baseline: processes that have the model loaded and run it in a loop, with nothing around it."""

import multiprocessing
import os
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import onnxruntime as ort

from kernelport.tensors import Array
from kernelport_ops.bench.processes import BenchError

_SLACK_S = 120.0
_STOP_S = 5.0


def open_session(model: Path) -> Any:
    """ONNX Runtime's session on the CPU with as many threads as `OMP_NUM_THREADS` says, as our workers open it."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"].partition(",")[0])
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class DirectLoops:
    """Processes that each run the model with the same inputs over and over, when told to; a context manager.

    Args:
        model: an ONNX file.
        inputs_file: an .npz file of a request.
        processes: how many.
    """

    def __init__(self, model: Path, inputs_file: Path, processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._connections: list[Connection] = []
        self._processes: list[Any] = []
        for _ in range(processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(model, inputs_file, theirs), daemon=True)
            process.start()
            theirs.close()
            self._connections.append(ours)
            self._processes.append(process)

    def run(self, seconds: float) -> float:
        """Runs a second, of all processes together."""
        return self._run(self._connections, seconds)

    def run_alone(self, seconds: float) -> float:
        """Milliseconds of a run in one process while the others rest."""
        return 1000 / self._run(self._connections[:1], seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self._connections:
            connection.close()
        for process in self._processes:
            process.join(_STOP_S)
            if process.is_alive():
                process.kill()

    def _run(self, connections: Sequence[Connection], seconds: float) -> float:
        """Raises BenchError when a process does not answer."""
        try:
            for connection in connections:
                connection.send(seconds)
            return sum(_received(connection, seconds + _SLACK_S) for connection in connections)
        except (EOFError, OSError) as error:
            raise BenchError("a process of the plain loop ended; see above") from error


def _received(connection: Connection, timeout_s: float) -> float:
    if not connection.poll(timeout_s):
        raise BenchError(f"the plain loop gave no figures within {timeout_s:g} s")
    per_second: float = connection.recv()
    return per_second


def _serve(model: Path, inputs_file: Path, connection: Connection) -> None:
    """One process: for each number of seconds that it is sent, runs a second. Ends when the connection does."""
    session = open_session(model)
    with np.load(inputs_file, allow_pickle=False) as arrays:
        inputs: dict[str, Array] = dict(arrays)
    session.run(None, inputs)
    while True:
        try:
            seconds: float = connection.recv()
        except EOFError:
            return
        runs, started = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - started) < seconds:
            session.run(None, inputs)
            runs += 1
        connection.send(runs / elapsed)
