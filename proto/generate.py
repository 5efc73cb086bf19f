"""Generates the Python code of every .proto file here into the `kernelport` package.

python proto/generate.py           write it
python proto/generate.py --check   fail if what is committed is not what would be written
"""

import argparse
import sys
import tempfile
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent


def generate(target: Path) -> list[Path]:
    """Writes the generated modules below `target`; returns their paths relative to it."""
    sources = sorted(str(path.relative_to(HERE)) for path in HERE.rglob("*.proto"))
    includes = [HERE, resources.files("grpc_tools") / "_proto"]
    code = protoc.main(
        [
            "protoc",
            *(f"-I{path}" for path in includes),
            f"--plugin=protoc-gen-mypy_grpc={Path(sys.executable).parent / 'protoc-gen-mypy_grpc'}",
            f"--python_out={target}",
            f"--pyi_out={target}",
            f"--grpc_python_out={target}",
            f"--mypy_grpc_out={target}",
            *sources,
        ]
    )
    if code != 0:
        sys.exit(code)
    for path in target.rglob("*_pb2_grpc.py*"):
        proto = HERE / path.relative_to(target).parent / (path.name.split("_pb2_grpc")[0] + ".proto")
        if "\nservice " not in proto.read_text():
            path.unlink()
    for path in target.rglob("*.pyi"):
        path.write_text(_typed(path.read_text()))
    return generated_below(target)


def _typed(stub: str) -> str:
    """A stub with the type arguments that its generator leaves out: without them, its types are partly unknown."""
    stub = stub.replace("_aio.ServicerContext)", "_aio.ServicerContext[_typing.Any, _typing.Any])")
    mapped = stub.replace("_Mapping]", "_Mapping[str, _Any]]")
    return stub if mapped == stub else mapped.replace("from typing import ", "from typing import Any as _Any, ", 1)


def generated_below(folder: Path) -> list[Path]:
    """The generated modules below a folder, relative to it; not what Python has compiled of them."""
    found = (folder / "kernelport").rglob("*_pb2*")
    return sorted(path.relative_to(folder) for path in found if path.suffix in (".py", ".pyi"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        files = generate(Path(scratch))
        present = generated_below(REPOSITORY)
        if arguments.check:
            stale = [
                path
                for path in sorted({*files, *present})
                if path not in files
                or path not in present
                or (Path(scratch) / path).read_bytes() != (REPOSITORY / path).read_bytes()
            ]
            if stale:
                sys.exit("generated code is stale, run `make proto`:\n" + "\n".join(f"  {path}" for path in stale))
            return
        for path in present:
            (REPOSITORY / path).unlink()
        for path in files:
            (REPOSITORY / path).parent.mkdir(parents=True, exist_ok=True)
            (REPOSITORY / path).write_bytes((Path(scratch) / path).read_bytes())


if __name__ == "__main__":
    main()
