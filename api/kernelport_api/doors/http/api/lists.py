"""What there is to see of a stack over HTTP: its deployments, voices and dead letters, and how it runs."""

from starlette.types import ASGIApp

from kernelport.broker.voices import MAX_BYTES, MAX_SECONDS, VoiceNotFoundError
from kernelport.decoder import MIN_SPEECH_S
from kernelport.shapes import letter_dict, plain
from kernelport.v1 import dead_letter_pb2, deployment_pb2, voice_pb2
from kernelport.v1.inference_pb2 import InferResponse
from kernelport_api.doors.http.answers import Answer, json_answer
from kernelport_api.doors.http.endpoint import OVER_HTTP, HttpCall
from kernelport_api.doors.http.forms import voice_request
from kernelport_api.services.dead_letters import DeadLetterNotFoundError, DeadLetters
from kernelport_api.services.deployments import Deployments
from kernelport_api.services.operations import Operations
from kernelport_api.services.voices import Voices

_MEDIA_TYPES = {"WAV": "audio/wav", "FLAC": "audio/flac", "OGG": "audio/ogg", "MP3": "audio/mpeg"}


class DeploymentRoutes:
    """What is below /api/deployments."""

    def __init__(self, deployments: Deployments) -> None:
        self._deployments = deployments

    async def all(self, call: HttpCall) -> ASGIApp:
        """Every deployment."""
        listed = await self._deployments.ListDeployments(deployment_pb2.ListDeploymentsRequest(), OVER_HTTP)
        return json_answer({"deployments": list(map(plain, listed.deployments))})

    async def one(self, call: HttpCall) -> ASGIApp:
        """One, with its signature and policy."""
        request = deployment_pb2.GetDeploymentRequest(name=call.path["deployment"])
        return json_answer(plain((await self._deployments.GetDeployment(request, OVER_HTTP)).deployment))


class VoiceRoutes:
    """What is below /api/voices."""

    def __init__(self, voices: Voices, consent: str) -> None:
        self._voices = voices
        self._rules = {
            "consent": consent,
            "min_seconds": MIN_SPEECH_S,
            "max_seconds": MAX_SECONDS,
            "max_bytes": MAX_BYTES,
            "formats": list(_MEDIA_TYPES),
        }

    async def all(self, call: HttpCall) -> ASGIApp:
        """Every registered voice, and what is asked of a new one: of its recording, and that its speaker agrees."""
        found = await self._voices.ListVoices(voice_pb2.ListVoicesRequest(), OVER_HTTP)
        return json_answer({"voices": list(map(plain, found.voices)), "rules": self._rules})

    async def check(self, call: HttpCall) -> ASGIApp:
        """Tells whether the `audio` of a form could be registered, and what is known of it."""
        return json_answer(plain(await self._voices.check((await voice_request(call.form, "audio")).audio)))

    async def recording(self, call: HttpCall) -> ASGIApp:
        """The file that one was registered with."""
        voice, audio = await self._voices.recording(call.path["voice"])
        media_type = _MEDIA_TYPES.get(voice.format, "application/octet-stream")
        return Answer(audio, media_type, headers={"cache-control": "no-store", "x-content-type-options": "nosniff"})

    async def one(self, call: HttpCall) -> ASGIApp:
        """What is known of one."""
        found = await self._voices.GetVoice(voice_pb2.GetVoiceRequest(name=call.path["voice"]), OVER_HTTP)
        return json_answer(plain(found.voice))

    async def add(self, call: HttpCall) -> ASGIApp:
        """Registers one from a form with `name`, `audio`, `consent`, `owner`, and maybe `transcript`."""
        added = await self._voices.AddVoice(await voice_request(call.form, "audio"), OVER_HTTP)
        return json_answer(plain(added.voice))

    async def delete(self, call: HttpCall) -> ASGIApp:
        """Deletes one."""
        name = call.path["voice"]
        if not (await self._voices.DeleteVoice(voice_pb2.DeleteVoiceRequest(name=name), OVER_HTTP)).removed:
            raise VoiceNotFoundError(name)
        return json_answer({"name": name, "deleted": True})


class LetterRoutes:
    """What is below /api/dead-letters/NAME."""

    def __init__(self, letters: DeadLetters) -> None:
        self._letters = letters

    async def all(self, call: HttpCall) -> ASGIApp:
        """Those of a deployment, oldest first."""
        request = dead_letter_pb2.ListDeadLettersRequest(deployment=call.path["deployment"])
        found = await self._letters.ListDeadLetters(request, OVER_HTTP)
        return json_answer({"dead_letters": list(map(letter_dict, found.dead_letters))})

    async def one(self, call: HttpCall) -> ASGIApp:
        """One, with what its inputs are."""
        request = dead_letter_pb2.GetDeadLetterRequest(deployment=call.path["deployment"], id=call.path["letter"])
        return json_answer(letter_dict((await self._letters.GetDeadLetter(request, OVER_HTTP)).dead_letter))

    async def replay(self, call: HttpCall) -> ASGIApp:
        """Runs one again, and removes it when it succeeds; tells what its outputs are."""
        request = dead_letter_pb2.ReplayDeadLetterRequest(deployment=call.path["deployment"], id=call.path["letter"])
        answer = await self._letters.ReplayDeadLetter(request, OVER_HTTP)
        return json_answer(plain(InferResponse.FromString(answer.response)))

    async def purge(self, call: HttpCall) -> ASGIApp:
        """Throws one away."""
        deployment, letter_id = call.path["deployment"], call.path["letter"]
        request = dead_letter_pb2.PurgeDeadLetterRequest(deployment=deployment, id=letter_id)
        if not (await self._letters.PurgeDeadLetter(request, OVER_HTTP)).removed:
            raise DeadLetterNotFoundError(f'id: "{deployment}" has no dead letter "{letter_id}"')
        return json_answer({"id": letter_id, "deleted": True})


class OperationRoutes:
    """What is at /api/operations and below /api/workers."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def all(self, call: HttpCall) -> ASGIApp:
        """What this front door sees of each deployment now and by the minute of the last hour, the workers, what the
        autoscaler does and would do next, and where Flower and Grafana are."""
        return json_answer(await self._operations.told())

    async def workers(self, call: HttpCall) -> ASGIApp:
        """Every live worker, with the deployments that it serves and what it has in hand."""
        return json_answer({"workers": await self._operations.workers.all()})

    async def drain(self, call: HttpCall) -> ASGIApp:
        """Has a worker take no more work, finish what it has, and end."""
        worker_id = call.path["worker"]
        await self._operations.workers.drain(worker_id)
        return json_answer({"id": worker_id, "draining": True})
