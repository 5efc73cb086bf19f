"""Lua scripts for Redis: files in the folder `lua` of the package that runs them.

A script's first lines say what it takes and gives. A line `-- include NAME` stands for the file of that name, and a
line `-- keys NAME ...` for functions (`NAME_key`) and constants (`NAME`) that are made of kernelport.broker.keys: keys
are built in one place.
"""

import inspect
import re
from collections.abc import Callable
from importlib import resources

from kernelport.broker import keys

_DIRECTIVE = re.compile(r"^-- (include|keys) (.+)$", re.MULTILINE)
# What no key has in it stands for an argument.
_MARK = "\0"


class LuaFiles:
    """The scripts of a package.

    Args:
        package: its name; its folder `lua` has them.
        made: Lua that is made in Python, by the name under which scripts include it.
    """

    def __init__(self, package: str, **made: str) -> None:
        self._folder = resources.files(package) / "lua"
        self._made = made

    def source(self, name: str) -> str:
        """A script with all that it includes, each once."""
        return self._resolved(name, set())

    def _resolved(self, name: str, included: set[str]) -> str:
        if name in included:
            return ""
        included.add(name)

        def replacement(directive: re.Match[str]) -> str:
            what, names = directive[1], directive[2].split()
            if what == "include":
                return "\n".join(self._resolved(each, included) for each in names)
            return "\n".join(_from_keys(each) for each in names)

        source = self._made.get(name) or (self._folder / f"{name}.lua").read_text()
        return _DIRECTIVE.sub(replacement, source)


def _from_keys(name: str) -> str:
    """A definition in Lua of what kernelport.broker.keys has under a name."""
    value = getattr(keys, name)
    if isinstance(value, (int, float)):
        return f"local {name} = {value}"
    if isinstance(value, str):
        return f"local {name} = '{value}'"
    return _function(f"{name}_key", value)


def _function(name: str, key: Callable[..., str]) -> str:
    """A function of Lua that builds the same key; arguments that have defaults may be left out from behind."""
    parameters = inspect.signature(key).parameters.values()
    names = [each.name for each in parameters]
    required = [each.name for each in parameters if each.default is each.empty]
    bodies = [
        f"if {given[-1]} then return {_expression(key, given)} end"
        for count in range(len(names), len(required), -1)
        if (given := names[:count])
    ]
    bodies.append(f"return {_expression(key, required)}")
    return f"local function {name}({', '.join(names)}) {' '.join(bodies)} end"


def _expression(key: Callable[..., str], given: list[str]) -> str:
    parts = re.split(f"{_MARK}(\\w+){_MARK}", key(*(f"{_MARK}{each}{_MARK}" for each in given)))
    return " .. ".join(part if index % 2 else f"'{part}'" for index, part in enumerate(parts) if part)
