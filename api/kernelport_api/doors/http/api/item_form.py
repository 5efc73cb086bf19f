"""Files of items as forms bring them."""

import asyncio
import contextlib
import json
import re
import tempfile
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, get_args

from starlette.datastructures import FormData, UploadFile

from kernelport.client.item_files import SPLITS, ItemFile, ItemFileError, Kind, Report, detect
from kernelport.coercion import coerce, to_tensors
from kernelport.signature import Signature
from kernelport.v1.inference_pb2 import Tensor
from kernelport_api.doors.http.api.queries import checked, flag, invalid
from kernelport_api.doors.http.forms import copied
from kernelport_api.services.inference import Inference

# Of a file of items; it lies on the disk while it is read.
MOST_BYTES = 2**30
NUMBERS = ("priority", "deadline_unix_us", "deadline_in_s", "retention_s")
_FLAGS = ("delete_outputs", "skip_bad")
_MAPPINGS = ("metadata", "column")
_SUFFIXES = re.compile(r"[.\w]{1,32}", re.ASCII)


@dataclass(frozen=True)
class ItemForm:
    """A file of items that has been read once, and what its form says beside it.

    Attributes:
        source: hands its items out.
        report: what it holds.
        deployment: the name of the one that is to run them.
        shared: inputs of every item.
        skips_bad: whether bad rows are to be left out.
        fields: the other fields, as JSON would have them.
    """

    source: ItemFile
    kind: Kind
    report: Report
    deployment: str
    shared: list[Tensor]
    skips_bad: bool
    fields: dict[str, Any]


@contextlib.asynccontextmanager
async def item_form(form: FormData, inference: Inference, most_problems: int) -> AsyncIterator[ItemForm]:
    """Reads the file of a form; it is there until the end.

    Args:
        most_problems: how many findings about it are told.

    Raises:
        InvalidArgumentError: there is no file, or it or another field is not what it should be.
        NotFoundError: there is no such deployment.
    """
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise invalid("file", "expected a file of items")
    fields = _texts(form)
    deployment = str(fields.get("deployment", ""))
    signature = await signature_of(deployment, inference)
    shared = _shared(fields.pop("shared_inputs", "{}"), signature)
    with tempfile.TemporaryDirectory(prefix="kernelport-") as folder:
        path = Path(folder) / f"items{_suffixes(file.filename or '')}"
        try:
            await asyncio.to_thread(copied, file, path)
            kind = fields.pop("kind", None) or await asyncio.to_thread(detect, path)
            split = fields.pop("split", None) or None
            if kind not in get_args(Kind) or split not in (None, *SPLITS):
                expected = f"kind: {', '.join(get_args(Kind))}; split: {', '.join(SPLITS)}"
                raise invalid("kind", f"expected one of each of {expected}")
            source = ItemFile(
                path,
                kind,
                deployment,
                signature,
                shared=shared,
                columns=fields.pop("column", {}),
                ignored=fields.pop("ignore", ()),
                split=split,
                own_format=bool(fields.get("output_format")),
                aliases=inference.aliases(deployment),
            )
            report = await _checked(source, most_problems)
            skips_bad = fields.pop("skip_bad", False)
            yield ItemForm(source, kind, report, deployment, to_tensors(shared), skips_bad, fields)
        except ItemFileError as error:
            raise invalid("file", str(error).replace(str(path), "the file")) from error


async def _checked(source: ItemFile, most_problems: int) -> Report:
    """Reads a whole file in a thread, which ends soon after its caller has gone."""
    has_left = threading.Event()

    def go_on(_: int) -> None:
        if has_left.is_set():
            raise ItemFileError("nobody waits for what is found")

    try:
        return await asyncio.to_thread(source.check, go_on, most_problems)
    finally:
        has_left.set()


async def signature_of(deployment: str, inference: Inference) -> Signature:
    """What a deployment takes and gives; nothing where that is not known.

    Raises:
        InvalidArgumentError: none is named.
        NotFoundError: there is none of this name.
    """
    if not deployment:
        raise invalid("deployment", "expected the name of a deployment, got nothing")
    return await inference.signature(deployment) or Signature()


def _suffixes(name: str) -> str:
    """What a file's name says of its kind: its last two suffixes; nothing where no file here could have them."""
    found = "".join(PurePath(name).suffixes[-2:])
    return found if _SUFFIXES.fullmatch(found) else ""


def _shared(text: str, signature: Signature) -> dict[str, Any]:
    """The inputs that a form gives every item, as the deployment takes them."""
    given = checked(lambda: json.loads(text), "shared_inputs")
    if not isinstance(given, dict):
        raise invalid("shared_inputs", "expected an object as JSON")
    return coerce(given, signature)


def _texts(form: FormData) -> dict[str, Any]:
    """The fields of a form beside its file, as JSON would have them."""
    found: dict[str, Any] = {}
    for name, value in form.multi_items():
        if name == "file":
            continue
        if not isinstance(value, str):
            raise invalid(name[:64], "expected a text, got a file")
        mapping, _, key = name.partition(".")
        if key and mapping in _MAPPINGS:
            found.setdefault(mapping, {})[key] = value
        elif name == "ignore":
            found.setdefault(name, []).append(value)
        elif name in NUMBERS:
            found[name] = checked(lambda value=value: int(value), name)  # type: ignore[misc]
        else:
            found[name] = flag(name, value) if name in _FLAGS else value
    return found
