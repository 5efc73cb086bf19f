"""Items as messages, files as they were made, and when to try again: what needs no server."""

import contextlib
import hashlib
from pathlib import Path

import pytest

from kernelport import InternalError, InvalidArgumentError, UnavailableError
from kernelport.client.jobs import messages
from kernelport.client.jobs.fetching import Target
from kernelport.signature import Signature
from kernelport.tensors import to_arrays
from kernelport.v1 import job_pb2 as pb
from tests.item_files.speech import SPEECH


def test_items_of_every_kind_and_the_place_of_a_mistake() -> None:
    message = pb.NewItem(id="m")
    assert messages.new_item(message, 1, SPEECH) is message
    assert messages.new_item("Hi.", 7, SPEECH).id == "000007"
    item = messages.new_item(("a", {"text": "Hi.", "speed": 2}), 1, SPEECH)
    assert {name: array.tolist() for name, array in to_arrays(item.inputs).items()} == {
        "text": list(b"Hi."),
        "speed": [2.0],
    }
    unknown = messages.new_item({"text": "Hi."}, 1, Signature())
    assert to_arrays(unknown.inputs)["text"].tobytes() == b"Hi.", "UTF-8, though nobody has told the dtype yet"
    with pytest.raises(InvalidArgumentError, match=r'item "a".*speed'):
        messages.new_item(("a", {"speed": "fast"}), 1, SPEECH)


def test_messages_stay_small_and_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "BATCH_BYTES", 1000)
    texts = ["z" * 5000, *("x" * (number * 37 % 900) + "." for number in range(200)), "y" * 5000, "y" * 5000]
    made = list(messages.batches(texts, SPEECH, lambda: None))
    assert [len(item.inputs[0].data) for batch in made for item in batch] == [len(text) for text in texts]
    assert all(len(batch) == 1 or sum(item.ByteSize() for item in batch) <= 1000 for batch in made)
    assert list(messages.batches([], SPEECH, lambda: None)) == [[]]


def test_what_the_job_has_is_not_sent_again() -> None:
    additions = messages.Additions(pb.Job(id="j", progress=pb.JobProgress(items=5)))
    first, second, third = ([pb.NewItem(id=str(n)) for n in range(3)] for _ in range(3))
    assert additions.request(first) is None
    sent = [additions.request(second), additions.request(third)]
    assert [request.offset for request in sent if request is not None] == [3, 6]
    assert (additions.seal().offset, additions.seal().seal) == (9, True)


def test_patience_ends() -> None:
    error = UnavailableError("nobody there")
    with pytest.raises(UnavailableError):
        messages.Patience(0.0).pause_s(error)
    patience = messages.Patience(60.0)
    pauses = [patience.pause_s(error) for _ in range(8)]
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    with pytest.raises(InternalError):
        patience.pause_s(InternalError("no use"))


@pytest.mark.parametrize("name", ["/etc/passwd", "../a.wav", "a/../../b.wav", ""])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(InternalError, match="expected a file below"):
        Target(pb.Item(id="a", file=name), tmp_path)


def test_a_file_is_whole_and_right_or_not_there(tmp_path: Path) -> None:
    item = pb.Item(id="a", file="a.wav", file_bytes=4, sha256=hashlib.sha256(b"good").digest())
    with pytest.raises(InternalError, match="not those that the job made"), Target(item, tmp_path) as target:
        target.write(b"goo")
    with contextlib.suppress(UnavailableError), Target(item, tmp_path) as target:
        target.write(b"go")
        raise UnavailableError("the connection broke")
    assert list(tmp_path.iterdir()) == []
    with Target(item, tmp_path) as target:
        assert not target.is_there()
        target.write(b"go")
        target.write(b"od")
    assert (tmp_path / "a.wav").read_bytes() == b"good"
    assert Target(item, tmp_path).is_there()
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_an_output_may_be_fetched_twice_at_once(tmp_path: Path) -> None:
    item = pb.Item(id="a", file="a.wav", file_bytes=3, sha256=hashlib.sha256(b"abc").digest())
    with Target(item, tmp_path) as first, Target(item, tmp_path) as second:
        first.write(b"abc")
        second.write(b"abc")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"abc"]
