"""What is heard of streams beside the same texts spoken whole: whether a word is lost or doubled where pieces meet."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kernelport import Client
from kernelport.audio import encode_audio
from kernelport_ops.bench.heard.words import Difference, aligned, words

MODEL = "hibari-en"


@dataclass
class Streams:
    """What was heard of streams, and of the same texts without a cut but at the ends of sentences.

    Attributes:
        joins: places where pieces meet.
        errors, whole_errors: words heard otherwise than they were written.
        at_joins: differences where pieces meet that are not heard in the whole, by text.
    """

    texts: int = 0
    words: int = 0
    joins: int = 0
    errors: int = 0
    whole_errors: int = 0
    at_joins: dict[str, list[Difference]] = field(default_factory=dict)

    def note(self, text: str, joins: Sequence[int], heard: str, heard_whole: str) -> None:
        """Counts one text.

        Args:
            joins: before which of its words a piece begins.
        """
        written = words(text)
        found, whole = aligned(written, words(heard)), aligned(written, words(heard_whole))
        self.texts += 1
        self.words += len(written)
        self.joins += len(joins)
        self.errors += sum(each.errors for _, each in found)
        self.whole_errors += sum(each.errors for _, each in whole)
        if new := [each for at, each in found if _meets(at, each, joins) and (at, each) not in whole]:
            self.at_joins[text] = new


def _meets(at: int, difference: Difference, joins: Iterable[int]) -> bool:
    return any(at <= join <= at + len(difference.written) for join in joins)


def spoken(client: Client, texts: Sequence[str], folder: Path) -> Iterator[tuple[Path, Path, list[int]]]:
    """For each text the file of its stream, that of the whole, and before which of its words a piece begins."""
    from hibari import Hibari

    voice: Any = Hibari(threads=1)
    folder.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(texts, 1):
        pieces = list(client.stream(MODEL, text, outputs=["audio", "sample_rate", "spoken"]))
        joined = np.concatenate([piece.audio for piece in pieces])
        ends = np.cumsum([len(words(piece.spoken or "")) for piece in pieces])
        files = folder / f"stream-{number:04}.wav", folder / f"whole-{number:04}.wav"
        for file, audio in zip(files, (joined, voice(text, seed=0)), strict=True):
            file.write_bytes(encode_audio(audio, voice.sample_rate, ".wav"))
        yield *files, ends[:-1].tolist()
