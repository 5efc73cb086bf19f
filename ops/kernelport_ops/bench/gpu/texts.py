"""Sentences as token lists: a GPU machine need not have a phonemizer.

`python -m kernelport_ops.bench.gpu.texts` writes them anew; that needs the extra `luxtts-english`.
"""

import json
from itertools import cycle, islice
from pathlib import Path

from kernelport_ops.bench.gpu.setting import GOLDEN
from kernelport_ops.bench.texts import sentences
from kernelport_workers.luxtts.acoustic import Job
from kernelport_workers.luxtts.bench.workload import Workload, jobs_of
from kernelport_workers.luxtts.checkpoint import read_tokens
from kernelport_workers.luxtts.synthesis import Pass
from kernelport_workers.luxtts.text_encoder import frame_count
from kernelport_workers.luxtts.tokenizer import Tokenizer
from kernelport_workers.luxtts.utterance import Utterance

TOKENS = Path(__file__).with_name("tokens.json")
_COUNT = 100
_FEATURES = 100


def tokenized() -> list[list[int]]:
    """The sentences through the real tokenizer.

    Raises:
        DependencyError: no phonemizer is installed.
    """
    tokenizer = Tokenizer(read_tokens(GOLDEN / "tokens.txt"))
    return [tokenizer.encode(sentence) for sentence in sentences(_COUNT)]


def passes(count: int, reference: float, steps: int, shorten: int | None = None) -> list[Pass]:
    """So many utterances of the sentences in turn, each with a seed of its own, in one voice.

    Args:
        count: how many.
        reference: seconds of the voice's recording, with as many tokens as speech of that length has.
        steps: of the solver.
        shorten: most tokens of an utterance; None for whole sentences.
    """
    voice = jobs_of(Workload(reference=reference), _FEATURES)[0].voice
    texts: list[list[int]] = json.loads(TOKENS.read_text())
    found = []
    for owner, tokens in enumerate(islice(cycle(texts), count)):
        spoken = tuple(tokens[:shorten])
        frames = frame_count(len(voice.features), len(voice.tokens), len(spoken), 1.0)
        job = Job(voice, spoken, frames, seed=owner)
        found.append(Pass(owner, 0, Utterance("", voice, num_steps=steps), job, 0.0))
    return found


if __name__ == "__main__":
    TOKENS.write_text("[\n" + ",\n".join(json.dumps(tokens) for tokens in tokenized()) + "\n]\n")
