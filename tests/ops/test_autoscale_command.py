"""`kernelport autoscale` where it cannot do what it is for: what it says, and what it does not do instead."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from kernelport.config.scaling import Autoscale
from kernelport_ops.autoscale import __main__ as autoscaler
from tests.stack.models import pipeline


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A deployments file with a model that is scaled."""
    path = tmp_path / "deployments.yaml"
    path.write_text(yaml.safe_dump({"deployments": {"scaled": pipeline("Sleeper", scaling={"min": 1})}}))
    return path


def test_a_provider_that_nothing_makes_is_not_taken_for_the_local_one(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unmade = Autoscale.model_construct(provider="unmade")  # type: ignore[arg-type]
    monkeypatch.setattr(autoscaler, "load_autoscale", lambda path: unmade)
    told = CliRunner().invoke(
        autoscaler.command, ["--dry-run", "--deployments-file", str(file), "--state-dir", str(tmp_path / "state")]
    )
    assert told.exit_code == 1
    assert "autoscale.provider: nothing makes one for unmade and its options" in told.output
