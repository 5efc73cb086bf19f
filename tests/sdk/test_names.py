"""What says whom or what a call is about is given, and a name."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernelport import Client, InvalidArgumentError
from kernelport.client.access.sync import Access
from kernelport.client.jobs import Jobs
from kernelport.v1 import job_pb2 as pb

NAMES = ("model", "deployment", "name", "letter_id", "job_id", "item_id", "key")
# Of what else a method asks for.
GIVEN: dict[str, Any] = {
    "inputs": [{"x": np.ones((1, 1, 1, 1), np.float32)}],
    "text": "Hi.",
    "audio": b"RIFF",
    "consent": "made for a test",
    "owner": "tests",
    "items": ["Hi."],
    "item": pb.Item(id="a", file="a.wav"),
    "scopes": ["infer"],
    "quotas": {},
}


def nameless() -> Iterator[Any]:
    """Every public method of a client with each name that it needs: where it is, what it is called, and the name."""
    for room, kind in (("", Client), ("jobs", Jobs), ("access", Access)):
        for method, function in inspect.getmembers(kind, inspect.isfunction):
            for name, parameter in inspect.signature(function).parameters.items():
                if name in NAMES and parameter.default is inspect.Parameter.empty and not method.startswith("_"):
                    yield pytest.param(room, method, name, id=f"{room}.{method}({name})".lstrip("."))


@pytest.mark.parametrize(("room", "method", "name"), list(nameless()))
def test_none_is_no_name(room: str, method: str, name: str, client: Client, tmp_path: Path) -> None:
    call = getattr(getattr(client, room) if room else client, method)
    given = {**GIVEN, **dict.fromkeys(NAMES, "a"), "folder": tmp_path / "out", name: None}
    asked = [
        each.name
        for each in inspect.signature(call).parameters.values()
        if each.default is each.empty and each.kind is not each.VAR_KEYWORD
    ]
    with pytest.raises(InvalidArgumentError, match="expected a name, got None") as refused:
        next(iter(call(**{each: given[each] for each in asked})))
    assert refused.value.field == {"letter_id": "id"}.get(name, name)
    assert not (tmp_path / "out").exists()


def test_all_that_has_names_is_looked_at() -> None:
    assert len(list(nameless())) > 30


@pytest.mark.parametrize("item", [None, "my-id"])
def test_what_is_fetched_is_an_item(item: Any, client: Client, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="item: expected an Item, as `items` gives it, got "):
        client.jobs.fetch("j", item, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_word_is_no_list_of_names(client: Client) -> None:
    """Its letters are not."""
    mistakes = ("scopes", {"scopes": "infer"}), ("deployments", {"scopes": ["infer"], "deployments": "luxtts"})
    for field, more in mistakes:
        with pytest.raises(InvalidArgumentError, match=f"{field}: expected a list of names, got "):
            client.access.create_key("k", **more)
