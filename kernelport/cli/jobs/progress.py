"""How far a job is, as a bar on a terminal or as lines elsewhere."""

import time
from collections import deque
from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from kernelport.cli.jobs.words import clock, coloured, job_state
from kernelport.errors import KernelPortError
from kernelport.job_client.messages import is_over
from kernelport.v1 import job_pb2 as pb

WINDOW_S = 20.0
LINE_INTERVAL_S = 10.0


class Meter:
    """Rates over the last 20 seconds, of what a job's progress tells."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int, float]] = deque()

    def update(self, job: pb.Job) -> None:
        """Takes in how a job stands now."""
        now = time.monotonic()
        self._seen.append((now, done(job), job.progress.audio_s))
        while now - self._seen[0][0] > WINDOW_S and len(self._seen) > 2:
            self._seen.popleft()

    def items_per_s(self) -> float:
        """Items done a second; 0 when that is not known."""
        (began, items, _), (now, items_now, _) = self._seen[0], self._seen[-1]
        return (items_now - items) / (now - began) if now > began else 0.0

    def audio_per_s(self) -> float:
        """Seconds of audio made a second; 0 when that is not known."""
        (began, _, audio_s), (now, _, audio_s_now) = self._seen[0], self._seen[-1]
        return (audio_s_now - audio_s) / (now - began) if now > began else 0.0


class Display:
    """Shows a job's progress on a console while it is entered: a bar that changes in place on a terminal, else a line
    every ten seconds and whenever the state changes."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._meter = Meter()
        self._job = pb.Job()
        self._live = Live(self, console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self._printed: tuple[str, float] = ("", 0.0)
        self._in_the_way = ""
        self._told_at = -LINE_INTERVAL_S

    def __enter__(self) -> "Display":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, job: pb.Job) -> None:
        """Shows how a job stands."""
        self._job, self._in_the_way = job, ""
        self._meter.update(job)
        if self._live is not None:
            return
        state, printed = self._printed
        if state != job_state(job) or time.monotonic() - printed >= LINE_INTERVAL_S:
            self._printed = job_state(job), time.monotonic()
            self.console.print(", ".join(self._line()), soft_wrap=True, markup=False, highlight=False)

    def wait(self, error: KernelPortError, pause_s: float) -> None:
        """Shows that the front door is out of reach, and tried again."""
        self._in_the_way = f"trying again: {error.message}"
        if self._live is None and time.monotonic() - self._told_at >= LINE_INTERVAL_S:
            self._told_at = time.monotonic()
            self.console.print(self._in_the_way, soft_wrap=True, markup=False, highlight=False)

    def __rich__(self) -> RenderableType:
        """The job, a bar as wide as the terminal, and a line of figures."""
        job, total = self._job, self._job.progress.items
        failed = f"  [red]{job.progress.failed:,} failed[/]" if job.progress.failed else ""
        state = f"{coloured(job_state(job))}  {clock(elapsed_s(job))}{failed}"
        bar = Table.grid(padding=(0, 1), expand=True)
        bar.add_column(ratio=1)
        bar.add_column(justify="right", no_wrap=True)
        bar.add_row(
            ProgressBar(total=max(total, 1), completed=done(job), complete_style="cyan", finished_style="green"),
            f"[bold]{done(job):,}/{total:,}  {_percent(job):.0f} %[/]  {self._eta()}",
        )
        head = f"[bold]{escape(job.spec.deployment)}[/]  job {job.id}  {state}"
        below = f"[yellow]{escape(self._in_the_way)}[/]" if self._in_the_way else "  ".join(self._figures())
        return Group(head, bar, below)

    def _line(self) -> Iterator[str]:
        job = self._job
        yield f"{job_state(job)}: {done(job)}/{job.progress.items} ({_percent(job):.0f} %)"
        yield f"{job.progress.failed} failed"
        yield from self._figures()
        if not is_over(job):
            yield self._eta()

    def _figures(self) -> Iterator[str]:
        job, rate = self._job, self._meter.items_per_s()
        if is_over(job):
            rate = job.progress.succeeded / elapsed_s(job) if elapsed_s(job) else 0.0
        yield f"{rate:,.1f} items/s"
        if job.progress.audio_s:
            yield f"audio {clock(job.progress.audio_s)} at {self._speed():,.0f}x real time"
            yield f"real-time factor {job.progress.backend_s / job.progress.audio_s:.3f}"

    def _eta(self) -> str:
        rate = self._meter.items_per_s()
        return f"ETA {clock((self._job.progress.items - done(self._job)) / rate if rate else None)}"

    def _speed(self) -> float:
        seconds = elapsed_s(self._job)
        if is_over(self._job) and seconds:
            return self._job.progress.audio_s / seconds
        return self._meter.audio_per_s()


def done(job: pb.Job) -> int:
    """How many items nothing more will happen to."""
    return job.progress.succeeded + job.progress.failed + job.progress.cancelled


def elapsed_s(job: pb.Job) -> float:
    """Seconds since the job's first item was started, or for which it ran; 0 before that."""
    if not job.started_unix_us:
        return 0.0
    ended = job.finished_unix_us / 1e6 if is_over(job) and job.finished_unix_us else time.time()
    return max(0.0, ended - job.started_unix_us / 1e6)


def _percent(job: pb.Job) -> float:
    return 100 * done(job) / job.progress.items if job.progress.items else 0.0
