"""What each method and route asks of its callers. One that is not here is refused to everybody."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kernelport.access.principals import ADMIN, INFER, JOBS, SCOPES, VOICES

# Where rows are missing, for whoever reads logs.
TABLE = "api/kernelport_api/access/needs.py"


@dataclass(frozen=True)
class Need:
    """What a call asks of its caller.

    Attributes:
        told: for people.
        scopes: any of which suffices.
        setting: by which it needs no key; empty for none.
        is_open: whether it never needs one.
        is_signable: whether a signed address may stand for the key.
    """

    told: str
    scopes: frozenset[str] = frozenset(SCOPES)
    setting: str = ""
    is_open: bool = False
    is_signable: bool = False


def _scope(name: str, *, is_signable: bool = False) -> Need:
    return Need(f"`{name}`", frozenset({name}), is_signable=is_signable)


_SIGN_IN = Need("nothing: the key is in the body", is_open=True)
_PAGE = Need("nothing: the page tells nothing by itself", is_open=True)
_HEALTH = Need("nothing; any key with `KERNELPORT_OPEN_HEALTH=0`", setting="open_health")
_REFLECTION = Need("any key; nothing with `KERNELPORT_OPEN_REFLECTION=1`", setting="open_reflection")
_ANY = Need("any key")
_INFER, _JOBS, _VOICES, _ADMIN = map(_scope, (INFER, JOBS, VOICES, ADMIN))
_DOWNLOAD, _LISTEN = _scope(JOBS, is_signable=True), _scope(VOICES, is_signable=True)

_METHODS: Mapping[Need, tuple[str, ...]] = {
    _HEALTH: (
        *("grpc.health.v1.Health/Check", "grpc.health.v1.Health/Watch"),
        *("inference.GRPCInferenceService/ServerLive", "inference.GRPCInferenceService/ServerReady"),
    ),
    _REFLECTION: ("grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",),
    _ANY: (
        *("DeploymentService/ListDeployments", "DeploymentService/GetDeployment"),
        *("VoiceService/ListVoices", "VoiceService/GetVoice", "AccessService/GetUsage"),
        "inference.GRPCInferenceService/ServerMetadata",
        "inference.GRPCInferenceService/ModelReady",
        "inference.GRPCInferenceService/ModelMetadata",
        "inference.GRPCInferenceService/ModelConfig",
        "inference.GRPCInferenceService/RepositoryIndex",
        "inference.GRPCInferenceService/SystemSharedMemoryStatus",
        "inference.GRPCInferenceService/SystemSharedMemoryUnregister",
        "inference.GRPCInferenceService/CudaSharedMemoryStatus",
        "inference.GRPCInferenceService/CudaSharedMemoryUnregister",
    ),
    _INFER: (
        *("InferenceService/Infer", "InferenceService/InferStream", "InferenceService/InferChunked"),
        "inference.GRPCInferenceService/ModelInfer",
        "inference.GRPCInferenceService/ModelStreamInfer",
        "inference.GRPCInferenceService/ModelStatistics",
        *("DeadLetterService/ListDeadLetters", "DeadLetterService/GetDeadLetter"),
        *("DeadLetterService/ReplayDeadLetter", "DeadLetterService/PurgeDeadLetter"),
    ),
    _JOBS: (
        *("JobService/SubmitJob", "JobService/AddItems", "JobService/GetJob", "JobService/ListJobs"),
        *("JobService/WatchJob", "JobService/CancelJob", "JobService/ResumeJob", "JobService/DeleteJob"),
        *("JobService/ReplaceItems", "JobService/ListItems", "JobService/GetItemOutput", "JobService/GetManifest"),
    ),
    _VOICES: ("VoiceService/AddVoice", "VoiceService/DeleteVoice"),
    _ADMIN: (
        *("JobService/ListOrphans", "JobService/DeleteOrphan"),
        *("AccessService/CreateKey", "AccessService/ListKeys", "AccessService/RevokeKey", "AccessService/RotateKey"),
        *("AccessService/SetKey", "AccessService/SetTenant", "AccessService/ListTenants", "AccessService/GetTenant"),
    ),
}
_MODEL, _VERSION = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
_JOB, _LETTER = "/api/jobs/{job}", "/api/dead-letters/{deployment}/{letter}"
_ROUTES: Mapping[Need, tuple[str, ...]] = {
    _HEALTH: ("GET /health", "GET /v2/health/live", "GET /v2/health/ready"),
    _REFLECTION: ("GET /openapi.json", "GET /docs"),
    _ANY: (
        *("GET /v1/models", "GET /v1/models/{model:path}", "GET /v1/audio/models", "GET /v1/audio/voices"),
        *("GET /v2", f"GET {_MODEL}", f"GET {_VERSION}", f"GET {_MODEL}/ready", f"GET {_VERSION}/ready"),
        *(f"GET {_MODEL}/config", f"GET {_VERSION}/config", "POST /v2/repository/index"),
        "POST /v2/repository/models/{model}/{verb}",
        *(f"{verb} /v2/{path}" for verb in ("GET", "POST") for path in ("logging", "trace/setting")),
        *(f"{verb} {_MODEL}/trace/setting" for verb in ("GET", "POST")),
        *(f"GET /v2/{kind}sharedmemory/status" for kind in ("system", "cuda")),
        *(f"POST /v2/{kind}sharedmemory/unregister" for kind in ("system", "cuda")),
        *(
            f"POST /v2/{kind}sharedmemory/region/{{region}}/{verb}"
            for kind in ("system", "cuda")
            for verb in ("register", "unregister")
        ),
        *("GET /api/deployments", "GET /api/deployments/{deployment}"),
        *("GET /api/voices", "GET /api/voices/{voice}", "GET /api/events", "GET /api/usage", "POST /api/signed"),
    ),
    _SIGN_IN: ("POST /api/session", "DELETE /api/session"),
    _PAGE: ("GET /", "GET /studio/{name}"),
    _INFER: (
        *("POST /v1/audio/speech", "GET /v1/audio/speech/stream"),
        *(f"POST {_MODEL}/infer", f"POST {_VERSION}/infer"),
        *("GET /v2/models/stats", f"GET {_MODEL}/stats", f"GET {_VERSION}/stats"),
        *("GET /api/dead-letters/{deployment}", f"GET {_LETTER}", f"DELETE {_LETTER}", f"POST {_LETTER}/replay"),
    ),
    _JOBS: (
        *("POST /v1/files", "GET /v1/files", "GET /v1/files/{file}", "DELETE /v1/files/{file}"),
        *("POST /v1/batches", "GET /v1/batches", "GET /v1/batches/{batch}", "POST /v1/batches/{batch}/cancel"),
        *("GET /api/jobs", "POST /api/jobs", f"GET {_JOB}", f"DELETE {_JOB}", f"GET {_JOB}/items"),
        *(f"POST {_JOB}/cancel", f"POST {_JOB}/resume", "POST /api/jobs/preview"),
    ),
    _DOWNLOAD: (
        "GET /v1/files/{file}/content",
        *(f"GET {_JOB}/outputs.zip", f"GET {_JOB}/outputs/{{item:path}}", f"GET {_JOB}/manifest"),
    ),
    _LISTEN: ("GET /api/voices/{voice}/recording",),
    _VOICES: (
        *("POST /v1/audio/voices", "DELETE /v1/audio/voices/{voice}"),
        *("POST /api/voices", "POST /api/voices/check", "DELETE /api/voices/{voice}"),
    ),
    _ADMIN: (
        *("GET /api/keys", "POST /api/keys", "PUT /api/keys/{key}", "DELETE /api/keys/{key}"),
        "POST /api/keys/{key}/rotate",
        *("GET /api/tenants", "GET /api/tenants/{tenant}", "PUT /api/tenants/{tenant}"),
        *("GET /api/operations", "GET /api/workers", "POST /api/workers/{worker}/drain"),
    ),
}


def _by_name(table: Mapping[Need, tuple[str, ...]]) -> Iterator[tuple[str, Need]]:
    for need, names in table.items():
        for name in names:
            yield name, need


# By `Service/Method`, ours without their package; and by `METHOD path`, as routes are declared.
METHODS: Mapping[str, Need] = dict(_by_name(_METHODS))
ROUTES: Mapping[str, Need] = dict(_by_name(_ROUTES))
