"""All services of the gRPC door."""

from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from kernelport.config.settings import Settings
from kernelport.limits import MAX_CALLS_OF_CONNECTION, MAX_PENDING_CALLS, SHORTEST_PING_MS
from kernelport.open_inference import inference_pb2 as open_inference_pb2
from kernelport.open_inference import inference_pb2_grpc
from kernelport.v1 import (
    access_pb2,
    access_pb2_grpc,
    dead_letter_pb2,
    dead_letter_pb2_grpc,
    deployment_pb2,
    deployment_pb2_grpc,
    inference_pb2,
    job_pb2,
    job_pb2_grpc,
    voice_pb2,
    voice_pb2_grpc,
)
from kernelport_api.calls import AccessLog
from kernelport_api.doors.grpc.health import Health
from kernelport_api.doors.grpc.inference import InferenceDoor
from kernelport_api.doors.grpc.methods import Methods
from kernelport_api.doors.grpc.open_inference import OpenInferenceService
from kernelport_api.doors.services import Services

_SERVICES = (
    inference_pb2.DESCRIPTOR.services_by_name["InferenceService"].full_name,
    deployment_pb2.DESCRIPTOR.services_by_name["DeploymentService"].full_name,
    dead_letter_pb2.DESCRIPTOR.services_by_name["DeadLetterService"].full_name,
    job_pb2.DESCRIPTOR.services_by_name["JobService"].full_name,
    voice_pb2.DESCRIPTOR.services_by_name["VoiceService"].full_name,
    access_pb2.DESCRIPTOR.services_by_name["AccessService"].full_name,
    open_inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name,
    health.SERVICE_NAME,
    reflection.SERVICE_NAME,
)


def grpc_server(
    services: Services, statuses: Health, settings: Settings, access_log: AccessLog, *, shares_ports: bool
) -> grpc.aio.Server:
    """The whole door as a server that does not listen yet.

    Args:
        shares_ports: whether others of the same user may listen where it does.
    """
    server = grpc.aio.server(options=_options(settings, shares_ports))
    infer = InferenceDoor(services.inference, services.runs, access_log, services.access, settings.max_message_bytes)
    server.add_generic_rpc_handlers((infer.handler(),))
    runs: Any = Methods(server, services.runs, access_log, services.access)
    inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(OpenInferenceService(services.models), runs)
    others: Any = Methods(server, services.others, access_log, services.access)
    deployment_pb2_grpc.add_DeploymentServiceServicer_to_server(services.described, others)
    dead_letter_pb2_grpc.add_DeadLetterServiceServicer_to_server(services.letters, others)
    job_pb2_grpc.add_JobServiceServicer_to_server(services.jobs, others)
    voice_pb2_grpc.add_VoiceServiceServicer_to_server(services.voices, others)
    access_pb2_grpc.add_AccessServiceServicer_to_server(services.keys, others)
    describing: Any = reflection_pb2_grpc
    describing.add_ServerReflectionServicer_to_server(reflection.aio.ReflectionServicer(_SERVICES), others)
    # Asking for its health is never one call too many, and of no interest.
    watches: Any = Methods(server, services.watches, AccessLog(access_log.front_door), services.access)
    health_pb2_grpc.add_HealthServicer_to_server(statuses, watches)
    return server


def _options(settings: Settings, shares_ports: bool) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", -1),
        # Unless that is wanted, two front doors must not share connections silently: a taken port is an error.
        ("grpc.so_reuseport", int(shares_ports)),
        # Calls are taken up in the order in which they came: a crowd on one connection would be ahead of everybody. A
        # client holds back what is more. Without the second line, gRPC also counts calls that have just been answered,
        # and refuses new ones for them.
        ("grpc.max_concurrent_streams", MAX_CALLS_OF_CONNECTION),
        ("grpc.http.overload_protection", 0),
        # gRPC's own limit is 1,000 calls that nobody has taken up yet, and it answers the next with CANCELLED, which
        # nobody did. Who calls too many at once is told so by kernelport_api.queueing.admission.
        ("grpc.server.max_pending_requests", MAX_PENDING_CALLS),
        ("grpc.server.max_pending_requests_hard_limit", MAX_PENDING_CALLS),
        # Clients may ask whether the connection lives, with or without calls on it.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", SHORTEST_PING_MS),
    ]
