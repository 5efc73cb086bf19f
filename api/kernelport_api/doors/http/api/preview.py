"""What would become of a file of items, before anything is queued."""

import asyncio
import itertools
from typing import Any

from starlette.types import ASGIApp

from kernelport.client.item_files import ItemFile
from kernelport.items import TEXT_INPUT
from kernelport.jobs.inputs import Inputs
from kernelport.v1.job_pb2 import NewItem
from kernelport_api.doors.http.answers import json_answer
from kernelport_api.doors.http.api.item_form import item_form
from kernelport_api.doors.http.endpoint import HttpCall
from kernelport_api.services.inference import Inference
from kernelport_api.services.jobs.estimates import Estimates

_FIRST_ITEMS = 20
_MOST_CHARACTERS = 1000
_MOST_PROBLEMS = 1000


class Preview:
    """Reads files as a submission would."""

    def __init__(self, inference: Inference, estimates: Estimates) -> None:
        self._inference = inference
        self._estimates = estimates

    async def tell(self, call: HttpCall) -> ASGIApp:
        """What a form with a file of items would become: its first items, what was understood of it, every bad line,
        and an estimate of what the job would take."""
        async with item_form(call.form, self._inference, _MOST_PROBLEMS) as given:
            report = given.report
            return json_answer(
                {
                    "kind": given.kind,
                    "items": report.items,
                    "bad": report.bad,
                    "problems": [
                        {"line": each.line, "field": each.field, "finding": each.finding} for each in report.problems
                    ],
                    "problem_count": report.problem_count,
                    "fatal": report.fatal,
                    "sources": report.sources,
                    "left_out": list(report.left_out),
                    "notes": report.notes,
                    "output_format": report.output_format,
                    "first": await asyncio.to_thread(_first, given.source),
                    "estimate": await self._estimates.of(given.deployment, report.cost),
                }
            )


def _first(source: ItemFile) -> list[dict[str, Any]]:
    return [
        {"id": item.id, "text": _text(item), "inputs": Inputs({}).described(_others(item))}
        for item in itertools.islice(source.items(), _FIRST_ITEMS)
    ]


def _text(item: NewItem) -> str | None:
    """Its text, as far as it is worth showing; None when it has none."""
    for tensor in item.inputs:
        if tensor.name == TEXT_INPUT:
            return tensor.data[: 4 * _MOST_CHARACTERS].decode(errors="replace")[:_MOST_CHARACTERS]
    return None


def _others(item: NewItem) -> list[Any]:
    return [tensor for tensor in item.inputs if tensor.name != TEXT_INPUT]
