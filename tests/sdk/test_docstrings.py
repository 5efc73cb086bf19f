"""What is public says what it takes and what it raises."""

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import kernelport


def public() -> Iterator[tuple[str, Callable[..., Any], str]]:
    """Every public function of the package: its name, itself, and what the docstring of its class says."""
    for name in kernelport.__all__:
        value = getattr(kernelport, name)
        if inspect.isfunction(value):
            yield name, value, ""
        elif inspect.isclass(value) and value.__module__.startswith("kernelport.") and "_pb2" not in value.__module__:
            assert value.__doc__, name
            for method, found in vars(value).items():
                function = found.__func__ if isinstance(found, (classmethod, staticmethod)) else found
                if inspect.isfunction(function) and not method.startswith("_"):
                    yield f"{name}.{method}", function, inspect.cleandoc(value.__doc__)


@pytest.mark.parametrize(("name", "function", "of_class"), [pytest.param(*each, id=each[0]) for each in public()])
def test_a_docstring_tells_every_parameter_and_error(name: str, function: Callable[..., Any], of_class: str) -> None:
    told = inspect.getdoc(function)
    assert told
    parameters = [each for each in inspect.signature(function).parameters if each not in ("self", "cls")]
    if name not in SHORT:
        missing = [each for each in parameters if not re.search(rf"^    {each}: ", told, re.MULTILINE)]
        assert not missing, missing
    if inspect.getsource(function).count("raise ") or "await " in inspect.getsource(function):
        assert "Raises:" in told or "Every call raises" in of_class


# Their one parameter is what their first line is about.
SHORT = ("InferResult.of", "Speech.of", "Speech.save", "KernelPortError.of", "JobState.of", "ItemState.of")
