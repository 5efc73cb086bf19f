"""VoiceService: register, look at and delete voices."""

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
from redis.asyncio import Redis

from kernelport.access.quotas import QuotaExceededError
from kernelport.broker import keys, stored, voices
from kernelport.broker.scripts import script
from kernelport.broker.tenants import tenants_async
from kernelport.errors import ResourceExhaustedError
from kernelport.names import owned, owner_of
from kernelport.v1 import voice_pb2 as pb
from kernelport.v1 import voice_pb2_grpc
from kernelport_api import calls
from kernelport_api.queueing.durability import Durability, on_disk
from kernelport_api.queueing.redis_errors import reached
from kernelport_api.services.audited import audited
from kernelport_api.services.stock import least
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
        holder, most = least("voices") or ("", voices.MAX_VOICES)
        arguments = (request.name, voice.SerializeToString(), request.audio, min(most, voices.MAX_VOICES))
        outcome = await self._run("add_voice", calls.current().principal.tenant, *arguments)
        if outcome == b"taken":
            raise voices.VoiceExistsError(f'name: there is a voice "{request.name}" already; delete it first')
        if outcome == b"full" and most < voices.MAX_VOICES:
            raise QuotaExceededError.by(holder, "voices", most, most, None)
        if outcome == b"full":
            raise ResourceExhaustedError(f"there are {voices.MAX_VOICES} voices, which is the limit; delete some")
        return pb.AddVoiceResponse(voice=voice)

    async def ListVoices(self, request: pb.ListVoicesRequest, context: Context) -> pb.ListVoicesResponse:
        principal, found = calls.current().principal, await self.of(await seen_tenants(self._redis))
        for name, voice in found.items():
            voice.name = principal.shown(name)
        in_order = sorted(found.values(), key=lambda voice: voice.name)
        return pb.ListVoicesResponse(voices=in_order)

    async def of(self, tenants: Sequence[str]) -> dict[str, pb.Voice]:
        """The voices of some tenants, by the names under which they are stored.

        Raises:
            UnavailableError: Redis cannot be reached.
        """
        found: dict[str, pb.Voice] = {}
        for tenant in tenants:
            key = keys.owned(keys.VOICES, tenant)
            values: dict[bytes, bytes] = await reached(self._redis.hgetall(key))
            voices_of = stored.messages(pb.Voice, values.values(), key, stored.MAX_RECORD_BYTES)
            found |= {owned(tenant, voice.name): voice for voice in sorted(voices_of, key=lambda voice: voice.name)}
        return found

    async def tenants(self) -> list[str]:
        """All tenants."""
        found: list[str] = await reached(tenants_async(self._redis))
        return found

    async def GetVoice(self, request: pb.GetVoiceRequest, context: Context) -> pb.GetVoiceResponse:
        tenant, name = owner_of(calls.current().principal.stored(request.name))
        key = keys.owned(keys.VOICES, tenant)
        value = await reached(self._redis.hget(key, name))
        if value is None:
            raise voices.VoiceNotFoundError(request.name)
        voice = stored.message(pb.Voice, value, key, stored.MAX_RECORD_BYTES)
        voice.name = request.name
        return pb.GetVoiceResponse(voice=voice)

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
        tenant, own_name = owner_of(calls.current().principal.stored(name))
        audio = await reached(self._redis.hget(keys.owned(keys.VOICE_RECORDINGS, tenant), own_name))
        if audio is None:
            raise voices.VoiceNotFoundError(name)
        return voice, audio

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
