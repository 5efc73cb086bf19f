"""How long something takes, and how often it fails."""

import contextlib
import time
from collections.abc import Iterator

from prometheus_client import Counter, Histogram

from kernelport.telemetry.metrics import labelled


@contextlib.contextmanager
def timed(
    label: str, seconds: Histogram, failures: Counter, answers: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Measures what is done within, or what it decorates; what raises is a failure, and has no time.

    Args:
        answers: exceptions that are none: what was asked for is not there, or is refused before it is tried.
    """
    began = time.perf_counter()
    try:
        yield
    except answers:
        raise
    except Exception:
        labelled(failures, label).inc()
        raise
    labelled(seconds, label).observe(time.perf_counter() - began)
