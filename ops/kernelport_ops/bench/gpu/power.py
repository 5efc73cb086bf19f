"""What the GPU takes while something runs, as nvidia-smi tells."""

import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from kernelport_ops.bench.gpu.setting import Record

_FIELDS = ("power.draw", "utilization.gpu", "memory.used", "clocks.sm", "temperature.gpu")
_NAMES = ("watts", "utilization_percent", "memory_mib", "sm_mhz", "celsius")
_COMMAND = "nvidia-smi"
_NO_COMMAND = "nvidia-smi is not on PATH"
_INTERVAL_MS = 200
_PATIENCE_S = 10.0


@contextmanager
def metered() -> Iterator[Record]:
    """Samples the first GPU five times a second; on leaving, :func:`summary` is in the record that is given."""
    record: Record = {}
    if not shutil.which(_COMMAND):
        yield record
        record["absent"] = _NO_COMMAND
        return
    with tempfile.TemporaryFile("w+") as samples:
        command = [*_query(_FIELDS), f"--loop-ms={_INTERVAL_MS}"]
        process = subprocess.Popen(command, stdout=samples, stderr=subprocess.DEVNULL)
        try:
            yield record
        finally:
            process.terminate()
            process.wait()
        samples.seek(0)
        record.update(summary(samples.read()))


def at_rest() -> Record:
    """One sample, and the driver's version."""
    if not shutil.which(_COMMAND):
        return {"absent": _NO_COMMAND}
    sample, driver = (
        subprocess.run(_query(fields), capture_output=True, text=True, timeout=_PATIENCE_S, check=False).stdout
        for fields in (_FIELDS, ["driver_version"])
    )
    return {"driver": driver.strip(), **summary(sample)}


def _query(fields: Sequence[str]) -> list[str]:
    return [_COMMAND, "--id=0", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]


def summary(lines: str) -> Record:
    """Mean and maximum of each figure over the samples; lines that are not whole, or say [N/A], are left out."""
    samples = []
    for line in lines.splitlines():
        try:
            values = [float(value) for value in line.split(",")]
        except ValueError:
            continue
        if len(values) == len(_FIELDS):
            samples.append(values)
    if not samples:
        return {"absent": "nvidia-smi gave no sample"}
    figures: Record = {"samples": len(samples)}
    for name, column in zip(_NAMES, zip(*samples, strict=True), strict=True):
        figures |= {name: round(statistics.fmean(column), 1), f"{name}_max": max(column)}
    return figures
