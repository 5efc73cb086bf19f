"""However many call at once, everybody gets the answer to their own request."""

import asyncio

import numpy as np

from kernelport import AsyncClient, Client
from kernelport.supervisor.stack import Stack
from kernelport.tensors import Array

CALLERS = 64


async def test_every_reply_is_its_own_callers(stack: Stack, client: Client) -> None:
    alone = [client.speak("hibari-en", text_of(caller), seed=caller).audio.tobytes() for caller in range(CALLERS)]
    assert len(set(alone)) == CALLERS, "a mix-up would show"

    clients = [AsyncClient(stack.target, timeout_s=60) for _ in range(CALLERS)]
    spoken, echoed = await asyncio.gather(
        asyncio.gather(*(each.speak("hibari-en", text_of(i), seed=i) for i, each in enumerate(clients))),
        asyncio.gather(*(each.infer("identity-onnx", {"x": image_of(i)}) for i, each in enumerate(clients))),
    )
    await asyncio.gather(*(each.close() for each in clients))

    assert [speech.audio.tobytes() for speech in spoken] == alone
    for caller, result in enumerate(echoed):
        np.testing.assert_array_equal(result["y"], image_of(caller), strict=True)


def text_of(caller: int) -> str:
    return f"Caller {caller} is on the line."


def image_of(caller: int) -> Array:
    """Unlike any other caller's, of one to three rows and in two sizes, so that some share a batch and some cannot."""
    shape = (1 + caller % 3, 1, 2, 2 + caller % 2)
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape) + 1000 * caller
