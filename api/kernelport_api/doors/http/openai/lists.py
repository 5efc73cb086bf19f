"""`/v1/models` and `/v1/audio/voices`: one body in every list that suits all who read it."""

from typing import Any

from starlette.types import ASGIApp

from kernelport.broker.voices import VoiceNotFoundError
from kernelport.errors import NotFoundError
from kernelport.signature import is_speech
from kernelport.v1 import voice_pb2
from kernelport_api.access.deployments import CallersDeployments
from kernelport_api.doors.http.answers import json_answer
from kernelport_api.doors.http.endpoint import OVER_HTTP, HttpCall
from kernelport_api.doors.http.forms import voice_request
from kernelport_api.services.inference import Inference
from kernelport_api.services.voices import Voices

_MICROSECONDS = 1_000_000
# Whom a voice belongs to whose caller does not say, as stock clients do not.
_NO_OWNER = "not named: registered over /v1/audio/voices"


class SpeechModels:
    """The deployments that speak, and their aliases."""

    def __init__(self, deployments: CallersDeployments, inference: Inference) -> None:
        self._deployments = deployments
        self._inference = inference

    async def all(self, call: HttpCall) -> ASGIApp:
        """All of them."""
        models = [_model(name) for name in await self._names()]
        return json_answer({"object": "list", "data": models, "models": models})

    async def retrieve(self, call: HttpCall) -> ASGIApp:
        """One."""
        name = call.path["model"]
        if name not in await self._names():
            raise NotFoundError(f"model: {self._deployments.unknown(name)}")
        return json_answer(_model(name))

    async def _names(self) -> list[str]:
        """Of a deployment that nobody has ever loaded, nobody knows whether it speaks."""
        signatures = {name: await self._inference.signature(name) for name in sorted(self._deployments)}
        speaking = [name for name, signature in signatures.items() if signature and is_speech(signature)]
        return [*speaking, *(alias for alias, name in self._deployments.aliases.models.items() if name in speaking)]


class AudioVoices:
    """Registered voices, and their aliases."""

    def __init__(self, deployments: CallersDeployments, voices: Voices) -> None:
        self._deployments = deployments
        self._voices = voices

    async def all(self, call: HttpCall) -> ASGIApp:
        """All of them."""
        found = await self._voices.ListVoices(voice_pb2.ListVoicesRequest(), OVER_HTTP)
        known = {voice.name: _voice(voice) for voice in found.voices}
        aliases = self._deployments.aliases.voices
        named = [known[name] | {"id": alias, "name": alias} for alias, name in aliases.items() if name in known]
        voices = [*known.values(), *named]
        return json_answer({"object": "list", "data": voices, "voices": voices})

    async def create(self, call: HttpCall) -> ASGIApp:
        """Registers one from a form."""
        request = await voice_request(call.form, "audio_sample", owner=_NO_OWNER)
        added = await self._voices.AddVoice(request, OVER_HTTP)
        return json_answer(_voice(added.voice))

    async def delete(self, call: HttpCall) -> ASGIApp:
        """Deletes one."""
        name = call.path["voice"]
        deleted = await self._voices.DeleteVoice(voice_pb2.DeleteVoiceRequest(name=name), OVER_HTTP)
        if not deleted.removed:
            raise VoiceNotFoundError(name)
        return json_answer({"object": "audio.voice.deleted", "id": name, "deleted": True})


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "kernelport"}


def _voice(voice: voice_pb2.Voice) -> dict[str, Any]:
    created = voice.created_unix_us // _MICROSECONDS
    return {
        "object": "audio.voice",
        "id": voice.name,
        "name": voice.name,
        "type": "audio_sample",
        "created_at": created,
    }
