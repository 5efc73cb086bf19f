"""The load generator as seen from the benchmark: a child process that is given one job at a time."""

import json
import os
import select
import subprocess
import sys
import time
from dataclasses import replace
from types import TracebackType
from typing import Self

from kernelport_ops.bench.cells import Figures, Job
from kernelport_ops.bench.processes import BenchError

# Beyond a job's own seconds: its warm-up, and the answers that are still to come when it ends.
SLACK_S = 30.0
READY_TIMEOUT_S = 90.0


class Generator:
    """A load generator process; a context manager."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def run(self, job: Job) -> Figures:
        """Runs a job.

        Raises:
            BenchError: when the process ends, or takes longer than the job can. The next job gets a new process.
        """
        process = self._started()
        if process.stdin is None or process.stdout is None:
            raise BenchError("the load generator has no pipes")
        process.stdin.write(json.dumps(job.to_dict()) + "\n")
        process.stdin.flush()
        limit_s = job.seconds + 2 * job.timeout_s + SLACK_S
        answered, _, _ = select.select([process.stdout], [], [], limit_s)
        line = process.stdout.readline() if answered else ""
        if not line:
            self.close()
            raise BenchError("the load generator ended; see above" if answered else f"no figures within {limit_s:g} s")
        return Figures(**json.loads(line))

    def wait_until_served(self, job: Job) -> None:
        """Sends single requests until one is answered.

        Raises:
            BenchError: when none is, in time.
        """
        deadline = time.monotonic() + READY_TIMEOUT_S
        single = replace(job, concurrency=1, requests=1, seconds=READY_TIMEOUT_S, timeout_s=30.0, processes={})
        while not (figures := self.run(single)).answered:
            if time.monotonic() > deadline:
                raise BenchError(f"{job.target} gives no right answer within {READY_TIMEOUT_S:g} s: {figures.errors}")

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "kernelport_ops.bench.load"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "GRPC_VERBOSITY": "NONE"},
                start_new_session=True,  # Ctrl-C is the parent's to handle; the end of its standard input ends it
            )
        return self._process
