"""All routes of the HTTP door."""

from dataclasses import dataclass

import msgspec
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from kernelport.config.deployments import DeploymentTable
from kernelport.config.settings import Settings, parts_of
from kernelport_api.doors.calls import Calls
from kernelport_api.doors.http.answers import JSON, Answer
from kernelport_api.doors.http.endpoint import FORM, Call, Endpoint
from kernelport_api.doors.http.errors import Refusal, answer_to
from kernelport_api.doors.http.guard import Guard
from kernelport_api.doors.http.open_inference import OpenInferenceRoutes
from kernelport_api.doors.http.openai import speech
from kernelport_api.doors.http.openai.lists import MOST_VOICE_BYTES, AudioVoices, SpeechModels
from kernelport_api.doors.open_inference.models import Models
from kernelport_api.services.inference import Inference
from kernelport_api.services.voices import Voices


class _Route(Route):
    def __init__(self, method: str, path: str, endpoint: Endpoint) -> None:
        super().__init__(path, endpoint, methods=[method])

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        methods = self.methods or set()
        if scope["method"] in methods:
            await self.app(scope, receive, send)
        else:
            allow = ", ".join(sorted(methods))
            refusal = Refusal(405, f"expected {allow} at this path, got {scope['method']}", allow=allow)
            await answer_to(refusal, scope)(scope, receive, send)


@dataclass(frozen=True)
class Services:
    """What can be asked for.

    Attributes:
        runs: calls that run a model; how many there may be is for the inference service to say.
        others: calls that ask for something else.
        watches: calls that nobody waits for when the front door stops.
    """

    deployments: DeploymentTable
    inference: Inference
    models: Models
    voices: Voices
    runs: Calls
    others: Calls
    watches: Calls


def application(services: Services, settings: Settings) -> ASGIApp:
    """The whole door as an ASGI application."""
    runs, others = services.runs, services.others
    speaking = speech.Speech(services.deployments, services.inference)
    models = SpeechModels(services.deployments, services.inference)
    voices = AudioVoices(services.deployments, services.voices)
    routes = [
        _Route("POST", "/v1/audio/speech", Endpoint(speaking.create, runs, JSON, speech.MOST_BYTES)),
        _Route("GET", "/health", Endpoint(_health, services.watches)),
        _Route("GET", "/v1/models", Endpoint(models.all, others)),
        _Route("GET", "/v1/audio/models", Endpoint(models.all, others)),
        _Route("GET", "/v1/models/{model:path}", Endpoint(models.retrieve, others)),
        _Route("GET", "/v1/audio/voices", Endpoint(voices.all, others)),
        _Route("POST", "/v1/audio/voices", Endpoint(voices.create, others, FORM, MOST_VOICE_BYTES)),
        _Route("DELETE", "/v1/audio/voices/{voice}", Endpoint(voices.delete, others)),
    ]
    routes += _open_inference(OpenInferenceRoutes(services.models), runs, others, settings.max_message_bytes)
    router = Router(routes, redirect_slashes=False, default=_no_route)
    return Guard(router, parts_of(settings.http_hosts), parts_of(settings.http_origins))


def _open_inference(door: OpenInferenceRoutes, runs: Calls, others: Calls, most_bytes: int) -> list[_Route]:
    infer = Endpoint(door.infer, runs, "", most_bytes)
    model, versioned = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
    gets = {
        "/v2": door.server,
        "/v2/health/live": door.live,
        "/v2/health/ready": door.ready,
        "/v2/models/stats": door.statistics,
        "/v2/systemsharedmemory/status": door.no_regions,
        "/v2/cudasharedmemory/status": door.no_regions,
    }
    for each in (model, versioned):
        gets |= {each: door.metadata, f"{each}/ready": door.model_ready}
        gets |= {f"{each}/config": door.config, f"{each}/stats": door.statistics}
    posts = {"/v2/repository/index": door.index, "/v2/repository/models/{model}/{verb}": door.not_here}
    for kind in ("systemsharedmemory", "cudasharedmemory"):
        posts |= {f"/v2/{kind}/unregister": door.let_go, f"/v2/{kind}/region/{{region}}/unregister": door.let_go}
        posts |= {f"/v2/{kind}/region/{{region}}/register": door.not_here}
    return [
        *(_Route("POST", f"{each}/infer", infer) for each in (model, versioned)),
        *(_Route("GET", path, Endpoint(handle, others)) for path, handle in gets.items()),
        *(_Route("POST", path, Endpoint(handle, others, "")) for path, handle in posts.items()),
    ]


async def _health(call: Call) -> ASGIApp:
    return Answer(msgspec.json.encode({"status": "serving"}))


async def _no_route(scope: Scope, receive: Receive, send: Send) -> None:
    refusal = Refusal(404, f"there is nothing at {scope['path'][:200]}")
    await answer_to(refusal, scope)(scope, receive, send)
