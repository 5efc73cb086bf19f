"""Strict YAML files: reading them, and saying which field of which file is wrong, and what was expected there."""

import difflib
import json
import re
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import CoreSchema, ErrorDetails, core_schema

try:
    from yaml import CSafeLoader as _SafeLoader
except ImportError:  # a PyYAML without libyaml, whose parser takes a fraction of the time
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

_LONGEST_VALUE = 80
# Numbers such as 1e10, which YAML 1.1 takes for texts, and YAML 1.2 does not.
_EXPONENT = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+\Z")


class ConfigError(Exception):
    """A configuration file that is not as expected.

    Attributes:
        problems: one line per finding, such as
            `deployments.yaml: luxtts.batching.max_batch: expected an integer of at least 1, got "many"`.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems: tuple[str, ...] = tuple(problems)
        super().__init__("\n".join(self.problems))


class Expected:
    """Annotates a field with what a person should write: whatever fails in it is reported as `expected {what}`."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.custom_error_schema(
            handler(source),
            custom_error_type="expected",
            custom_error_message="expected {what}",
            custom_error_context={"what": self.what},
        )


Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False), Expected("a number of seconds above 0")]
Count = Annotated[int, Field(ge=1), Expected("an integer of at least 1")]


class Strict(BaseModel):
    """Base of all models of configuration: immutable, without unknown keys, without conversions between types."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _note_keys(cls, data: Any, info: ValidationInfo) -> Any:
        # pydantic's error about an unknown key does not tell which keys there are: `validate` finds them here.
        if info.context is not None:
            info.context[id(data)] = [field.alias or name for name, field in cls.model_fields.items()]
        return data


Model = TypeVar("Model", bound=Strict)


def read_yaml(path: Path) -> Any:
    """What a YAML file holds.

    Raises:
        ConfigError: when it cannot be read, is no YAML, or has keys twice or that are no text; it names the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: expected UTF-8 text"]) from error
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader that refuses duplicate keys
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ConfigError([f"{path}: {line}{error.problem}"]) from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError([f"{path}: {error}"]) from error


def as_yaml(data: Any) -> str:
    """What `read_yaml` reads as this data."""
    return yaml.dump(data, Dumper=_StrictDumper, sort_keys=False)


def validate(model: type[Model], data: Any, file: str, *, root: str | None = None) -> Model:
    """The model that a file's data describes.

    Args:
        file: the file, for the messages.
        root: a top-level key that the names of the fields below it leave out.

    Raises:
        ConfigError: with every finding, not only the first.
    """
    keys: dict[int, list[str]] = {}
    try:
        return model.model_validate(data, context=keys)
    except ValidationError as error:
        problems = [_problem(details, data, keys, root) for details in error.errors(include_url=False)]
        raise ConfigError(f"{file}: {problem}" for problem in problems) from error


def problem(file: str, field: str, expected: str, got: Any) -> str:
    """One finding, in the words that `validate` uses."""
    return f"{file}: {field}: expected {expected}, got {_show(got)}"


def _key_error(key: yaml.Node, finding: str) -> yaml.MarkedYAMLError:
    shown = f'"{key.value}"' if isinstance(key, yaml.ScalarNode) else "a list or a mapping"
    return yaml.MarkedYAMLError(problem=f"{finding} {shown}", problem_mark=key.start_mark)


class _StrictLoader(_SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.tag != "tag:yaml.org,2002:str":
                raise _key_error(key, "expected a text as key (in quotes if need be), got")
            if key.value in seen:
                raise _key_error(key, "duplicate key")
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


class _StrictDumper(yaml.SafeDumper):
    """Quotes the texts that `_StrictLoader` would take for numbers."""


for _class in (_StrictLoader, _StrictDumper):
    _class.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))


def _place(location: tuple[int | str, ...], data: Any) -> tuple[list[str], Any]:
    """Where in the file an error is, and the mapping or list around it.

    pydantic's location has parts that the file does not: the kind of a source, and the place in a list of what the file
    has by itself.
    """
    parts: list[str] = []
    around = data
    for index, key in enumerate(location):
        last = index == len(location) - 1
        if isinstance(data, dict) and (isinstance(key, int) or (not last and data.get("kind") == key)):
            continue
        parts.append(str(key))
        around = data
        if not last:
            data = data[key]
    return parts, around


def _problem(error: ErrorDetails, data: Any, keys: dict[int, list[str]], root: str | None) -> str:
    location, got, context = error["loc"], error["input"], error.get("ctx", {})
    if error["type"] == "expected" and location[-1] == "[key]":  # it is the key that is wrong, not what it holds
        location = location[:-1]
    parts, around = _place(location, data)
    match error["type"]:
        case "missing":
            finding = "required"
        case "union_tag_not_found":
            parts.append(_unquoted(context["discriminator"]))
            finding = "required"
        case "union_tag_invalid":
            parts.append(_unquoted(context["discriminator"]))
            finding = f"expected one of {_unquoted(context['expected_tags'])}, got {_show(context['tag'])}"
        case "extra_forbidden":
            finding = _unknown_key(parts[-1], keys[id(around)])
        case "literal_error":
            finding = f"expected {_unquoted(context['expected'])}, got {_show(got)}"
        case "too_short":
            finding = "expected at least one entry, got none"
        case "model_type" | "model_attributes_type" | "dict_type":
            finding = f"expected a mapping, got {_show(got)}"
        case "bool_type":
            finding = f"expected true or false, got {_show(got)}"
        case "tuple_type" | "list_type":
            finding = f"expected a list, got {_show(got)}"
        case "expected":
            finding = f"{error['msg']}, got {_show(got)}"
        case _:
            finding = error["msg"]
    path = ".".join(parts[1:] if len(parts) > 1 and parts[0] == root else parts)
    return f"{path}: {finding}" if path else finding


def _unknown_key(key: str, known: list[str]) -> str:
    finding = f"expected one of {', '.join(sorted(known))}, got {_show(key)}"
    close = difflib.get_close_matches(key, known, n=1)
    return f'{finding}; did you mean "{close[0]}"?' if close else finding


def _unquoted(names: str) -> str:
    return names.replace("'", "")


def _show(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."
