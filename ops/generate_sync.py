"""Generates the synchronous clients from those of asyncio.

python ops/generate_sync.py           write them
python ops/generate_sync.py --check   fail if what is committed is not what would be written
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from unasync import Rule, unasync_files

REPOSITORY = Path(__file__).resolve().parent.parent
JOBS = REPOSITORY / "kernelport/client/jobs/aio"
CLIENT = tuple(f"kernelport/client/{room}aio.py" for room in ("", "access/", "inference/"))
SOURCES = (*CLIENT, *sorted(str(path.relative_to(REPOSITORY)) for path in JOBS.glob("*.py")))
REPLACED = {
    "aio": "sync",
    "aclosing": "closing",
    "anext": "next",
    "AsyncAccess": "Access",
    "AsyncBegun": "Begun",
    "AsyncChannel": "Channel",
    "AsyncClient": "Client",
    "AsyncInference": "Inference",
    "AsyncInputs": "Inputs",
    "AsyncItems": "Items",
    "AsyncJobCalls": "JobCalls",
    "AsyncJobs": "Jobs",
    "async_batches": "batches",
    "checked_async_values": "checked_values",
}
_FIRST = '"""The synchronous twin of `{source}`: generated, not to be edited; `make sync` writes it."""\n'


def twin(source: str) -> str:
    """The path of a module's synchronous twin: `sync` where the source has `aio`."""
    return source.replace("/aio", "/sync")


def generate(source: str, scratch: Path) -> bytes:
    """The code of the synchronous twin of a module."""
    copy = scratch / "asynchronous" / source
    copy.parent.mkdir(parents=True, exist_ok=True)
    docstring, code = (REPOSITORY / source).read_text().split("\n", 1)
    if not docstring.endswith('"""'):
        sys.exit(f"{source}: expected a docstring of one line")
    copy.write_text(code)
    unasync_files([str(copy)], [Rule("/asynchronous/", "/synchronous/", REPLACED)])
    generated = scratch / "synchronous" / source
    generated.write_text(_FIRST.format(source=Path(source).relative_to("kernelport/client")) + generated.read_text())
    for command in (("check", "--fix-only"), ("format",)):
        ruff = [Path(sys.executable).parent / "ruff", *command, "--quiet", "--config", REPOSITORY / "pyproject.toml"]
        subprocess.run([*ruff, generated], check=True)
    return generated.read_bytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for source in SOURCES:
            path = REPOSITORY / twin(source)
            code = generate(source, Path(scratch))
            if not arguments.check:
                path.write_bytes(code)
            elif not path.exists() or path.read_bytes() != code:
                sys.exit(f"generated code is stale, run `make sync`: {path.relative_to(REPOSITORY)}")


if __name__ == "__main__":
    main()
