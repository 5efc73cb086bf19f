"""The two trees: this one, and a commit in a git worktree, each with the environment that its own files install."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kernelport_ops.bench.pair.rounds import BASE
from kernelport_ops.bench.processes import BenchError

_PACKAGES = ("kernelport", "kernelport_api", "kernelport_workers")
_SHOWN_LINES = 12


@dataclass(frozen=True)
class Checkout:
    """A tree whose processes can be started.

    Attributes:
        side: `new` or `base`.
        commit: what `git describe` calls it: it ends in `-dirty` when files were changed.
        python: the interpreter of its environment.
        unset: variables of this process that its processes must not see.
        variables: what they see beside the others, each as NAME=VALUE.
        quotas: those of its callers, by name.
    """

    side: str
    commit: str
    tree: Path
    python: Path
    unset: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    quotas: Mapping[str, float] = field(default_factory=dict)

    def command(self, *arguments: str) -> list[str]:
        """Runs its interpreter in its folder: with `-m`, Python and Celery import from there first."""
        unset = [f"--unset={name}" for name in self.unset]
        return ["env", f"--chdir={self.tree}", *unset, *self.variables, str(self.python), *arguments]

    def check_imports(self) -> None:
        """Raises BenchError when its interpreter imports our packages from elsewhere than its tree."""
        script = f"import {', '.join(_PACKAGES)}; print(*({', '.join(f'{name}.__file__' for name in _PACKAGES)},))"
        for path in run(self.command("-c", script)).split():
            if not Path(path).is_relative_to(self.tree):
                raise BenchError(f"{self.python} imports {path}, expected a file in {self.tree}")


def this_checkout(side: str, variables: tuple[str, ...] = (), quotas: Mapping[str, float] | None = None) -> Checkout:
    """The tree that this code is in, run by this interpreter."""
    tree = this_repository()
    return Checkout(side, _described(tree), tree, Path(sys.executable), variables=variables, quotas=quotas or {})


def base_checkout(repository: Path, revision: str, folder: Path) -> Checkout:
    """A commit in a worktree of its own, made and installed when it is not there yet.

    Args:
        folder: the worktree's parent.

    Raises:
        BenchError: there is no such commit, its environment cannot be installed, or its worktree was changed.
    """
    commit = run(["git", "-C", str(repository), "rev-parse", "--verify", f"{revision}^{{commit}}"])
    tree = folder.absolute() / f"base-{commit[:12]}"
    if not tree.exists():
        # Forced: git may remember a worktree there that was deleted.
        run(["git", "-C", str(repository), "worktree", "add", "--force", "--detach", str(tree), commit])
    if (found := _described(tree)) != commit:
        raise BenchError(f"{tree} is not as {commit} has it but {found}: delete it")
    run(["env", "--unset=PYTHONPATH", "make", "-C", str(tree), ".venv/installed-local"])
    return Checkout(BASE, commit, tree, tree / ".venv" / "bin" / "python", unset=("PYTHONPATH",))


def this_repository() -> Path:
    """The root of the tree that this code is in."""
    return Path(run(["git", "-C", str(Path(__file__).parent), "rev-parse", "--show-toplevel"]))


def run(command: Sequence[str]) -> str:
    """What a command says, without the line's end.

    Raises:
        BenchError: it fails; with the end of what it said.
    """
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-_SHOWN_LINES:])
        shown = " ".join(each for each in command if "_KEY=" not in each)
        raise BenchError(f"`{shown}` failed with {done.returncode}:\n{said}")
    return done.stdout.strip()


def _described(tree: Path) -> str:
    return run(["git", "-C", str(tree), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"])
