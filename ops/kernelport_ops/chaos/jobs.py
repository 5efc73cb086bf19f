"""`python -m kernelport_ops.chaos.jobs`: kills everything in turn under a job of speech, then counts every item."""

import os
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click
import grpc

from kernelport.config.settings import Settings, bundled_deployments
from kernelport.supervisor.processes import Child
from kernelport.supervisor.stack import Stack
from kernelport.supervisor.worker_command import worker_command
from kernelport.v1 import job_pb2 as pb
from kernelport_ops.bench.jobs.calls import Calls, calls_to, spoken
from kernelport_ops.bench.jobs.speech import problems_of
from kernelport_ops.bench.processes import start, stop
from kernelport_ops.bench.systems import START_TIMEOUT_S
from kernelport_ops.bench.terminal import cores, new_console, prepare_process, progress_bar
from kernelport_ops.bench.texts import sentences

MODEL = "hibari-en"
LEASE_S = 5.0
TIMEOUT_S = 1800.0
_FINAL = (pb.JOB_STATE_SUCCEEDED, pb.JOB_STATE_FAILED, pb.JOB_STATE_CANCELLED, pb.JOB_STATE_EXPIRED)


class Watcher(threading.Thread):
    """Watches a job over broken streams, each time from where it was.

    Attributes:
        told: how often it was told of each item.
        broken: how often the stream broke.
        job: as last told.
    """

    def __init__(self, calls: Calls, job_id: str) -> None:
        super().__init__(name="watcher", daemon=True)
        self._calls = calls
        self._job_id = job_id
        self.told: Counter[str] = Counter()
        self.broken = 0
        self.job = pb.Job()

    def run(self) -> None:
        """Until the job is over."""
        cursor = 0
        while self.job.state not in _FINAL:
            request = pb.WatchJobRequest(job_id=self._job_id, cursor=cursor, items=True)
            try:
                for event in self._calls.stub.WatchJob(request):
                    cursor, self.job = event.cursor, event.job
                    self.told.update(item.id for item in event.items)
            except grpc.RpcError:
                self.broken += 1
                time.sleep(0.2)

    def done(self) -> int:
        """Items that were told of."""
        return len(self.told)


@contextmanager
def _running(folder: Path, workers: int) -> Iterator[tuple[Stack, dict[str, Child]]]:
    shutil.rmtree(folder, ignore_errors=True)
    settings = replace(
        Settings(), listen="127.0.0.1:0", deployments_file=bundled_deployments(), lease_s=LEASE_S, heartbeat_ttl_s=2.0
    )
    further: dict[str, Child] = {}
    with Stack(settings, [MODEL], folder) as stack:
        try:
            for number in range(2, workers + 1):
                environment = replace(stack.settings, worker_id=f"{MODEL}-{number}").to_environment()
                further[f"worker {number}"] = start(f"worker-{number}", worker_command([MODEL]), folder, environment)
            stack.wait_ready(START_TIMEOUT_S)
            yield (
                stack,
                {
                    "worker 1": stack.children[f"worker-{MODEL}"],
                    **further,
                    "front door": stack.children["front-door"],
                    "redis": stack.children["redis"],
                },
            )
        finally:
            stop(list(further.values()))


@click.command(help="Kills workers, the front door and Redis under a job of speech, then accounts for every item.")
@click.option("--sentences", "count", default=600, show_default=True, type=click.IntRange(20), help="Items of the job.")
@click.option("--workers", default=cores(), show_default="one per core", type=click.IntRange(1))
@click.option("--out", default=Path("out/chaos"), show_default=True, type=click.Path(path_type=Path))
def main(count: int, workers: int, out: Path) -> None:
    """The command."""
    prepare_process()
    console = new_console()
    with _running(out / "jobs", workers) as (stack, victims), calls_to(stack.target) as calls:
        texts = sentences(count)
        job = calls.submit(MODEL, (spoken(f"line-{number:05}", text) for number, text in enumerate(texts)))
        watcher = Watcher(calls, job.id)
        watcher.start()
        with progress_bar(console) as progress:
            task = progress.add_task("speaking", total=count)

            def wait_until(condition: Callable[[], bool]) -> None:
                deadline = time.monotonic() + TIMEOUT_S
                while not condition() and time.monotonic() < deadline:
                    progress.update(task, completed=watcher.done())
                    time.sleep(0.1)

            for number, (name, child) in enumerate(victims.items(), 1):
                share = number / (len(victims) + 1)
                wait_until(lambda share=share: watcher.done() >= share * count)  # type: ignore[misc]
                pid = child.pid
                if pid is None:
                    continue
                os.kill(pid, signal.SIGKILL)
                console.print(f"{watcher.done()} of {count} done: killed {name}")
            wait_until(lambda: not watcher.is_alive())
        problems = problems_of(calls.get(job.id), count)
        problems += [f"told {times} times of {item}" for item, times in watcher.told.items() if times > 1]
        if watcher.done() != count:
            problems.append(f"told of {watcher.done()} items")
        again = sum(item.attempts > 1 for item in calls.items(job.id))
        console.print(f"{count} items, {again} of them after a worker died; the watch broke {watcher.broken} times")
    console.print("\n".join(problems) if problems else "every item once, and every hash right")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
