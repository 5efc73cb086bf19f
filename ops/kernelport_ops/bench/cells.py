"""What is measured: payloads, cells, the job that a load generator is given and the figures it gives back."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from kernelport.config.values import parse_size

F32_BYTES = 4
PAYLOADS = ("16B", "64KiB", "4MiB")
CONCURRENCIES = (1, 16, 64, 256)


@dataclass(frozen=True)
class Payload:
    """A square F32 tensor `x` [1, 1, side, side]; `name` is how people write its size, such as `64KiB`."""

    name: str
    side: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """The payload of a size.

        Raises:
            ValueError: when it is not the size of a square of 4-byte elements.
        """
        size = parse_size(text)
        side = math.isqrt(size // F32_BYTES)
        if side == 0 or side * side * F32_BYTES != size:
            raise ValueError(f"{text}: expected the size in bytes of a square of floats, such as 16B, 64KiB or 4MiB")
        return cls(text, side)

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape."""
        return (1, 1, self.side, self.side)

    @property
    def size(self) -> int:
        """Bytes of the elements, one way."""
        return F32_BYTES * self.side * self.side


@dataclass(frozen=True)
class Cell:
    """One point of the comparison: a payload, and how many callers wait for an answer at any time."""

    payload: Payload
    concurrency: int


@dataclass(frozen=True)
class Job:
    """What a load generator is told to do: `concurrency` callers, each sending its next request when it has its answer.

    Attributes:
        transport: `grpc`, `http`, `http-json`, `http-open-inference` or `redis`.
        target: host:port, or a URL.
        model: the deployment's name; only for grpc.
        shape: of the F32 input `x`.
        inputs_file: an .npz file whose arrays are the inputs in place of `x`; only for grpc.
        answer_bytes: how long the first output's data must be.
        counted: the name of an I32 output whose values are counted; empty for none.
        concurrency: callers, 1 or more.
        seconds: no request starts later than this; those under way are waited for.
        requests: at most so many are sent.
        timeout_s: seconds a request may take.
        processes: process ids by label; their CPU time, and that of their descendants, is measured.
    """

    transport: str
    target: str
    model: str
    shape: list[int]
    answer_bytes: int
    concurrency: int
    seconds: float
    requests: int = 10**9
    timeout_s: float = 120.0
    counted: str = ""
    inputs_file: str = ""
    processes: dict[str, list[int]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


@dataclass(frozen=True)
class Figures:
    """What came of a job.

    Attributes:
        answered: requests with a right answer.
        errors: requests without, by what was wrong.
        seconds: from the first request to the last answer.
        p50_ms, p95_ms, p99_ms: milliseconds from request to right answer; 0 when there was none.
        cpu_s: CPU seconds by label of a process, `client` being the load generator.
        counts: how many answers had which value of the counted output.
    """

    answered: int
    errors: dict[str, int]
    seconds: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cpu_s: dict[str, float]
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def per_second(self) -> float:
        """Right answers a second."""
        return self.answered / self.seconds if self.seconds else 0.0

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it, with what follows from the rest."""
        cpu_ms = {label: 1000 * seconds / max(1, self.answered) for label, seconds in self.cpu_s.items()}
        return {**asdict(self), "per_second": self.per_second, "cpu_ms_per_request": cpu_ms}
