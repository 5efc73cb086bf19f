"""`python3 offline.py WHEELS [OPTIONS]`: the benchmark on a machine without a network, from this checkout.

Installs the wheels that `make bench-gpu-wheels` has downloaded into a temporary folder, and runs the benchmark with
this Python and them. Needs nothing but the standard library and pip; OPTIONS are the benchmark's own.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[4]
_SOURCES = (_ROOT, _ROOT / "api", _ROOT / "workers", _ROOT / "ops")


def main(wheels: Path, options: list[str]) -> int:
    """Returns the benchmark's exit code."""
    found = sorted(map(str, wheels.glob("*.whl")))
    if not found:
        sys.exit(f"{wheels}: expected wheels; `make bench-gpu-wheels` downloads them")
    with tempfile.TemporaryDirectory() as site:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        offline = ["--no-index", "--no-deps", "--no-compile", "--no-cache-dir", f"--target={site}"]
        subprocess.run([*pip, *offline, *found], check=True)
        path = os.pathsep.join([site, *map(str, _SOURCES)])
        benchmark = [sys.executable, "-m", "kernelport_ops.bench.gpu", *options]
        return subprocess.run(benchmark, env={**os.environ, "PYTHONPATH": path}, check=False).returncode


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("expected the folder of wheels")
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
