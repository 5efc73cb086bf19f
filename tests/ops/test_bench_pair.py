"""What `make bench-pair` concludes from its rounds and when it stops, and one short run of it."""

import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from kernelport import Client
from kernelport.supervisor.stack import Stack
from kernelport_ops.bench.generator import Generator
from kernelport_ops.bench.jobs.calls import tiny_items
from kernelport_ops.bench.pair.checkouts import Checkout, base_checkout
from kernelport_ops.bench.pair.loads import WholeJob
from kernelport_ops.bench.pair.rounds import (
    BASE,
    LEAST_ROUNDS,
    NEW,
    PRECISION,
    Comparison,
    Measurement,
    Round,
    Verdict,
    compare,
    ratio_interval,
    take_turns,
)
from kernelport_ops.bench.pair.stacks import Standing
from kernelport_ops.bench.processes import BenchError

REPOSITORY = Path(__file__).resolve().parents[2]


class Machine:
    """Two sides on a machine whose speed changes from turn to turn; a turn takes a second of its clock."""

    def __init__(self, ratio: float, noise: float = 0.0, drift: Callable[[float], float] = lambda _: 1.0) -> None:
        self.turns: list[str] = []
        self.asked: list[Sequence[str]] = []
        self._ratio = ratio
        self._noise = noise
        self._drift = drift
        self._rng = np.random.default_rng(0)

    def clock(self) -> float:
        return float(len(self.turns))

    def measure(self, side: str) -> Measurement:
        cost = self._drift(self.clock()) * math.exp(self._noise * self._rng.standard_normal())
        self.turns.append(side)
        cpu_s = cost * (self._ratio if side == NEW else 1)
        return Measurement(requests=1000, seconds=cpu_s, cpu_s={"stack": 0.9 * cpu_s, "redis": 0.1 * cpu_s})

    def start(self, loads: Sequence[str], number: int) -> Iterator[tuple[str, Round]]:
        self.asked.append(loads)
        for name in loads:
            yield name, take_turns(self.measure, 1, number)

    def compare(self, limit_s: float = 1200) -> Comparison:
        return self.compare_loads(["load"], limit_s)["load"]

    def compare_loads(self, loads: Sequence[str], limit_s: float = 1200) -> dict[str, Comparison]:
        found: dict[str, Comparison] = {}
        compare(self.start, loads, limit_s, found.__setitem__, self.clock)
        return found


def test_the_interval_is_that_of_students_t_over_logarithms() -> None:
    # Two rounds: the standard error is 0.1, and t with one degree of freedom reaches 12.706 of it.
    interval = ratio_interval([math.exp(0.2), 1.0])
    assert interval.middle == pytest.approx(math.exp(0.1))
    assert interval.low == pytest.approx(math.exp(0.1 - 1.2706), rel=1e-3)
    assert interval.high == pytest.approx(math.exp(0.1 + 1.2706), rel=1e-3)


def test_the_interval_has_the_true_ratio_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(0)
    intervals = [ratio_interval(np.exp(0.05 + 0.2 * rng.standard_normal(10)).tolist()) for _ in range(2000)]
    hits = sum(each.low <= math.exp(0.05) <= each.high for each in intervals)
    assert 0.935 < hits / len(intervals) < 0.965


@pytest.mark.parametrize(
    ("ratio", "verdict"), [(0.9, Verdict.NO_SLOWER), (1.0, Verdict.NO_SLOWER), (1.05, Verdict.SLOWER)]
)
def test_a_quiet_machine_decides_after_the_fewest_rounds(ratio: float, verdict: Verdict) -> None:
    machine = Machine(ratio, noise=0.001)
    comparison = machine.compare()
    assert (comparison.verdict, len(comparison.rounds)) == (verdict, LEAST_ROUNDS)
    assert comparison.cpu.middle == pytest.approx(ratio, rel=0.01)
    assert comparison.throughput.middle == pytest.approx(1 / ratio, rel=0.01)


def test_the_sides_take_turns_in_going_first() -> None:
    machine = Machine(ratio=1.0)
    machine.compare()
    assert machine.turns == [BASE, NEW, NEW, BASE] * (LEAST_ROUNDS // 2)


def test_turns_of_a_round_are_taken_together() -> None:
    machine = Machine(ratio=2.0)
    taken = take_turns(machine.measure, 4, 1)
    assert machine.turns == [NEW, BASE, BASE, NEW] * 2
    assert (taken.new.requests, taken.new.seconds) == (4000, 8)
    assert taken.base.cpu_s["stack"] == pytest.approx(3.6)
    assert taken.new.cpu_ms == 2 * taken.base.cpu_ms == 2


def test_a_load_that_is_decided_is_not_carried_again() -> None:
    machine = Machine(ratio=1.0, noise=0.05)
    found = machine.compare_loads(["one", "other"])
    rounds = {name: len(comparison.rounds) for name, comparison in found.items()}
    assert rounds["one"] != rounds["other"]
    assert [len(loads) for loads in machine.asked] == [2] * min(rounds.values()) + [1] * abs(
        rounds["one"] - rounds["other"]
    )


def test_a_machine_that_slows_down_all_the_time_favours_neither_side() -> None:
    machine = Machine(ratio=1.0, drift=lambda clock: 1.02**clock)
    comparison = machine.compare()
    assert comparison.cpu.middle == pytest.approx(1.0)
    assert comparison.cpu.low < 1 < comparison.cpu.high


def test_a_noisy_machine_takes_more_rounds_until_the_interval_is_narrow() -> None:
    comparison = Machine(ratio=1.0, noise=0.1).compare()
    assert comparison.verdict is Verdict.NO_SLOWER
    assert len(comparison.rounds) > 10 * LEAST_ROUNDS
    assert comparison.cpu.reach <= PRECISION


def test_what_is_not_known_when_the_time_is_over_is_undecided() -> None:
    machine = Machine(ratio=1.0, noise=0.2)
    comparison = machine.compare(limit_s=39)
    assert (comparison.verdict, len(comparison.rounds)) == (Verdict.UNDECIDED, 20)


def test_what_is_slower_beyond_doubt_is_slower_however_wide_the_interval() -> None:
    comparison = Machine(ratio=2.0, noise=0.2).compare(limit_s=39)
    assert comparison.cpu.reach > PRECISION
    assert comparison.verdict is Verdict.SLOWER


def test_what_is_no_slower_beyond_doubt_is_no_slower_however_wide_the_interval() -> None:
    comparison = Machine(ratio=0.5, noise=0.2).compare(limit_s=39)
    assert comparison.cpu.reach > PRECISION
    assert comparison.verdict is Verdict.NO_SLOWER


@pytest.mark.thorough
def test_a_run_compares_this_tree_with_a_commit(installed_head: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kernelport_ops.bench.pair", "--base", "HEAD", "--out", str(installed_head)]
    limits = ("--loads", "16B-1", "--minutes", "0.001", "--seconds", "0.2")
    done = subprocess.run([*command, *limits], capture_output=True, text=True, timeout=100, cwd=tmp_path, check=False)
    found = json.loads((installed_head / "pair.json").read_text())
    assert done.returncode in (1, 3), done.stdout + done.stderr  # so few rounds never say `no slower`
    assert found["complete"], done.stdout
    rounds = found["loads"]["16B-1"]["rounds"]
    assert len(rounds) == 2
    for measured in (each[side] for each in rounds for side in (NEW, BASE)):
        assert measured["requests"] > 0
        assert measured["cpu_s"].keys() == {"stack", "redis"}
        assert measured["cpu_s"]["stack"] > 0
    assert "16B-1" in (installed_head / "pair.txt").read_text()


@pytest.mark.thorough
def test_a_tree_is_compared_with_itself_without_a_setting(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kernelport_ops.bench.pair", "--with", "KERNELPORT_ACCESS_LOG=1"]
    limits = ["--loads", "16B-1", "--minutes", "0.001", "--seconds", "0.2", "--out", str(tmp_path)]
    done = subprocess.run([*command, *limits], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode in (1, 3), done.stdout + done.stderr
    assert json.loads((tmp_path / "pair.json").read_text())["with"] == ["KERNELPORT_ACCESS_LOG=1"]
    logged = {side: (tmp_path / "run" / side / "logs" / "front-door.log").read_text() for side in (NEW, BASE)}
    assert "kernelport.access: answered" in logged[NEW]
    assert "kernelport.access: answered" not in logged[BASE]


def test_a_job_is_measured_from_its_first_item_to_its_manifest_and_kept(stack: Stack) -> None:
    processes = {name: [child.pid] for name, child in stack.children.items() if child.pid is not None}
    load = WholeJob("identity-onnx", lambda: list(tiny_items(20)))
    with Client(stack.target, timeout_s=30) as client, Generator() as generator:
        before = {job.id for job in client.jobs.list()}
        measured = load.run(Standing(stack.target, processes), generator, seconds=0)
        (made,) = (job for job in client.jobs.list() if job.id not in before)
        assert made.progress.succeeded == 20
        client.jobs.delete(made.id, delete_outputs=True)
    assert measured.requests == 20
    assert measured.seconds > 0
    assert measured.cpu_s.keys() == processes.keys()


@pytest.fixture
def installed_head(tmp_path: Path) -> Iterator[Path]:
    """An output folder in which HEAD is installed already: its own code with this environment's packages."""
    commit = git(REPOSITORY, "rev-parse", "HEAD")
    tree = tmp_path / f"base-{commit[:12]}"
    git(REPOSITORY, "worktree", "add", "--detach", str(tree), commit)
    try:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", tree / ".venv"], check=True)
        (packages,) = (tree / ".venv").glob("lib/python*/site-packages")
        installed = next(path for path in sys.path if path.endswith("site-packages"))
        paths = [tree, *(tree / folder for folder in ("api", "workers", "ops")), installed]
        (packages / "tree.pth").write_text("\n".join(map(str, paths)))
        (tree / ".venv" / "installed-local").touch()
        yield tmp_path
    finally:
        git(REPOSITORY, "worktree", "remove", "--force", str(tree))


def test_a_commit_is_checked_out_and_installed_once(tmp_path: Path) -> None:
    repository, first = commits(tmp_path)
    checkout = base_checkout(repository, "HEAD~1", tmp_path / "out")
    assert (checkout.side, checkout.commit) == (BASE, first)
    assert (checkout.tree / "content").read_text() == "first"
    base_checkout(repository, "HEAD~1", tmp_path / "out")
    assert (checkout.tree / ".venv" / "installed-local").read_text() == "installed\n"


def test_a_base_that_is_not_as_its_commit_has_it_is_refused(tmp_path: Path) -> None:
    repository, first = commits(tmp_path)
    checkout = base_checkout(repository, first, tmp_path / "out")
    (checkout.tree / "content").write_text("changed")
    with pytest.raises(BenchError, match=rf"{checkout.tree} is not as {first} has it"):
        base_checkout(repository, first, tmp_path / "out")


def test_a_revision_that_is_not_there_is_refused(tmp_path: Path) -> None:
    repository, _ = commits(tmp_path)
    with pytest.raises(BenchError, match="no-such-tag"):
        base_checkout(repository, "no-such-tag", tmp_path / "out")


def test_an_environment_that_imports_another_tree_is_refused(tmp_path: Path) -> None:
    checkout = Checkout(NEW, "some commit", tmp_path, Path(sys.executable))
    with pytest.raises(BenchError, match=rf"imports .*/kernelport/__init__.py, expected a file in {tmp_path}"):
        checkout.check_imports()


def commits(folder: Path) -> tuple[Path, str]:
    """A repository of two commits, whose Makefile `installs` by noting it, and the first commit."""
    repository = folder / "repository"
    repository.mkdir()
    git(repository, "init", "--quiet")
    (repository / ".gitignore").write_text(".venv/\n")
    (repository / "Makefile").write_text(".venv/installed-local:\n\tmkdir -p .venv\n\techo installed >> $@\n")
    for content in ("first", "second"):
        (repository / "content").write_text(content)
        git(repository, "add", ".")
        git(repository, "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "--quiet", "-m", content)
    return repository, git(repository, "rev-parse", "HEAD~1")


def git(repository: Path, *arguments: str) -> str:
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
