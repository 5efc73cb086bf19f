"""How far a job is, as a bar on a terminal or as lines elsewhere."""

import threading
import time
from collections import deque
from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from kernelport.cli.jobs.formatting import clock, coloured, others
from kernelport.client.jobs.messages import is_over
from kernelport.enums import JobState
from kernelport.errors import KernelPortError, UnavailableError
from kernelport.v1 import job_pb2 as pb

WINDOW_S = 20.0
LINE_INTERVAL_S = 10.0


class Meter:
    """Rates over the last 20 seconds, of what a job's progress tells."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int, float]] = deque()

    def update(self, job: pb.Job) -> None:
        """Takes in how a job stands now. A job that was resumed begins anew."""
        now, finished = time.monotonic(), job.progress.succeeded + job.progress.failed
        if self._seen and finished < self._seen[-1][1]:
            self._seen.clear()
        self._seen.append((now, finished, job.progress.audio_s))
        while now - self._seen[0][0] > WINDOW_S and len(self._seen) > 2:
            self._seen.popleft()

    def items_per_s(self) -> float:
        """Items that were run a second; 0 when that is not known."""
        (began, items, _), (now, items_now, _) = self._seen[0], self._seen[-1]
        return (items_now - items) / (now - began) if now > began else 0.0

    def audio_per_s(self) -> float:
        """Seconds of audio made a second; 0 when that is not known."""
        (began, _, audio_s), (now, _, audio_s_now) = self._seen[0], self._seen[-1]
        return (audio_s_now - audio_s) / (now - began) if now > began else 0.0


class Display:
    """Shows a job's progress on a console while it is entered: a bar that changes in place on a terminal, else a line
    every ten seconds, whenever its state or the reason for it changes, and when the front door is lost or back."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._meter = Meter()
        self._job = pb.Job()
        self._live = Live(self, console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self._printed, self._printed_at = ("", ""), 0.0
        self._in_the_way = ""
        self._over = threading.Event()
        self._ticking = threading.Thread(target=self._tick, daemon=True)
        self._lock = threading.Lock()

    def __enter__(self) -> "Display":
        if self._live is not None:
            self._live.start()
        else:
            self._ticking.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
        else:
            self._over.set()
            self._ticking.join()

    def update(self, job: pb.Job) -> None:
        """Shows how a job stands."""
        with self._lock:
            is_back = bool(self._in_the_way)
            self._job, self._in_the_way = job, ""
            self._meter.update(job)
            before, self._printed = self._printed, (str(JobState.of(job)), job.reason)
            self._print(at_once=is_back or before != self._printed)

    def wait(self, error: KernelPortError, pause_s: float) -> None:
        """Shows that the front door is out of reach, and tried again."""
        lost = isinstance(error, UnavailableError)
        with self._lock:
            is_new = not self._in_the_way
            self._in_the_way = f"{'the connection was lost; watching on' if lost else 'trying again'}: {error.message}"
            self._print(at_once=is_new)

    def _tick(self) -> None:
        """Lines also while nothing is heard of the job."""
        while not self._over.wait(LINE_INTERVAL_S / 10):
            with self._lock:
                if self._printed_at:
                    self._meter.update(self._job)
                    self._print()

    def _print(self, at_once: bool = False) -> None:
        """A line, where it is time for one."""
        if self._live is None and (at_once or time.monotonic() - self._printed_at >= LINE_INTERVAL_S):
            self._printed_at = time.monotonic()
            line = self._in_the_way or ", ".join(self._line())
            self.console.print(line, soft_wrap=True, markup=False, highlight=False)

    def __rich__(self) -> RenderableType:
        """The job, a bar as wide as the terminal, and a line of figures."""
        job, progress = self._job, self._job.progress
        colours = {"failed": "red", "cancelled": "yellow", "not run": "yellow"}
        apart = [f"[{colours.get(name, 'default')}]{count:,} {name}[/]" for name, count in others(job).items()]
        state = f"{coloured(JobState.of(job)).markup}  {clock(elapsed_s(job))}  {'  '.join(apart)}"
        bar = Table.grid(padding=(0, 1), expand=True)
        bar.add_column(ratio=1)
        bar.add_column(justify="right", no_wrap=True)
        bar.add_row(
            ProgressBar(
                total=max(progress.items, 1),
                completed=progress.succeeded,
                complete_style="cyan",
                finished_style="green",
            ),
            f"[bold]{progress.succeeded:,}/{progress.items:,}  {_percent(job)} %[/]  {self._eta()}",
        )
        head = f"[bold]{escape(job.spec.deployment)}[/]  job {job.id}  {state}"
        told = self._in_the_way or ("" if is_over(job) else job.reason)
        below = f"[yellow]{escape(told)}[/]" if told else "  ".join(self._figures())
        return Group(head, bar, below)

    def _line(self) -> Iterator[str]:
        job, apart = self._job, others(self._job)
        yield f"{JobState.of(job)}: {job.progress.succeeded}/{job.progress.items} ({_percent(job)} %)"
        yield f"{apart.pop('failed', 0)} failed"
        yield from (f"{count} {name}" for name, count in apart.items())
        yield from self._figures()
        if eta := self._eta():
            yield eta
        if job.reason and not is_over(job):
            yield job.reason

    def _figures(self) -> Iterator[str]:
        job, rate, speed = self._job, self._meter.items_per_s(), self._meter.audio_per_s()
        if is_over(job):
            # Of a job that was resumed nobody knows what was made since.
            seconds = 0.0 if job.resumed_unix_us else elapsed_s(job)
            rate = job.progress.succeeded / seconds if seconds else 0.0
            speed = job.progress.audio_s / seconds if seconds else 0.0
        if rate:
            yield f"{rate:,.1f} items/s"
        if job.progress.audio_s:
            yield f"audio {clock(job.progress.audio_s)}" + (f" at {speed:,.1f}x real time" if speed >= 0.1 else "")
            # No factor beside the speed: it would be of all tries so far, and pass for the speed's inverse.
            yield f"compute {clock(job.progress.backend_s)}"

    def _eta(self) -> str:
        if is_over(self._job):
            return ""
        rate = self._meter.items_per_s()
        return f"ETA {clock((self._job.progress.waiting + self._job.progress.running) / rate if rate else None)}"


def elapsed_s(job: pb.Job) -> float:
    """Seconds since the job's first item was started, or since it was resumed; for which it ran when it is over; 0
    before that."""
    began = max(job.started_unix_us, job.resumed_unix_us) if job.started_unix_us else 0
    if not began:
        return 0.0
    ended = job.finished_unix_us / 1e6 if is_over(job) and job.finished_unix_us else time.time()
    return max(0.0, ended - began / 1e6)


def _percent(job: pb.Job) -> int:
    """Of the items that have succeeded; 100 only when all have."""
    return 100 * job.progress.succeeded // job.progress.items if job.progress.items else 0
