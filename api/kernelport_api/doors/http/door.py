"""All routes of the HTTP door."""

import asyncio
import functools
from collections import defaultdict
from collections.abc import Callable

from starlette.routing import BaseRoute, Route, Router, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from kernelport.config.settings import Settings
from kernelport.config.values import parts_of
from kernelport.errors import KernelPortError
from kernelport_api.access.decision import Access
from kernelport_api.access.needs import ROUTES, Need
from kernelport_api.calls import AccessLog, current
from kernelport_api.doors.credentials import shown_over_http
from kernelport_api.doors.http.answers import JSON, json_answer
from kernelport_api.doors.http.api import item_form
from kernelport_api.doors.http.api.events import Events
from kernelport_api.doors.http.api.jobs import JobRoutes
from kernelport_api.doors.http.api.keys import KeyRoutes
from kernelport_api.doors.http.api.lists import DeploymentRoutes, LetterRoutes, OperationRoutes, VoiceRoutes
from kernelport_api.doors.http.api.preview import Preview
from kernelport_api.doors.http.api.sessions import SessionRoutes
from kernelport_api.doors.http.api.submission import Submitting
from kernelport_api.doors.http.endpoint import FORM, WHILE_ALLOWED, Endpoint, HttpCall
from kernelport_api.doors.http.errors import Refusal, answer_to
from kernelport_api.doors.http.forms import MOST_VOICE_BYTES
from kernelport_api.doors.http.guard import Guard
from kernelport_api.doors.http.logged import Logged
from kernelport_api.doors.http.open_inference import OpenInferenceRoutes
from kernelport_api.doors.http.openai import conversation, speech
from kernelport_api.doors.http.openai.batch_outputs import BatchOutputs
from kernelport_api.doors.http.openai.batches import Batches
from kernelport_api.doors.http.openai.files import MOST_BYTES as MOST_FILE_BYTES
from kernelport_api.doors.http.openai.files import FileRoutes
from kernelport_api.doors.http.openai.lists import AudioVoices, SpeechModels
from kernelport_api.doors.http.openapi import Description, Known
from kernelport_api.doors.http.studio.files import StudioFiles
from kernelport_api.doors.services import Services


class _Route(Route):
    def __init__(self, access: Access, method: str, path: str, endpoint: Endpoint) -> None:
        super().__init__(path, endpoint, methods=[method])
        self._access, self._need = access, ROUTES.get(f"{method} {path}")
        self.known: Known = (method, path, endpoint)
        self.allowed = frozenset(self.methods or ())  # at this path, other routes' methods among them

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] in (self.methods or ()):
            current().route = f"{scope['method']} {self.path}"
            if await _may(self._access, self._need, scope, receive, send):
                await self.app(scope, receive, send)
        else:
            allow = ", ".join(sorted(self.allowed))
            refusal = Refusal(405, f"expected {allow} at this path, got {scope['method']}", allow=allow)
            await answer_to(refusal, scope)(scope, receive, send)


class _SocketRoute(WebSocketRoute):
    def __init__(self, access: Access, path: str, conversations: ASGIApp) -> None:
        super().__init__(path, conversations)
        self._access, self._need = access, ROUTES.get(f"GET {path}")

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        current().route = f"GET {self.path}"
        if await _may(self._access, self._need, scope, receive, send):
            await self.app(scope, receive, send)


async def _may(access: Access, need: Need | None, scope: Scope, receive: Receive, send: Send) -> bool:
    """Whether a caller may have a route. Who may not is told so."""
    try:
        current().principal = access.decide(need, lambda: shown_over_http(scope))
        scope[WHILE_ALLOWED] = lambda: access.while_allowed(need, lambda: shown_over_http(scope))
        return True
    except KernelPortError as error:
        await answer_to(error, scope)(scope, receive, send)
        return False


def application(services: Services, settings: Settings, access_log: AccessLog) -> ASGIApp:
    """The whole door as an ASGI application."""
    runs, others = services.runs, services.others
    route = functools.partial(_Route, services.access)
    speaking = speech.Speech(services.deployments, services.inference)
    conversations = conversation.Conversations(speaking, runs, services.watches)
    models = SpeechModels(services.deployments, services.inference)
    voices = AudioVoices(services.deployments, services.voices)
    # Paths are looked through in this order: those that are called most come first.
    routes = [route("POST", "/v1/audio/speech", Endpoint(speaking.create, runs, (JSON,), speech.MOST_BYTES))]
    routes += _open_inference(services, settings)
    routes += [
        route("GET", conversation.PATH, Endpoint(conversations.over_http, others)),
        route("GET", "/health", Endpoint(_Health(services.stop, services.not_serving).tell, services.watches)),
        route("GET", "/v1/models", Endpoint(models.all, others)),
        route("GET", "/v1/audio/models", Endpoint(models.all, others)),
        route("GET", "/v1/models/{model:path}", Endpoint(models.retrieve, others)),
        route("GET", "/v1/audio/voices", Endpoint(voices.all, others)),
        route("POST", "/v1/audio/voices", Endpoint(voices.create, others, (FORM,), MOST_VOICE_BYTES)),
        route("DELETE", "/v1/audio/voices/{voice}", Endpoint(voices.delete, others)),
    ]
    routes += _plain(services, settings) + _files_and_batches(services, settings)
    description = Description(each.known for each in routes)
    routes += [
        route("GET", "/openapi.json", Endpoint(description.openapi, others)),
        route("GET", "/docs", Endpoint(description.page, others)),
    ]
    if settings.studio:
        studio = StudioFiles()
        routes += [
            route("GET", "/", Endpoint(studio.page, others)),
            route("GET", "/studio/{name}", Endpoint(studio.file, others)),
        ]
    allowed: defaultdict[str, frozenset[str]] = defaultdict(frozenset)
    for each in routes:
        allowed[each.path] |= each.allowed
    for each in routes:
        each.allowed = allowed[each.path]
    sockets: list[BaseRoute] = [_SocketRoute(services.access, conversation.PATH, conversations)]
    router = Router([*sockets, *routes], redirect_slashes=False, default=_no_route)
    return Logged(Guard(router, parts_of(settings.http_hosts), parts_of(settings.http_origins)), access_log)


def _plain(services: Services, settings: Settings) -> list[_Route]:
    others, watches = services.others, services.watches
    route = functools.partial(_Route, services.access)
    jobs, submitting = JobRoutes(services.jobs), Submitting(services.jobs, services.inference)
    deployments, voices = DeploymentRoutes(services.described), VoiceRoutes(services.voices, settings.voice_consent)
    keys, sessions = KeyRoutes(services.keys), SessionRoutes(services.access)
    letters, operations = LetterRoutes(services.letters), OperationRoutes(services.operations)
    events = Events(services.voices, services.operations)
    preview = Preview(services.inference, services.operations.estimates)
    job, letter = "/api/jobs/{job}", "/api/dead-letters/{deployment}/{letter}"
    gets = {
        "/api/jobs": jobs.all,
        job: jobs.one,
        f"{job}/items": jobs.items,
        f"{job}/outputs.zip": jobs.outputs,
        f"{job}/outputs/{{item:path}}": jobs.output,
        f"{job}/manifest": jobs.manifest,
        "/api/deployments": deployments.all,
        "/api/deployments/{deployment}": deployments.one,
        "/api/operations": operations.all,
        "/api/workers": operations.workers,
        "/api/keys": keys.all,
        "/api/tenants": keys.tenants,
        "/api/tenants/{tenant}": keys.tenant,
        "/api/usage": keys.usage,
        "/api/voices": voices.all,
        "/api/voices/{voice}": voices.one,
        "/api/voices/{voice}/recording": voices.recording,
        "/api/dead-letters/{deployment}": letters.all,
        letter: letters.one,
    }
    deletes = {job: jobs.delete, "/api/voices/{voice}": voices.delete, letter: letters.purge}
    deletes |= {"/api/keys/{key}": keys.revoke, "/api/session": sessions.end}
    verbs = {f"{job}/cancel": jobs.cancel, f"{job}/resume": jobs.resume, "/api/keys/{key}/rotate": keys.rotate}
    verbs |= {"/api/keys": keys.create, "/api/session": sessions.begin, "/api/signed": sessions.sign}
    verbs["/api/workers/{worker}/drain"] = operations.drain
    submit = Endpoint(submitting.submit, others, (JSON, FORM), settings.max_message_bytes, item_form.MOST_BYTES)
    return [
        *(route("GET", path, Endpoint(handle, others)) for path, handle in gets.items()),
        *(route("DELETE", path, Endpoint(handle, others)) for path, handle in deletes.items()),
        *(route("POST", path, Endpoint(handle, others, (JSON,))) for path, handle in verbs.items()),
        route("POST", "/api/jobs", submit),
        route("POST", "/api/jobs/preview", Endpoint(preview.tell, others, (FORM,), item_form.MOST_BYTES)),
        route("PUT", "/api/keys/{key}", Endpoint(keys.set, others, (JSON,))),
        route("PUT", "/api/tenants/{tenant}", Endpoint(keys.set_tenant, others, (JSON,))),
        route("POST", "/api/voices", Endpoint(voices.add, others, (FORM,), MOST_VOICE_BYTES)),
        route("POST", "/api/voices/check", Endpoint(voices.check, others, (FORM,), MOST_VOICE_BYTES)),
        route("POST", f"{letter}/replay", Endpoint(letters.replay, services.runs, (JSON,))),
        route("GET", "/api/events", Endpoint(events.stream, watches)),
    ]


def _files_and_batches(services: Services, settings: Settings) -> list[_Route]:
    others, route = services.others, functools.partial(_Route, services.access)
    outputs = BatchOutputs(services.jobs, services.batches, services.files)
    files = FileRoutes(services.files, outputs)
    batches = Batches(
        services.deployments,
        services.inference,
        services.voices,
        services.jobs,
        Submitting(services.jobs, services.inference),
        services.files,
        services.batches,
        settings.job_retention_s,
    )
    return [
        route("POST", "/v1/files", Endpoint(files.create, others, (FORM,), MOST_FILE_BYTES)),
        route("GET", "/v1/files", Endpoint(files.all, others)),
        route("GET", "/v1/files/{file}", Endpoint(files.retrieve, others)),
        route("GET", "/v1/files/{file}/content", Endpoint(files.content, others)),
        route("DELETE", "/v1/files/{file}", Endpoint(files.delete, others)),
        route("POST", "/v1/batches", Endpoint(batches.create, others, (JSON,))),
        route("GET", "/v1/batches", Endpoint(batches.all, others)),
        route("GET", "/v1/batches/{batch}", Endpoint(batches.retrieve, others)),
        route("POST", "/v1/batches/{batch}/cancel", Endpoint(batches.cancel, others, (JSON,))),
    ]


def _open_inference(services: Services, settings: Settings) -> list[_Route]:
    route, others = functools.partial(_Route, services.access), services.others
    door = OpenInferenceRoutes(services.models)
    infer = Endpoint(door.infer, services.runs, (), settings.max_message_bytes)
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
    for path in ("/v2/logging", "/v2/trace/setting", f"{model}/trace/setting"):
        gets |= {path: door.not_here}
        posts |= {path: door.not_here}
    return [
        *(route("POST", f"{each}/infer", infer) for each in (model, versioned)),
        *(route("GET", path, Endpoint(handle, others)) for path, handle in gets.items()),
        *(route("POST", path, Endpoint(handle, others, ())) for path, handle in posts.items()),
    ]


class _Health:
    def __init__(self, stop: asyncio.Event, not_serving: Callable[[], str]) -> None:
        self._stop = stop
        self._not_serving = not_serving

    async def tell(self, call: HttpCall) -> ASGIApp:
        """Whether the front door takes calls."""
        if self._stop.is_set():
            return json_answer({"status": "stopping"}, 503)
        if reason := self._not_serving():
            return json_answer({"status": "not serving", "reason": reason}, 503)
        return json_answer({"status": "serving"})


async def _no_route(scope: Scope, receive: Receive, send: Send) -> None:
    refusal = Refusal(404, f"there is nothing at {scope['path'][:200]}")
    await answer_to(refusal, scope)(scope, receive, send)
