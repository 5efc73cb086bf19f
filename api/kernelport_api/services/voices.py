"""VoiceService: register, look at and delete voices."""

import asyncio
from typing import Any

import grpc
from redis.asyncio import Redis

from kernelport.broker import keys, stored, voices
from kernelport.broker.scripts import script
from kernelport.errors import ResourceExhaustedError
from kernelport.names import owned, owner_of
from kernelport.v1 import voice_pb2 as pb
from kernelport.v1 import voice_pb2_grpc
from kernelport_api import calls
from kernelport_api.queueing.durability import Durability, on_disk
from kernelport_api.queueing.redis_errors import reached
from kernelport_api.services.audited import audited
from kernelport_api.services.tenants import seen_tenants

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
        outcome = await self._run("add_voice", calls.current().principal.tenant, *arguments)
        if outcome == b"taken":
            raise voices.VoiceExistsError(f'name: there is a voice "{request.name}" already; delete it first')
        if outcome == b"full":
            raise ResourceExhaustedError(f"there are {voices.MAX_VOICES} voices, which is the limit; delete some")
        return pb.AddVoiceResponse(voice=voice)

    async def ListVoices(self, request: pb.ListVoicesRequest, context: Context) -> pb.ListVoicesResponse:
        principal, found = calls.current().principal, []
        for tenant in await seen_tenants(self._redis):
            key = keys.owned(keys.VOICES, tenant)
            values: dict[bytes, bytes] = await reached(self._redis.hgetall(key))
            for voice in stored.messages(pb.Voice, values.values(), key, stored.MAX_RECORD_BYTES):
                voice.name = principal.shown(owned(tenant, voice.name))
                found.append(voice)
        return pb.ListVoicesResponse(voices=sorted(found, key=lambda voice: voice.name))

    async def GetVoice(self, request: pb.GetVoiceRequest, context: Context) -> pb.GetVoiceResponse:
        tenant, name = owner_of(calls.current().principal.stored(request.name))
        key = keys.owned(keys.VOICES, tenant)
        value = await reached(self._redis.hget(key, name))
        if value is None:
            raise voices.VoiceNotFoundError(request.name)
        voice = stored.message(pb.Voice, value, key, stored.MAX_RECORD_BYTES)
        voice.name = request.name
        return pb.GetVoiceResponse(voice=voice)

    @audited("voice.delete", lambda request: request.name)
    @on_disk
    async def DeleteVoice(self, request: pb.DeleteVoiceRequest, context: Context) -> pb.DeleteVoiceResponse:
        value = await self._run("delete_voice", *owner_of(calls.current().principal.stored(request.name)))
        for voice in stored.messages(pb.Voice, [value], keys.VOICES, stored.MAX_RECORD_BYTES):
            await reached(self._redis.delete(keys.encoded_voice(voice.sha256)))
        return pb.DeleteVoiceResponse(removed=value is not None)

    async def _run(self, name: str, tenant: str, *arguments: Any) -> Any:
        """Runs a script that changes what is known of a tenant's voices and their recordings together."""
        hashes = [keys.owned(key, tenant) for key in (keys.VOICES, keys.VOICE_RECORDINGS)]
        return await reached(script(self._redis, name)(keys=hashes, args=arguments))
