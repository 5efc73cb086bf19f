"""Jobs that are submitted over HTTP: as JSON, or as a file of items."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from starlette.datastructures import FormData
from starlette.types import ASGIApp

from kernelport.client.item_files import Problem
from kernelport.client.item_files.reading import MAX_PROBLEMS
from kernelport.coercion import coerce, to_tensors
from kernelport.enums import word
from kernelport.errors import FieldViolation, InvalidArgumentError, KernelPortError
from kernelport.items import NO_ITEMS, running_digests
from kernelport.jobs.shapes import job_dict
from kernelport.signature import Signature
from kernelport.v1 import job_pb2 as pb
from kernelport_api.doors.http.answers import json_answer
from kernelport_api.doors.http.api.item_form import NUMBERS, item_form, signature_of
from kernelport_api.doors.http.api.queries import checked, field, invalid, known
from kernelport_api.doors.http.endpoint import OVER_HTTP, HttpCall
from kernelport_api.doors.texts import with_short_texts
from kernelport_api.services.inference import Inference
from kernelport_api.services.jobs.service import Jobs

_PORTION_ITEMS, _PORTION_BYTES = 5000, 2**20
# By their words.
OUTPUT_FORMATS: Mapping[str, Any] = {word(name): value for name, value in pb.OutputFormat.items()[1:]}
_SPEC_KEYS = (
    "deployment",
    "output_format",
    "outputs",
    "priority",
    "metadata",
    "deadline_unix_us",
    "deadline_in_s",
    "retention_s",
    "delete_outputs",
)
_KEYS = (*_SPEC_KEYS, "shared_inputs", "items", "request_id")


class Submitting:
    """Makes jobs."""

    def __init__(self, jobs: Jobs, inference: Inference) -> None:
        self._jobs = jobs
        self._inference = inference

    async def submit(self, call: HttpCall) -> ASGIApp:
        """Makes a job of a JSON object, or of a form with a file of items."""
        job = await self._of_form(call.form) if call.form else await self._of_json(await call.json())
        return json_answer(job_dict(job), status=201)

    async def run(self, spec: pb.JobSpec, items: Iterator[pb.NewItem], request_id: str) -> pb.Job:
        """Makes a job of items and seals it. A job that cannot have all of them is not left behind."""
        request = with_short_texts(pb.SubmitJobRequest(spec=spec, open=True, request_id=request_id))
        try:
            made = await self._jobs.SubmitJob(request, OVER_HTTP)
        except InvalidArgumentError as error:  # over HTTP the keys of a spec stand beside the items
            keys = (FieldViolation(each.field.removeprefix("spec."), each.description) for each in error.violations)
            raise InvalidArgumentError.of(keys) from error
        try:
            added = await self._jobs.AddItems(_portions(made.job.id, items), OVER_HTTP)
            return pb.Job.FromString(added.job.SerializeToString())
        except BaseException:
            if not made.existed:
                with contextlib.suppress(KernelPortError):
                    await asyncio.shield(self._discard(made.job.id))
            raise

    async def _discard(self, job_id: str) -> None:
        await self._jobs.CancelJob(pb.CancelJobRequest(job_id=job_id), OVER_HTTP)
        await self._jobs.DeleteJob(pb.DeleteJobRequest(job_id=job_id, delete_outputs=True), OVER_HTTP)

    async def _of_json(self, body: Any) -> pb.Job:
        given = known(body, *_KEYS)
        signature = await signature_of(field(given, "deployment", str, ""), self._inference)
        spec = _spec(given)
        spec.shared_inputs.extend(to_tensors(coerce(field(given, "shared_inputs", dict, {}), signature)))
        items = await asyncio.to_thread(lambda: list(_items(field(given, "items", list, []), signature)))
        if not items:
            raise invalid("items", "expected at least one")
        return await self.run(spec, iter(items), field(given, "request_id", str, ""))

    async def _of_form(self, form: FormData) -> pb.Job:
        async with item_form(form, self._inference, MAX_PROBLEMS) as given:
            report = given.report
            if report.problems and (report.fatal or not given.skips_bad):
                raise InvalidArgumentError.of(map(_violation, report.problems))
            fields = {**given.fields, "output_format": given.fields.get("output_format") or report.output_format or ""}
            request_id = str(fields.pop("request_id", ""))
            spec = _spec(known(fields, *_SPEC_KEYS))
            spec.shared_inputs.extend(given.shared)
            return await self.run(spec, given.source.items(), request_id)


def _spec(given: Mapping[str, Any]) -> pb.JobSpec:
    wanted = field(dict(given), "output_format", str, "")
    if wanted and wanted not in OUTPUT_FORMATS:
        raise invalid("output_format", f"expected one of {', '.join(OUTPUT_FORMATS)}, got {wanted[:64]!r}")
    spec = pb.JobSpec(deployment=given.get("deployment", ""), output_format=OUTPUT_FORMATS.get(wanted, 0))
    spec.outputs.extend(_names(given))
    for name in NUMBERS:
        number = field(dict(given), name, int, 0)
        checked(lambda name=name, number=number: setattr(spec, name, number), name)  # type: ignore[misc]
    spec.delete_outputs = field(dict(given), "delete_outputs", bool, False)
    for key, value in field(dict(given), "metadata", dict, {}).items():
        if not isinstance(value, str):
            raise invalid("metadata", f"expected texts, got {value!r:.64} for {key[:64]!r}")
        spec.metadata[key] = value
    return spec


def _names(given: Mapping[str, Any]) -> list[str]:
    """The names of wanted outputs: a list of them, or the text of a form, with commas between them."""
    wanted = given.get("outputs") or []
    names = wanted.split(",") if isinstance(wanted, str) else wanted
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise invalid("outputs", f"expected a list of names, got {wanted!r:.64}")
    return names


def _items(given: list[Any], signature: Signature) -> Iterator[pb.NewItem]:
    """Items as JSON has them: a text each, or an object with `id` and `inputs`."""
    for index, each in enumerate(given):
        place = f"items[{index}]"
        if not isinstance(each, (str, dict)):
            raise invalid(place, f"expected a text, or an object with id and inputs; got {each!r:.64}")
        item = {"inputs": {"text": each}} if isinstance(each, str) else known(each, "id", "inputs")
        item_id = field(item, "id", str, f"{index + 1:06}")
        try:
            yield pb.NewItem(id=item_id, inputs=to_tensors(coerce(field(item, "inputs", dict, {}), signature)))
        except InvalidArgumentError as error:
            raise InvalidArgumentError.of(
                FieldViolation(f"{place}.{found.field}", found.description) for found in error.violations
            ) from error


def _violation(problem: Problem) -> FieldViolation:
    return FieldViolation(f"file:{problem.line}: {problem.field}".removesuffix(": "), problem.finding)


async def _portions(job_id: str, items: Iterator[pb.NewItem]) -> AsyncIterator[pb.AddItemsRequest]:
    """The messages that bring a job its items, the last of which seals it."""
    offset, digest = 0, NO_ITEMS
    while True:
        portion = await asyncio.to_thread(_portion, items)
        if portion:
            digest = (await asyncio.to_thread(running_digests, digest, portion))[-1]
        yield pb.AddItemsRequest(job_id=job_id, offset=offset, items=portion, digest=digest, seal=not portion)
        offset += len(portion)
        if not portion:
            return


def _portion(items: Iterator[pb.NewItem]) -> list[pb.NewItem]:
    size, portion = 0, []
    for item in itertools.islice(items, _PORTION_ITEMS):
        portion.append(item)
        size += item.ByteSize()
        if size > _PORTION_BYTES:
            break
    return portion
