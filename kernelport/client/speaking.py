"""Speaks many texts, several at a time, and joins what they became."""

import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import numpy as np

from kernelport.audio import resampled
from kernelport.client import Client, Speech
from kernelport.client.calling.sync import as_completed
from kernelport.client.item_files import Passage
from kernelport.errors import KernelPortError, UnavailableError

RETRY_S = 1.0
# Seconds of silence before a passage, by what lies between it and the one before.
PAUSES_S = {"sentence": 0.25, "line": 0.4, "paragraph": 0.7, "scene": 1.5}


def speak(
    client: Client,
    deployment: str,
    texts: Sequence[str],
    inputs: Mapping[str, Any],
    outputs: Sequence[str],
    parallel: int,
    patience_s: float,
    on_retry: Callable[[KernelPortError], None],
) -> Generator[tuple[int, Speech | KernelPortError]]:
    """Yields each text's index, and its speech or why there is none, in the order of completion.

    Once a text has been spoken, a front door or a worker that is out of reach is waited for: what there is would be of
    no use without the rest.

    Args:
        inputs: the deployment's optional inputs, the same for every text.
        outputs: what is wanted beside the sound.
        parallel: calls in flight at a time.
        patience_s: seconds for which nothing need be in reach.
        on_retry: called with what is in the way, in any thread.
    """
    has_spoken, over = threading.Event(), threading.Event()

    def speech_of(text: str) -> Speech | KernelPortError:
        away_since = None
        while True:
            try:
                speech = client.speak(deployment, text, outputs=outputs, **inputs)
                has_spoken.set()
                return speech
            except UnavailableError as error:
                away_since = away_since or time.monotonic()
                gives_up = not has_spoken.is_set() or time.monotonic() - away_since > patience_s
                if gives_up or over.wait(RETRY_S):
                    return error
                on_retry(error)
            except KernelPortError as error:
                return error

    try:
        yield from as_completed(speech_of, texts, parallel)
    finally:
        over.set()


def join(spoken: Sequence[tuple[Passage, Speech]]) -> Speech:
    """The speech of a whole text, of one or more passages, with silence between them, at the highest of their sample
    rates.

    Raises:
        HostError: when a library is missing that brings them to one rate.
        ValueError: when one of them is too low for that.
    """
    rate = max(speech.sample_rate for _, speech in spoken)
    parts = []
    for index, (passage, speech) in enumerate(spoken):
        if index:
            parts.append(np.zeros(round(PAUSES_S[passage.behind] * rate), np.float32))
        parts.append(resampled(speech.audio, speech.sample_rate, rate))
    return Speech(np.concatenate(parts), rate)
