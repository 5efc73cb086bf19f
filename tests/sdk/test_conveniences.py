"""What people expect of a client: many requests at once, files in and out, results as mappings."""

import asyncio
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import kernelport
from kernelport import (
    AsyncClient,
    Client,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    Speech,
    load_outputs,
    npz,
)
from kernelport.supervisor.stack import Stack
from tests.sdk.servers import Echo, serving

ONNX, VOICE = "identity-onnx", "hibari-en"


def x(number: int) -> dict[str, np.ndarray]:
    return {"x": np.full((1, 1, 1, 1), number, np.float32)}


def y(result: kernelport.InferResult) -> int:
    return int(result["y"].item())


def test_many_requests_come_back_in_order(client: Client) -> None:
    assert [y(result) for result in client.map(ONNX, map(x, range(200)), concurrency=16)] == list(range(200))
    unordered = {index: y(result) for index, result in client.map_unordered(ONNX, map(x, range(50)))}
    assert unordered == {index: index for index in range(50)}
    assert list(client.map(ONNX, [])) == []


async def test_many_requests_come_back_in_order_to_asyncio(stack: Stack) -> None:
    async with AsyncClient(stack.target, timeout_s=30) as client:
        assert [y(r) async for r in client.map(ONNX, map(x, range(200)), concurrency=16)] == list(range(200))
        unordered = {index: y(r) async for index, r in client.map_unordered(ONNX, map(x, range(50)))}
        assert unordered == {index: index for index in range(50)}


class Slow(Echo):
    """Counts the calls on their way."""

    def __init__(self) -> None:
        super().__init__()
        self.lock, self.now, self.most = threading.Lock(), 0, 0

    def Infer(self, request: Any, context: Any) -> Any:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.02)
        with self.lock:
            self.now -= 1
        return super().Infer(request, context)


async def test_no_more_are_on_their_way_nor_read_than_asked_for() -> None:
    read: list[int] = []

    def inputs() -> Iterator[dict[str, np.ndarray]]:
        for number in range(100):
            read.append(number)
            yield x(number)

    with serving(slow := Slow()) as target, Client(target) as client:
        for taken, _ in enumerate(client.map("m", inputs(), concurrency=4)):
            assert len(read) <= taken + 5
        assert slow.most == 4
        read.clear()
        async with AsyncClient(target) as async_client:
            taken = 0
            async for _ in async_client.map_unordered("m", inputs(), concurrency=4):
                taken += 1
                assert len(read) <= taken + 7
        assert slow.most == 4


async def test_one_that_fails_ends_the_others() -> None:
    errors = InternalError("broken"), InternalError("broken")
    with serving(Echo(*errors[:1])) as target, Client(target) as client, pytest.raises(InternalError, match="broken"):
        list(client.map("m", map(x, range(10)), concurrency=2))
    with serving(Echo(*errors)) as target:
        async with AsyncClient(target) as async_client:
            with pytest.raises(InternalError, match="broken"):
                _ = [r async for r in async_client.map("m", map(x, range(10)), concurrency=2)]
    assert len(asyncio.all_tasks()) == 1


def test_a_result_is_a_mapping(client: Client) -> None:
    result = client.infer(ONNX, x(3))
    assert "y" in result
    assert list(result) == ["y"]
    assert dict(result)["y"].item() == 3
    assert result.get("z") is None


def test_answers_are_told_apart_and_found_in_collections(client: Client) -> None:
    """Each is equal to itself alone: what an array is equal to is an array."""
    results = [client.infer(ONNX, x(1)) for _ in range(2)]
    speeches = [Speech(np.zeros(3, np.float32), 8000) for _ in range(2)]
    for first, second in (results, speeches):
        assert first == first
        assert first != second
        assert [first, second].index(second) == 1
        assert len({first, second, first}) == 2


def test_speech_is_saved_by_the_ending_of_the_name(tmp_path: Path) -> None:
    speech = Speech(np.sin(np.arange(4800, dtype=np.float32) / 10), 24000)
    for name in ("a.wav", "a.flac", "a.ogg", "a.mp3"):
        assert speech.save(str(tmp_path / name)) == tmp_path / name
        assert soundfile.info(tmp_path / name).samplerate == 24000
    with pytest.raises(InvalidArgumentError, match=re.escape("ends in one of .wav, .flac, .ogg, .mp3")):
        speech.save(tmp_path / "a.aac")


def test_a_notebook_shows_speech_as_a_player() -> None:
    shown = Speech(np.zeros(10, np.float32), 8000)._repr_html_()
    assert shown.startswith('<audio controls src="data:audio/wav;base64,')


def test_a_voice_comes_from_a_path_a_file_bytes_or_speech(client: Client, tmp_path: Path) -> None:
    speech = client.speak(VOICE, "The river turned slowly past the old mills, and the boats went with it.")
    path = speech.save(tmp_path / "voice.wav")
    with path.open("rb") as file:
        for number, audio in enumerate((path, str(path), file, path.read_bytes(), speech)):
            name = f"sdk-{number}"
            voice = client.add_voice(name, audio, consent="recorded for a test", owner="tests")
            assert voice.bytes == path.stat().st_size
            assert client.delete_voice(name)


async def test_all_outputs_of_a_job_are_fetched_with_its_manifest(stack: Stack, client: Client, tmp_path: Path) -> None:
    seen: list[str] = []
    job = client.jobs.submit(ONNX, [x(number) for number in range(5)])
    states = []
    job = client.jobs.wait(job.id, timeout_s=60, on_progress=lambda job: states.append(kernelport.JobState.of(job)))
    assert states[-1] == kernelport.JobState.SUCCEEDED
    paths = client.jobs.fetch_all(
        job.id, str(tmp_path / "sync"), timeout_s=60, on_fetched=lambda item, path: seen.append(item.id)
    )
    assert [load_outputs(path)["y"].item() for path in paths] == list(range(5))
    assert seen == [f"{number:06}" for number in range(1, 6)]
    assert (tmp_path / "sync" / "manifest.jsonl").exists()
    async with AsyncClient(stack.target, timeout_s=30) as async_client:
        fetched = await async_client.jobs.fetch_all(job.id, tmp_path / "async")
    assert [path.read_bytes() for path in fetched] == [path.read_bytes() for path in paths]


def test_files_that_the_server_lost_are_named_and_the_others_fetched(client: Client, tmp_path: Path) -> None:
    job = client.jobs.wait(client.jobs.submit(ONNX, [x(number) for number in range(5)]).id, timeout_s=60)
    gone, cut, other, *_ = (Path(job.output_url) / item.file for item in client.jobs.items(job.id))
    gone.unlink()
    cut.write_bytes(b"")
    other.write_bytes(other.read_bytes()[::-1])
    with pytest.raises(NotFoundError, match=r"000001: .* is gone from .* \(and 2 others") as error:
        client.jobs.fetch_all(job.id, tmp_path / "out", timeout_s=60)
    assert [each.field for each in error.value.violations] == ["000001", "000002", "000003"]
    assert "is not the one that the job made" in error.value.violations[1].description
    files = sorted(path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith("."))
    assert files == ["000004.npz", "000005.npz", "manifest.jsonl", "summary.json"]
    with pytest.raises(NotFoundError, match="there is no job"):
        client.jobs.fetch_all("1a22-00000000", tmp_path / "none", timeout_s=60)


def test_outputs_of_every_kind_are_loaded(tmp_path: Path) -> None:
    strings = np.array([b"ab\0", b"\0\0", b""], object)
    npz.write(tmp_path / "a.npz", {"s": strings, "n": np.arange(3)})
    loaded = load_outputs(str(tmp_path / "a.npz"))
    assert loaded["s"].tolist() == strings.tolist()
    assert loaded["n"].tolist() == [0, 1, 2]
    Speech(np.zeros(800, np.float32), 8000).save(tmp_path / "a.flac")
    speech = load_outputs(tmp_path / "a.flac")
    assert (speech["audio"].shape, speech["sample_rate"].tolist()) == ((800,), [8000])
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    for name in ("bad.npz", "a.txt"):
        with pytest.raises(InvalidArgumentError, match="path: "):
            load_outputs(tmp_path / name)


def test_everything_public_is_importable() -> None:
    assert all(hasattr(kernelport, name) for name in kernelport.__all__)
    assert kernelport.aio.Client is AsyncClient
    assert re.match(r"\d+\.\d+", kernelport.__version__)
    assert Path(kernelport.__file__).with_name("py.typed").exists()
