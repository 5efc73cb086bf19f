"""wrk and h2load: what they are told, and what they tell."""

import re
import shutil
import struct
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from kernelport.tensors import from_arrays
from kernelport.v1 import inference_pb2
from kernelport_ops.bench.cells import Job
from kernelport_ops.bench.processes import BenchError, cpu_seconds
from kernelport_ops.bench.transports import HEADER_LENGTH, array_of, http_request

# What either may take beyond the seconds that it sends for.
SLACK_S = 60.0
INFER = "/kernelport.v1.InferenceService/Infer"
# Debian's packages, by the program that each has.
PACKAGES = {"wrk": "wrk", "h2load": "nghttp2-client"}
# Of HTTP/2's windows, which else are 64 KiB: as powers of two less one.
_WINDOW_BITS = "30"
_UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}
# Reads the body once; wrk sends it in every request.
_SCRIPT = """\
local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
file:close()
wrk.method = "POST"
{headers}
"""


@dataclass(frozen=True)
class Load:
    """What came of a load.

    Attributes:
        per_second: answers a second.
        p50_ms: from request to answer in milliseconds; of h2load the mean, as it tells no median.
        cpu_us: microseconds of CPU time an answer, by process of the server.
    """

    per_second: float
    p50_ms: float
    cpu_us: dict[str, float]


def check_installed() -> None:
    """Raises BenchError when one of the clients is missing."""
    for program, package in PACKAGES.items():
        if shutil.which(program) is None:
            raise BenchError(f"{program} is missing: apt-get install {package}")


def load(job: Job, folder: Path) -> Load:
    """Sends the request of a job again and again over its connections, for its seconds.

    Args:
        folder: for the request.

    Raises:
        BenchError: when an answer is not right.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = _h2load(job, folder) if job.transport == "grpc" else _wrk(job, folder)
    before = {label: cpu_seconds(pids) for label, pids in job.processes.items()}
    said = _said(command, job.seconds)
    answers, per_second, latency_ms = (_h2load_figures if job.transport == "grpc" else _wrk_figures)(said, job)
    if not answers:
        raise BenchError(f"{command[0]} got no answer in {job.seconds:g} s")
    took = {label: cpu_seconds(pids) - before[label] for label, pids in job.processes.items()}
    return Load(per_second, latency_ms, {label: 1e6 * seconds / answers for label, seconds in took.items()})


def _wrk(job: Job, folder: Path) -> list[str]:
    body, headers = http_request(job)
    _check_answer(job, body, headers)
    file, script = folder / "body", folder / "wrk.lua"
    file.write_bytes(body)
    lines = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items())
    script.write_text(_SCRIPT.format(body=file.absolute(), headers=lines))
    options = ["--threads", "1", "--connections", str(job.concurrency), "--duration", f"{job.seconds:g}s"]
    return ["wrk", *options, "--timeout", f"{job.timeout_s:g}s", "--latency", "--script", str(script), job.target]


def _check_answer(job: Job, body: bytes, headers: dict[str, str]) -> None:
    """Raises BenchError when one request is not answered with so many bytes as it has: wrk looks at statuses alone."""
    request = urllib.request.Request(job.target, body, headers)  # noqa: S310 (loopback)
    with urllib.request.urlopen(request, timeout=job.timeout_s) as answer:  # noqa: S310
        size = len(answer.read()) - int(answer.headers.get(HEADER_LENGTH, 0))
    if size != job.answer_bytes:
        raise BenchError(f"{job.target}: expected an answer of {job.answer_bytes} bytes, got {size}")


def _wrk_figures(said: str, _job: Job) -> tuple[int, float, float]:
    if wrong := re.search(r"Non-2xx.*|Socket errors.*", said):
        raise BenchError(f"wrk: {wrong[0]}")
    p50 = re.search(r"50%\s+([\d.]+)(us|ms|s)", said)
    return (
        int(_number(r"(\d+) requests in", said)),
        _number(r"Requests/sec:\s+([\d.]+)", said),
        float(p50[1]) * _UNITS_MS[p50[2]] if p50 else 0.0,
    )


def _h2load(job: Job, folder: Path) -> list[str]:
    request = inference_pb2.InferRequest(model=job.model, inputs=from_arrays({"x": array_of(job)})).SerializeToString()
    file = folder / "message"
    file.write_bytes(struct.pack(">BI", 0, len(request)) + request)
    options = ["--clients", str(job.concurrency), "--duration", f"{job.seconds:g}", "--data", str(file)]
    windows = ["--window-bits", _WINDOW_BITS, "--connection-window-bits", _WINDOW_BITS]
    headers = ["--header", "content-type: application/grpc", "--header", "te: trailers"]
    return ["h2load", *options, *windows, *headers, f"http://{job.target}{INFER}"]


def _h2load_figures(said: str, job: Job) -> tuple[int, float, float]:
    """Raises BenchError when less came than right answers have: gRPC says 200 to whatever it refuses."""
    answers = int(_number(r"requests: .* (\d+) succeeded", said))
    told = re.search(r"traffic: .*\((\d+)\) data", said)
    if told is None or int(told[1]) < answers * job.answer_bytes:
        raise BenchError(f"h2load: answers are too short:\n{said}")
    mean = re.search(r"time for request:\s+\S+\s+\S+\s+([\d.]+)(us|ms|s)", said)
    return answers, answers / job.seconds, float(mean[1]) * _UNITS_MS[mean[2]] if mean else 0.0


def _said(command: list[str], seconds: float) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + SLACK_S, check=False)
    except subprocess.TimeoutExpired:
        raise BenchError(f"{command[0]} did not end in time") from None
    if done.returncode:
        raise BenchError(f"{command[0]} failed: {done.stderr.strip()}")
    return done.stdout


def _number(pattern: str, said: str) -> float:
    """Raises BenchError when the client does not tell it."""
    found = re.search(pattern, said)
    if found is None:
        raise BenchError(f"expected {pattern} in:\n{said}")
    return float(found[1])
