"""What a client can find out: deployments, their state and tensors, health, and the contract itself."""

import os

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from kernelport import Client, NotFoundError
from kernelport.config.deployments import load_deployments
from kernelport.config.settings import bundled_deployments
from kernelport.signature import describe
from kernelport.supervisor.stack import Stack
from kernelport.v1 import deployment_pb2 as pb
from tests.conftest import BUNDLED
from tests.e2e.conftest import OWN_LIMIT_S
from tests.waiting import descendants

Health = health_pb2.HealthCheckResponse
LANGUAGE = {"locale": "U8[bytes]", "lexicon": "U8[bytes]"}


def test_the_list_has_every_deployment_by_name(client: Client) -> None:
    deployments = client.deployments()
    assert [each.name for each in deployments] == sorted(load_deployments(bundled_deployments()))
    assert {each.name for each in deployments if each.live_workers} == set(BUNDLED)
    for each in deployments:
        described = client.deployment(each.name)
        assert described.front_doors
        described.ClearField("front_doors")  # which the list leaves out
        assert described == each


@pytest.mark.parametrize(
    ("name", "backend", "manifest", "image", "inputs", "outputs", "max_batch"),
    [
        (
            "identity-onnx",
            *("onnx", "identity-onnx", "kernelport-onnx:cpu"),
            *({"x": "F32[N, C, H, W]"}, {"y": "F32[N, C, H, W]"}, 32),
        ),
        (
            "helion-demo",
            *("helion", "", "kernelport-helion:gpu"),
            *({"x": "F32|F16[rows, columns]"}, {"y": "F32|F16[rows, columns]"}, 32),
        ),
        (
            "hibari-en",
            *("onnx", "hibari-heart", "kernelport-onnx:cpu"),
            *({"text": "U8[bytes]", "speed": "F32[1]", "seed": "I64[1]", **LANGUAGE},),
            *({"audio": "F32[samples]", "sample_rate": "I32[1]", "spoken": "U8[bytes]", "spans": "I32[pieces, 4]"}, 8),
        ),
    ],
)
def test_a_deployment_is_described(
    name: str,
    backend: str,
    manifest: str,
    image: str,
    inputs: dict[str, str],
    outputs: dict[str, str],
    max_batch: int,
    client: Client,
) -> None:
    deployment = client.deployment(name)
    assert (deployment.name, deployment.backend) == (name, backend)
    assert (deployment.manifest, deployment.image) == (manifest, image)
    assert deployment.state == pb.DEPLOYMENT_STATE_SERVING
    assert {spec.name: describe(spec) for spec in deployment.signature.inputs} == inputs
    assert {spec.name: describe(spec) for spec in deployment.signature.outputs} == outputs
    assert deployment.policy.max_batch == max_batch
    assert deployment.policy.max_batch_bytes == 64 * 2**20
    assert deployment.policy.request_timeout_s == 60
    assert deployment.policy.device in ("cpu", "auto")


def test_optional_inputs_are_marked(client: Client) -> None:
    inputs = client.deployment("hibari-en").signature.inputs
    assert {spec.name for spec in inputs if spec.optional} == {"speed", "seed", "locale", "lexicon"}


def test_live_workers_are_the_processes_that_run(stack: Stack, client: Client) -> None:
    for name in BUNDLED:
        deployment = client.deployment(name)
        assert deployment.live_workers == len(deployment.workers) == 1
        worker = deployment.workers[0]
        started = stack.children[f"worker-{name}"].pid
        assert started is not None
        assert worker.pid in {started, *descendants(started)}
        assert worker.host == os.uname().nodename
        assert worker.device.startswith(("cpu", "cuda"))


def test_a_deployment_without_a_worker_is_unavailable(odd_stack: Stack) -> None:
    with Client(odd_stack.target, timeout_s=30) as client:
        nobody, hurried = client.deployment("nobody"), client.deployment("hurried")
    assert nobody.state == pb.DEPLOYMENT_STATE_UNAVAILABLE
    assert nobody.live_workers == 0
    assert not nobody.HasField("signature")
    assert hurried.state == pb.DEPLOYMENT_STATE_SERVING
    assert hurried.policy.request_timeout_s == OWN_LIMIT_S


@pytest.mark.parametrize("name", ["nope", "", "IDENTITY-ONNX", "é" * 200])
def test_an_unknown_deployment_is_not_found(name: str, client: Client) -> None:
    with pytest.raises(NotFoundError, match="no deployment is named"):
        client.deployment(name)


def test_health_overall_and_by_deployment(channel: grpc.Channel, odd_stack: Stack) -> None:
    assert [health(channel, name) for name in ("", *BUNDLED)] == [Health.SERVING] * (1 + len(BUNDLED))
    with grpc.insecure_channel(odd_stack.target) as odd:
        assert health(odd, "") == Health.SERVING
        assert health(odd, "sleeper") == Health.SERVING
        assert health(odd, "nobody") == Health.NOT_SERVING


def test_health_of_an_unknown_name_is_not_found(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        health(channel, "nope")
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


def test_reflection_lists_and_describes_the_services(channel: grpc.Channel) -> None:
    database = ProtoReflectionDescriptorDatabase(channel)
    assert set(database.get_services()) >= {
        "kernelport.v1.InferenceService",
        "kernelport.v1.DeploymentService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    pool = DescriptorPool(database)
    infer = pool.FindServiceByName("kernelport.v1.InferenceService").methods_by_name["Infer"]
    for message, published in (
        (infer.input_type, {"model": 1, "inputs": 2}),
        (infer.output_type, {"outputs": 1, "queued_us": 2, "batched_us": 3, "backend_us": 4}),
    ):
        assert {field.name: field.number for field in message.fields}.items() >= published.items()
    deployments = pool.FindServiceByName("kernelport.v1.DeploymentService")
    assert {"ListDeployments", "GetDeployment"} <= set(deployments.methods_by_name)


def health(channel: grpc.Channel, name: str) -> int:
    request = health_pb2.HealthCheckRequest(service=name)
    status: int = health_pb2_grpc.HealthStub(channel).Check(request, timeout=10).status
    return status
