"""What type checkers tell those who build on the package: `python ops/check_types.py`.

Every name of it has a type that all of them read alike, and the programs of the README, of docs/python.md and of
docs/examples, and tests/sdk/typed.py, pass pyright and mypy in their strict modes.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "docs/python.md")
TYPED = REPOSITORY / "tests" / "sdk" / "typed.py"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Both find the packages of the environment that this runs in.
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def main() -> None:
    checked = [_passes(["pyright", "--verifytypes", "kernelport", "--ignoreexternal"], REPOSITORY)]
    with tempfile.TemporaryDirectory() as scratch:
        programs = Path(scratch)
        (programs / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "strict"}))
        for page in map(Path, PAGES):
            (programs / f"{page.stem.lower()}_page.py").write_text(
                "".join(BLOCK.findall((REPOSITORY / page).read_text()))
            )
        for program in (*(REPOSITORY / "docs" / "examples").glob("*.py"), TYPED):
            (programs / program.name).write_text(program.read_text())
        checked += [_passes(["pyright"], programs), _passes(["mypy", "--strict", "."], programs)]
    sys.exit(not all(checked))


def _passes(command: list[str], folder: Path) -> bool:
    """Whether a command finds nothing; what it finds is printed."""
    ran = subprocess.run(command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    if ran.returncode:
        sys.stdout.write(ran.stdout)
    return ran.returncode == 0


if __name__ == "__main__":
    main()
