"""Readers that need no running stack: files of items and what is in them, arrays, recordings, settings, deployments,
and what Redis holds."""

import gzip
import io
import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import yaml
from hypothesis import strategies as st

from kernelport import npz
from kernelport.broker import stored
from kernelport.broker.queues import MessageError, celery_message, check_entry, job_message, read_batch, read_message
from kernelport.client.item_files import ItemFile, ItemFileError, detect, model_of
from kernelport.client.item_files.opening import _zstd
from kernelport.coercion import ValueProblem, array_of, from_text
from kernelport.config.deployments import deployment_names, load_autoscale, load_deployments
from kernelport.config.manifests import load_manifest
from kernelport.config.schema import ConfigError
from kernelport.config.settings import Settings, SettingsError, bundled_deployments
from kernelport.internal.v1.job_store_pb2 import BatchResult, Page
from kernelport.internal.v1.queue_pb2 import Batch
from kernelport.jobs.item_records import items_of, page_of, result_of
from kernelport.jobs.records import JobRecord, job_id_of
from kernelport.jobs.webhooks import addresses
from kernelport.jobs.webhooks.events import Pending, Told
from kernelport.jobs.webhooks.signing import secret_problem
from kernelport.names import file_name
from kernelport.recordings import RecordingError, decode
from kernelport.signature import Declared, Signature, tensor_spec
from kernelport.stacking import Stacking
from kernelport.tensors import NUMPY_DTYPES
from kernelport.v1 import inference_pb2 as pb
from kernelport.v1 import job_pb2
from kernelport_api.services.inputs import input_violations
from tests.fuzz.target import Target, expect
from tests.fuzz.values import floats, garbled, json_values, messages, numbers, serialized, texts

# An input of every dtype, of every kind of shape, with limits and without.
SIGNATURE = Signature(
    inputs=[
        tensor_spec("text", pb.U8, ["bytes"], max_characters=100),
        tensor_spec("speed", pb.F32, [1], optional=True, minimum=0.5, maximum=2.0),
        tensor_spec("mixed", pb.F16, ["n"], optional=True, other_dtypes=[pb.BF16, pb.F64]),
        *(tensor_spec(f"any_{dtype}", dtype, None, optional=True) for dtype in NUMPY_DTYPES),
    ]
)
_SPECS = {spec.name: spec for spec in SIGNATURE.inputs}
_RECORDING_EXAMPLES = 10


def readers(folder: Path) -> list[Target]:
    """Every one of them.

    Args:
        folder: for the files that they read.
    """
    values = folder / "values"
    values.mkdir(parents=True)
    for name, data in _sound_arrays():
        (values / name).write_bytes(data)
    return [
        Target("item-files", _item_files(), lambda example: _read_items(folder, values, *example)),
        Target("item-fields", st.tuples(st.sampled_from(list(_SPECS)), json_values), _read_field),
        Target("arrays", _arrays(), lambda example: _read_array(folder, *example)),
        Target("recordings", _recordings(), _read_recording, most=_RECORDING_EXAMPLES),
        Target("settings", _environments(), _read_settings),
        Target("deployments", _documents(), lambda text: _read_documents(folder, text)),
        Target("entries", _entries(), _read_entry),
        Target("records", _records(), _read_record),
        Target("signatures", messages(Signature), _read_signature),
        Target("webhooks", st.tuples(texts, texts), _read_webhook),
    ]


def _allowing(errors: type[Exception] | tuple[type[Exception], ...], *calls: Callable[[], Any]) -> None:
    """Makes calls that may raise these errors and no others."""
    for call in calls:
        with suppress(errors):
            call()


@st.composite
def _item_files(draw: Any) -> tuple[str, bytes]:
    """A name and what the file holds."""
    ending = draw(st.sampled_from([".csv", ".tsv", ".jsonl", ".json", ".txt", ".ndjson", "", ".CSV.gz", ".jsonl.zst"]))
    columns = ["id", "TEXT", *_SPECS, "custom_id", "body"]
    column = st.sampled_from(columns) | texts
    if ending.lower().startswith((".csv", ".tsv")) or draw(st.booleans()):
        cell = texts | json_values.map(json.dumps) | st.sampled_from(['"', '"a, b"', "@a.npy", "@a.npz", "@no", "1"])
        separator = draw(st.sampled_from([",", ";", "\t"]))
        header = draw(st.just(["id", "text"]) | st.lists(column, min_size=1, max_size=5))
        rows = [header, *draw(st.lists(st.lists(cell, min_size=len(header), max_size=len(header)), max_size=4))]
        lines = [separator.join(row) for row in rows]
    else:
        row = st.dictionaries(column, json_values, max_size=4) | st.fixed_dictionaries({"text": texts, "id": texts})
        lines = draw(st.lists((row | _requests() | json_values).map(json.dumps) | texts, max_size=5))
    text = draw(st.sampled_from(["\n", "\r\n", "\r"])).join(lines)
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "latin-1"]))
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    data = draw(garbled(st.just(mark + text.encode(encoding, "replace"))))
    compressed: Callable[[bytes], bytes] = draw(st.sampled_from([bytes, bytes, gzip.compress, _zstd().compress]))
    return f"items{ending}", draw(garbled(st.just(compressed(data))) | st.just(compressed(data)))


def _requests() -> st.SearchStrategy[dict[str, Any]]:
    """Requests of the OpenAI batch API."""
    body = st.dictionaries(st.sampled_from(["model", "input", "voice", "speed", "response_format"]), json_values)
    url = st.sampled_from(["/v1/audio/speech"]) | texts
    return st.fixed_dictionaries({"custom_id": texts, "method": st.just("POST"), "url": url, "body": body})


def _read_items(folder: Path, values: Path, name: str, data: bytes) -> None:
    path = folder / name
    path.write_bytes(data)
    for signature in (SIGNATURE, Signature()):
        with suppress(ItemFileError):
            model_of(path)
            kind = detect(path)
            file = ItemFile(path, kind, "deployment", signature, files=values)
            report = file.check()
            items = list(file.items())
            expect(len(items) == report.items, f"{report.items} items are good, {len(items)} are handed out")
            expect(report.problem_count >= report.bad, f"{report.bad} bad rows, {report.problem_count} problems")
            for item in items:
                _check_item(item, signature)


def _check_item(item: job_pb2.NewItem, signature: Signature) -> None:
    """What a file's reader takes for good, the front door takes."""
    file_name(item.id, "wav")
    found = list(input_violations(item.inputs, item.ByteSize()))
    if signature.inputs:
        found += Declared(signature.inputs).violations(item.inputs)
    expect(not found, f"the item {item.id!r} is said to be good: {found}")


def _read_field(example: tuple[str, Any]) -> None:
    name, value = example
    text = value if isinstance(value, str) else json.dumps(value)
    spec = _SPECS[name]
    _allowing(ValueProblem, lambda: array_of(spec, value), lambda: array_of(spec, from_text(spec, text)))


def _sound_arrays() -> Iterable[tuple[str, bytes]]:
    strings = np.array([b"a", b"b\0", b""], object)
    for name, arrays in (("a.npz", {"x": np.ones((2, 3), np.float32)}), ("s.npz", {"s": strings, "": np.zeros(0)})):
        file = io.BytesIO()
        npz.write(file, arrays)
        yield name, file.getvalue()
    for name, array in (("a.npy", np.ones((1,), np.float32)), ("b.npy", np.array([["x"]])), ("c.npy", np.int64(3))):
        file = io.BytesIO()
        np.save(file, array, allow_pickle=False)
        yield name, file.getvalue()


def _arrays() -> st.SearchStrategy[tuple[str, bytes]]:
    files = st.sampled_from(list(_sound_arrays()))
    return files.flatmap(lambda file: st.tuples(st.just(file[0]), garbled(st.just(file[1]))))


def _read_array(folder: Path, name: str, data: bytes) -> None:
    path = folder / f"array{Path(name).suffix}"
    path.write_bytes(data)
    _allowing((ValueError, OSError), lambda: npz.read(path) if path.suffix == ".npz" else npz.read_npy(path))


def recording(kind: str = "WAV", subtype: str | None = None) -> bytes:
    """A file with two seconds of sound."""
    wave = np.sin(np.arange(16_000) / 5).astype(np.float32) / 2
    file = io.BytesIO()
    soundfile.write(file, np.stack([wave, -wave / 2], axis=1), 8000, format=kind, subtype=subtype)
    return file.getvalue()


def _recordings() -> st.SearchStrategy[bytes]:
    kinds = [("WAV", "PCM_16"), ("WAV", "DOUBLE"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("MP3", None)]
    sound = [recording(*kind) for kind in kinds]
    return garbled(st.sampled_from(sound)) | st.binary(max_size=100)


def _read_recording(audio: bytes) -> None:
    _allowing(RecordingError, lambda: decode(audio, 10.0))


def _environments() -> st.SearchStrategy[dict[str, str]]:
    names = st.sampled_from([name.upper() for name in Settings.__dataclass_fields__])
    value = texts | numbers.map(str) | floats.map(str) | st.sampled_from(["rediss://h?db=1", "unix:///x", "1GiB"])
    return st.dictionaries(names.map("KERNELPORT_{}".format), value, max_size=4)


def _read_settings(environment: dict[str, str]) -> None:
    _allowing(SettingsError, lambda: Settings.from_environment(environment).to_environment())


@st.composite
def _documents(draw: Any) -> str:
    """The text of a deployments file or a manifest: a sound one with parts of it replaced, or what is no such thing."""
    paths = [bundled_deployments(), *(bundled_deployments().parent / "models").glob("*.yaml")]
    document = yaml.safe_load(draw(st.sampled_from(paths)).read_text())
    for _ in range(draw(st.integers(0, 3))):
        around: Any = document
        while around:
            key = draw(st.sampled_from(list(around) if isinstance(around, dict) else list(range(len(around)))))
            if not isinstance(around[key], (dict, list)) or draw(st.integers(0, 3)) == 0:
                around[key] = draw(json_values)
                break
            around = around[key]
    text = yaml.safe_dump(document, sort_keys=False)
    return draw(st.just(text) | garbled(st.just(text.encode())).map(lambda data: data.decode(errors="replace")) | texts)


def _read_documents(folder: Path, text: str) -> None:
    path = folder / "document.yaml"
    path.write_text(text)
    for read in (load_deployments, deployment_names, load_autoscale, load_manifest):
        _allowing(ConfigError, lambda read=read: read(path))  # type: ignore[misc]


@st.composite
def _entries(draw: Any) -> bytes:
    """Entries of a queue."""
    batch = draw(messages(Batch, {"deployment": st.just("known"), "id": st.just("a"), "front_door": st.just("b")}))
    sound = [celery_message(batch), job_message(draw(texts), draw(texts))]
    entry = json.loads(draw(st.sampled_from(sound)))
    if draw(st.booleans()):
        part = draw(st.sampled_from([entry, entry["headers"], entry["properties"]]))
        part[draw(st.sampled_from(sorted(part)))] = draw(json_values)
    return draw(garbled(st.just(json.dumps(entry).encode())) | st.just(b"[" * 100_000) | st.binary(max_size=40))


def _read_entry(entry: bytes) -> None:
    def read() -> None:
        queued = read_message(entry)
        if isinstance(queued.args[0], bytes):
            read_batch(queued.args[0], ["known"])

    _allowing(MessageError, lambda: check_entry(entry), read)


def _records() -> st.SearchStrategy[tuple[dict[bytes, bytes], bytes, bytes, bytes]]:
    """The fields of hashes, a page, a result, states."""
    of_jobs = "state spec items succeeded reason sealed ending created started finished audio_us deployment"
    of_webhooks = "event kind done at tries since body then_done then_finished"
    field = st.sampled_from(f"{of_jobs} {of_webhooks}".encode().split())
    value = st.sampled_from([b"running", b"succeeded", b"cancelled", b"1", b"-1", b"9" * 18, b"9" * 19, b"", b"\xff"])
    fields = st.dictionaries(field, value | st.binary(max_size=20) | serialized(job_pb2.JobSpec), max_size=12)
    return st.tuples(fields, serialized(Page), serialized(BatchResult), st.binary(max_size=4))


def _read_record(example: tuple[dict[bytes, bytes], bytes, bytes, bytes]) -> None:
    fields, page, result, states = example
    record = JobRecord("0" * 11 + "-" + "0" * 8, {b"state": b"running", **fields})

    def read_items() -> None:
        list(items_of(record, page_of(page, record.id, 0), states, states, {}))

    _allowing(
        stored.StoredError,
        record.job,
        lambda: record.state,
        lambda: record.ended("failed", "x", 1).job(),
        read_items,
        lambda: result_of(result, "log"),
        lambda: Told.of(fields, "hook"),
        lambda: Pending.of(fields, "hook"),
        lambda: job_id_of(states, "jobs"),
    )


def _read_signature(signature: Signature) -> None:
    """One of a worker that is not ours, and an input as it is told there."""
    declared, stacking = Declared(signature.inputs), Stacking.of(signature)
    inputs = [pb.Tensor(name=spec.name, dtype=pb.F32, shape=[1], data=bytes(4)) for spec in signature.inputs]
    list(declared.violations(inputs))
    if stacking is not None:
        stacking.share(inputs)


def _read_webhook(example: tuple[str, str]) -> None:
    for url in (*example, f"http://{example[0]}", f"https://{example[0]}:{example[1]}/{example[0]}"):
        if addresses.refusal(url, ()) is None:
            addresses.masked(url)
    secret_problem(f"whsec_{example[1]}")
