"""`python -m kernelport_ops.bench.gpu.wheels`: downloads what a GPU machine without a network may lack.

It is taken to have CPython 3.12 on x86-64 with torch 2.11, Triton, numpy and ONNX Runtime; the wheels are all else
that the benchmark imports.
"""

import subprocess
import sys
from pathlib import Path

import click

PACKAGES = (
    "cffi",
    "click",
    "filecheck",
    "googleapis-common-protos",
    "grpcio",
    "grpcio-health-checking",
    "grpcio-status",
    "helion",
    "hiredis",
    "markdown-it-py",
    "mdurl",
    "ml_dtypes",
    "msgpack",
    "protobuf",
    "psutil",
    "pycparser",
    "Pygments",
    "PyYAML",
    "redis",
    "rich",
    "safetensors",
    "soundfile",
    "soxr",
    "tqdm",
    "typing_extensions",
)
# Later ones do not import with the machine's torch 2.11.
_HELION = "helion==1.4.0"
_MOST_MIB = 60
# pip matches each name exactly.
_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
_TARGET = ("--python-version=3.12", "--implementation=cp", *(f"--platform={name}" for name in _PLATFORMS))


def requirements(constraints: str) -> list[str]:
    """The lines of constraints.txt that name PACKAGES, and for Helion one that suits the machine's torch.

    Raises:
        ValueError: one of them has no line.
    """
    pins = {line.partition("==")[0]: line for line in constraints.splitlines() if "==" in line}
    missing = [name for name in PACKAGES if name not in pins]
    if missing:
        raise ValueError(f"constraints.txt: expected a line for each of {', '.join(missing)}")
    return [(pins | {"helion": _HELION})[name] for name in PACKAGES]


@click.command(help="Downloads wheels for a GPU machine that has no network.")
@click.option("--out", default=Path("out/bench-gpu-wheels"), show_default=True, type=click.Path(path_type=Path))
@click.option("--constraints", default=Path("constraints.txt"), show_default=True, type=click.Path(path_type=Path))
def main(out: Path, constraints: Path) -> None:
    """The command. Wheels of other versions are removed: two versions of a package stop an install."""
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("*.whl"):
        old.unlink()
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    only_these = ["--no-deps", "--only-binary=:all:", *_TARGET, f"--dest={out}"]
    subprocess.run([*pip, *only_these, *requirements(constraints.read_text())], check=True)
    wheels = list(out.glob("*.whl"))
    mib = sum(wheel.stat().st_size for wheel in wheels) / 2**20
    click.echo(f"{len(wheels)} wheels, {mib:.1f} MiB, in {out}")
    if mib > _MOST_MIB:
        raise click.ClickException(f"expected at most {_MOST_MIB} MiB")


if __name__ == "__main__":
    main()
