"""docs/autoscaling.md shows every option of the deployments file that the autoscaler goes by."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest
import yaml

from kernelport.config.scaling import Autoscale, Scaling
from kernelport.config.schema import Strict
from tests.docs.pages import blocks

PAGE = "docs/autoscaling.md"
(SHOWN,) = (yaml.safe_load(block.text) for block in blocks(PAGE) if block.language == "yaml")


@pytest.mark.parametrize(
    ("model", "shown"), [(Autoscale, SHOWN["autoscale"]), (Scaling, SHOWN["deployments"]["luxtts"]["scaling"])]
)
def test_each_option_is_shown(model: type[Strict], shown: dict[str, Any]) -> None:
    missing = ", ".join(sorted({*_options(model)} - {*_keys(shown)}))
    assert not missing, f"expected {missing} of {model.__name__} in {PAGE}"


def _options(model: type[Strict], above: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield f"{above}{name}"
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, Strict):
                yield from _options(kind, f"{above}{name}.")


def _keys(shown: dict[str, Any], above: str = "") -> Iterator[str]:
    for name, value in shown.items():
        yield f"{above}{name}"
        if isinstance(value, dict):
            yield from _keys(value, f"{above}{name}.")
