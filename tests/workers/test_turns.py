"""Whose piece a worker makes next."""

from contextlib import ExitStack

import numpy as np
import pytest

from kernelport.internal.v1.queue_pb2 import Batch, BatchItem
from kernelport_workers.backends.base import Request
from kernelport_workers.backends.stepped import Frame, Steps, Utterance, WholeAnswer
from kernelport_workers.execution.execution import Work
from kernelport_workers.execution.lease import BatchLease
from kernelport_workers.execution.turns import AHEAD_S, InHand, chosen

NOW = 1000.0


def request(name: str, *, started: float = NOW - 1, deployment: str = "voice") -> InHand:
    batch = Batch(id=name, deployment=deployment, items=[BatchItem(id=name.encode())])
    work, utterance = Work(name.encode(), (), 0, lambda: None), Utterance(Request({}), 0)
    return InHand(batch, work, utterance, BatchLease(name, 60), ExitStack(), Steps(), started)


def listener(name: str, ahead_s: float) -> InHand:
    """One who began to listen ten seconds ago."""
    each = request(name)
    each.listens_since, each.sent_s = NOW - 10, 10 + ahead_s
    return each


def call(name: str, *, age_s: float, since_last_piece_s: float = 0.1) -> InHand:
    each = request(name, started=NOW - age_s)
    each.stepped_at = NOW - since_last_piece_s
    return each


def opened_again(name: str, *, since_last_piece_s: float) -> InHand:
    """A stream of which nothing has been sent here: what goes before is made first."""
    each = request(name, started=NOW - 30)
    each.batch.items[0].stream, each.first, each.stepped_at = True, 9, NOW - since_last_piece_s
    return each


def order(*in_hand: InHand) -> list[str]:
    left, found = list(in_hand), []
    while step := chosen(left, NOW, {"voice": 1}):
        found.append(step[0].batch.id)
        left.remove(step[0])
    return found


def test_who_is_about_to_hear_nothing_goes_first_and_who_has_much_last() -> None:
    assert order(
        listener("far ahead", AHEAD_S + 1),
        call("younger call", age_s=2),
        call("older call", age_s=3),
        listener("has some", 2.0),
        listener("has little", 1.0),
        request("new"),
        request("newer", started=NOW - 0.5),
        listener("runs dry", 0.1),
        listener("is dry", -0.1),
    ) == [
        "is dry",
        "runs dry",
        "new",
        "newer",
        "has little",
        "has some",
        "older call",
        "younger call",
        "far ahead",
    ]


def test_an_answer_stays_while_the_model_goes_on_in_the_same_memory() -> None:
    memory = {"audio": np.zeros(2, np.float32), "sample_rate": np.array([24_000])}
    answer, another = WholeAnswer({"audio"}), WholeAnswer({"audio"})
    for each, number in ((answer, 1), (another, 2), (answer, 3)):
        memory["audio"][:] = memory["sample_rate"][:] = number
        each.add(Frame(0, memory, 0.1, is_last=False))
    told = answer.outputs()
    assert (told["audio"].tolist(), told["sample_rate"].tolist()) == ([1, 1, 3, 3], [1])


def test_what_is_kept_of_a_call_is_its_pieces_and_what_its_voice_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = call("writes a file", age_s=1)
    waiting.answer.add(Frame(0, {"audio": np.zeros(100, np.float32)}, 0.1, is_last=False))
    assert waiting.kept_bytes == 400
    monkeypatch.setattr(Utterance, "kept_bytes", 1000)
    assert waiting.kept_bytes == 1400


def test_listeners_cannot_starve_a_call() -> None:
    waiting = call("waits for long", age_s=5, since_last_piece_s=2)
    assert order(listener("has some", 1.0), waiting)[0] == "waits for long"


def test_a_stream_that_is_made_again_up_to_its_place_takes_turns_with_first_pieces() -> None:
    again = opened_again("again", since_last_piece_s=0.2)
    waiting = [request("new", started=NOW - 0.1), request("newer", started=NOW - 0.3), listener("has some", 2.0)]
    assert order(again, *waiting) == ["newer", "again", "new", "has some"]


def test_who_is_far_behind_gets_nothing() -> None:
    paused = listener("paused", -3.0)
    paused.is_paused = True
    assert order(paused) == []


def test_who_runs_dry_is_a_matter_of_how_long_steps_take() -> None:
    waiting, new = listener("has some", 3.0), request("new")
    assert order(waiting, new) == ["new", "has some"]
    waiting.steps.note(took_s=2.0, sound_s=4.0)
    assert order(waiting, new) == ["has some", "new"]


@pytest.mark.parametrize(
    ("took_s", "sound_s", "capacity"), [(0.05, 5.0, 64), (0.1, 5.01, 40), (4.0, 8.0, 2), (1.0, 0.0, 64)]
)
def test_as_many_are_taken_in_hand_as_could_be_fed(took_s: float, sound_s: float, capacity: int) -> None:
    steps = Steps()
    assert steps.capacity == 64
    for _ in range(100):
        steps.note(took_s, sound_s)
    assert steps.capacity == capacity
    assert steps.step_s == pytest.approx(took_s)


def test_a_capacity_follows_what_steps_take_now() -> None:
    steps = Steps(pieces=4)
    for _ in range(100):
        steps.note(0.05, 5.0)
    for _ in range(100):
        steps.note(5.0, 5.0)
    assert steps.capacity == 4


@pytest.mark.parametrize("most", [1, 3])
def test_as_many_share_a_step_as_the_model_takes(most: int) -> None:
    requests = [request(str(number), started=NOW - number) for number in range(5)]
    assert [each.batch.id for each in chosen(requests, NOW, {"voice": most})] == ["4", "3", "2"][:most]


def test_who_has_enough_makes_no_step_longer() -> None:
    ahead = [listener("ahead", AHEAD_S + 1), listener("far ahead", AHEAD_S + 2)]
    new = request("new")
    assert chosen([*ahead, new], NOW, {"voice": 3}) == [new]
    assert chosen(ahead, NOW, {"voice": 3}) == ahead


def test_a_suspect_runs_alone_and_others_without_it() -> None:
    suspect, other, another = (request(name, started=NOW - age) for name, age in (("s", 3), ("o", 2), ("a", 1)))
    suspect.is_suspect = True
    assert chosen([other, suspect, another], NOW, {"voice": 3}) == [suspect]
    suspect.started = NOW
    assert chosen([other, suspect, another], NOW, {"voice": 3}) == [other, another]


def test_a_step_is_of_one_deployment() -> None:
    requests = [request("one"), request("two", deployment="other")]
    assert [each.batch.id for each in chosen(requests, NOW, {"voice": 3, "other": 3})] == ["one"]


def test_whose_voice_is_not_ready_lets_others_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting, ready = call("waits for its voice", age_s=5), call("goes on", age_s=1)
    monkeypatch.setattr(type(waiting.utterance), "is_ready", property(lambda self: self is ready.utterance))
    assert order(waiting, ready) == ["goes on"]
