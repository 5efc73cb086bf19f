"""Speaks many texts, several at a time, and joins what they became."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import numpy as np

from kernelport.client import Client, Speech
from kernelport.errors import KernelPortError
from kernelport.item_files import Passage

# Seconds of silence before a passage, by what lies between it and the one before.
PAUSES_S = {"sentence": 0.25, "line": 0.4, "paragraph": 0.7, "scene": 1.5}


def speak(
    client: Client, deployment: str, texts: Sequence[str], inputs: Mapping[str, Any], parallel: int
) -> Iterator[tuple[int, Speech | KernelPortError]]:
    """Yields each text's index, and its speech or why there is none, in the order of completion.

    Args:
        inputs: the deployment's optional inputs, the same for every text.
        parallel: calls in flight at a time.
    """

    def speech_of(text: str) -> Speech | KernelPortError:
        try:
            return client.speak(deployment, text, **inputs)
        except KernelPortError as error:
            return error

    with ThreadPoolExecutor(parallel) as pool:
        indices = {pool.submit(speech_of, text): index for index, text in enumerate(texts)}
        try:
            for future in as_completed(list(indices)):
                yield indices.pop(future), future.result()
        finally:
            for future in indices:
                future.cancel()


def join(spoken: Sequence[tuple[Passage, Speech]]) -> Speech:
    """The speech of a whole text, of one or more passages, with silence between them.

    Raises:
        ValueError: when their sample rates are not the same.
    """
    rates = {speech.sample_rate for _, speech in spoken}
    if len(rates) > 1:
        raise ValueError(f"expected speech of one sample rate, got {', '.join(map(str, sorted(rates)))} Hz")
    rate = rates.pop()
    parts = []
    for index, (passage, speech) in enumerate(spoken):
        if index:
            parts.append(np.zeros(round(PAUSES_S[passage.behind] * rate), np.float32))
        parts.append(speech.audio)
    return Speech(np.concatenate(parts), rate)
