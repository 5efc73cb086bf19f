"""What is noted while a run lasts: calls by callers, runs by the model, events by the injector. Times: Unix seconds."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from kernelport_ops.chaos.plan import Kind

OK = "OK"


@dataclass(frozen=True)
class Call:
    """One call of a caller's, from its start to its end.

    Attributes:
        number: what was asked for; unique, but for calls with one request id.
        kind: of caller, such as `small`, `named`, `hang-up`.
        request_id: empty when it has none.
        deadline_s: seconds that the call had.
        code: gRPC's status, in words.
        message: of the status; empty when OK.
        token: of the run that answered; 0 when none did.
        right: whether the answer is what it should be.
    """

    number: int
    kind: str
    request_id: str
    started: float
    ended: float
    deadline_s: float
    code: str
    message: str = ""
    token: int = 0
    right: bool = True

    def line(self) -> str:
        """This call as one line of JSON."""
        return json.dumps(asdict(self)) + "\n"


@dataclass(frozen=True)
class Run:
    """One run of a request by the model; `ended` is None when its process did not live to see it."""

    number: int
    pid: int
    token: int
    started: float
    ended: float | None


@dataclass
class Event:
    """One disturbance.

    Attributes:
        target: the process it hit, by name.
        pid: that process's id; 0 when there was none.
        until: when what it hit was back at work; None while it is not.
    """

    kind: Kind
    target: str
    pid: int
    at: float
    until: float | None = None

    def touches(self, started: float, ended: float, after_s: float = 0.0) -> bool:
        """Whether it was in force, or had ended less than `after_s` seconds ago, between two times."""
        return self.at <= ended and (self.until is None or started <= self.until + after_s)


def read_calls(paths: Sequence[Path]) -> Iterator[Call]:
    """The calls in files that callers wrote; a last line that was cut short is left out."""
    for path in paths:
        for line in path.read_text().splitlines(keepends=True) if path.exists() else ():
            if line.endswith("\n"):
                yield Call(**json.loads(line))


def read_runs(journal: Path) -> dict[int, list[Run]]:
    """The runs in the model's journal by number, each in order of their start."""
    starts: list[Run] = []
    ends: dict[int, float] = {}
    for line in journal.read_text().splitlines() if journal.exists() else ():
        what, number, pid, at, token = line.split()
        if what == "start":
            starts.append(Run(int(number), int(pid), int(token), float(at), None))
        else:
            ends[int(token)] = float(at)
    runs: dict[int, list[Run]] = defaultdict(list)
    for started in starts:
        runs[started.number].append(replace(started, ended=ends.get(started.token)))
    return dict(runs)
