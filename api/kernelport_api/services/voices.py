"""VoiceService: register, look at and delete voices."""

import asyncio
from typing import Any

import grpc
from redis.asyncio import Redis

from kernelport.broker import keys, stored, voices
from kernelport.broker.scripts import script
from kernelport.errors import ResourceExhaustedError
from kernelport.v1 import voice_pb2 as pb
from kernelport.v1 import voice_pb2_grpc
from kernelport_api.queueing.durability import Durability, on_disk
from kernelport_api.queueing.redis_errors import reached
from kernelport_api.services.audited import audited

Context = grpc.aio.ServicerContext[Any, Any]


class Voices(voice_pb2_grpc.VoiceServiceServicer):
    """The registered voices of every deployment that takes a `voice`."""

    def __init__(self, redis: Redis, durability: Durability) -> None:
        self.durability = durability
        self._redis = redis

    @audited("voice.add", lambda request: request.name)
    @on_disk
    async def AddVoice(self, request: pb.AddVoiceRequest, context: Context) -> pb.AddVoiceResponse:
        voice = await asyncio.to_thread(voices.described, request)
        arguments = (request.name, voice.SerializeToString(), request.audio, voices.MAX_VOICES)
        outcome = await self._run("add_voice", *arguments)
        if outcome == b"taken":
            raise voices.VoiceExistsError(f'name: there is a voice "{request.name}" already; delete it first')
        if outcome == b"full":
            raise ResourceExhaustedError(f"there are {voices.MAX_VOICES} voices, which is the limit; delete some")
        return pb.AddVoiceResponse(voice=voice)

    async def ListVoices(self, request: pb.ListVoicesRequest, context: Context) -> pb.ListVoicesResponse:
        values: dict[bytes, bytes] = await reached(self._redis.hgetall(keys.VOICES))
        in_order = [values[name] for name in sorted(values)]
        found = stored.messages(pb.Voice, in_order, keys.VOICES, stored.MAX_RECORD_BYTES)
        return pb.ListVoicesResponse(voices=found)

    async def GetVoice(self, request: pb.GetVoiceRequest, context: Context) -> pb.GetVoiceResponse:
        value = await reached(self._redis.hget(keys.VOICES, request.name))
        if value is None:
            raise voices.VoiceNotFoundError(request.name)
        return pb.GetVoiceResponse(voice=stored.message(pb.Voice, value, keys.VOICES, stored.MAX_RECORD_BYTES))

    async def check(self, audio: bytes) -> pb.Voice:
        """What is known of a recording before it is registered.

        Raises:
            InvalidArgumentError: it cannot serve as a reference.
        """
        return await asyncio.to_thread(voices.checked, audio)

    async def recording(self, name: str) -> tuple[pb.Voice, bytes]:
        """A voice, with the file that it was registered with.

        Raises:
            VoiceNotFoundError: there is none of this name.
        """
        voice = (await self.GetVoice(pb.GetVoiceRequest(name=name), None)).voice  # type: ignore[arg-type]
        audio = await reached(self._redis.hget(keys.VOICE_RECORDINGS, name))
        if audio is None:
            raise voices.VoiceNotFoundError(name)
        return voice, audio

    @audited("voice.delete", lambda request: request.name)
    @on_disk
    async def DeleteVoice(self, request: pb.DeleteVoiceRequest, context: Context) -> pb.DeleteVoiceResponse:
        value = await self._run("delete_voice", request.name)
        for voice in stored.messages(pb.Voice, [value], keys.VOICES, stored.MAX_RECORD_BYTES):
            await reached(self._redis.delete(keys.encoded_voice(voice.sha256)))
        return pb.DeleteVoiceResponse(removed=value is not None)

    async def _run(self, name: str, *arguments: Any) -> Any:
        """Runs a script that changes what is known of voices and their recordings together."""
        return await reached(script(self._redis, name)(keys=[keys.VOICES, keys.VOICE_RECORDINGS], args=arguments))
