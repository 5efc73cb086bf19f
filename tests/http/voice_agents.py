"""Pipecat's and LiveKit's own services for OpenAI's speech, run by the Python that has them: URL of a stack.

Both know the voice `alloy` and the model `tts-1`, which are aliases here.
"""

import asyncio
import sys

import aiohttp
from livekit.plugins import openai as livekit
from pipecat.services.openai.tts import OpenAITTSService

TEXT = "The harbour was quiet, and the boats lay still."
RATE = 24_000
# What LiveKit's resampler, and its decoder of MP3, put behind.
PADDING = 1152


async def spoken(url: str) -> bytes:
    """What a plain client gets."""
    body = {"model": "tts-1", "input": TEXT, "response_format": "pcm"}
    async with aiohttp.ClientSession() as session, session.post(f"{url}/v1/audio/speech", json=body) as answer:
        return await answer.read()


async def pipecat(url: str) -> None:
    expected = await spoken(url)
    settings = OpenAITTSService.Settings(voice="alloy", model="tts-1")
    service = OpenAITTSService(api_key="none", base_url=f"{url}/v1", settings=settings)
    service._sample_rate = RATE  # a pipeline sets it when it starts
    frames = [frame async for frame in service.run_tts(TEXT, "one")]
    audio = b"".join(frame.audio for frame in frames if hasattr(frame, "audio"))
    assert audio == expected, (len(audio), frames[-1])


async def livekit_agents(url: str) -> None:
    expected = len(await spoken(url)) // 2
    for name in ("mp3", "wav", "pcm"):
        tts = livekit.TTS(model="tts-1", voice="alloy", base_url=f"{url}/v1", api_key="none", response_format=name)
        samples = 0
        async with tts.synthesize(TEXT) as stream:
            async for event in stream:
                assert event.frame.sample_rate == RATE
                samples += event.frame.samples_per_channel
        assert expected <= samples <= expected + PADDING, (name, samples, expected)
        await tts.aclose()


if __name__ == "__main__":
    asyncio.run(pipecat(sys.argv[1]))
    asyncio.run(livekit_agents(sys.argv[1]))
