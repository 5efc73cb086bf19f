"""Code that is not there is told with the mistakes of a deployments file, and none of it is run."""

from pathlib import Path

import pytest

from kernelport.config.code import load_to_run
from kernelport.config.schema import ConfigError

ABSENT = {
    "gone": "pipeline: 'no_such_package:Model'",
    "lost": "pipeline: 'package.inner.missing:Model'",
    "kernel": "kernel: 'package.absent:softmax'",
}
THERE = {"here": "pipeline: 'package.inner.there:Model'", "ours": "pipeline: 'kernelport_workers.pipelines.hibari:X'"}
MISTAKE = "wrong: {backend: helion, pipeline: 'p:X', batching: {max_batch: many}}"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A deployments file beside a package that cannot be imported."""
    (tmp_path / "package" / "inner").mkdir(parents=True)
    for name in ("package/__init__.py", "package/inner/__init__.py", "package/inner/there.py", "p.py"):
        (tmp_path / name).write_text("raise RuntimeError('imported')")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "mine.yaml"


def test_code_that_is_not_there_is_among_the_findings(file: Path) -> None:
    entries = [f"{name}: {{backend: helion, {reference}}}" for name, reference in (ABSENT | THERE).items()]
    file.write_text("\n  ".join(["deployments:", *entries, MISTAKE]))
    with pytest.raises(ConfigError) as error:
        load_to_run(file)
    fields = [problem.removeprefix(f"{file}: ").partition(":")[0] for problem in error.value.problems]
    assert fields == ["wrong.batching.max_batch", "gone.pipeline", "lost.pipeline", "kernel.kernel"]


def test_code_that_is_not_there_alone_is_no_mistake(file: Path) -> None:
    file.write_text(f"deployments: {{gone: {{backend: helion, {ABSENT['gone']}}}}}")
    assert list(load_to_run(file)) == ["gone"]
