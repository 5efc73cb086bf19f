"""The client of Lambda Cloud, against a cloud that lies as the real one does."""

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from kernelport.config.scaling import LambdaCloud
from kernelport_ops.autoscale.providers.lambda_cloud.choice import offers, refusal
from kernelport_ops.autoscale.providers.lambda_cloud.client import Client
from kernelport_ops.autoscale.providers.lambda_cloud.errors import UnansweredError, error_of
from kernelport_ops.autoscale.providers.lambda_cloud.pacer import Pacer
from kernelport_ops.autoscale.providers.lambda_cloud.types import InstanceStatus, Launch
from kernelport_ops.autoscale.providers.provider import NoCapacityError, ProviderError, RefusedError
from tests.ops.fake_lambda.clocks import VirtualClock
from tests.ops.fake_lambda.cloud import KEY, FakeCloud, FakeInstance
from tests.ops.fake_lambda.faults import NONE, Faults, draw
from tests.ops.fake_lambda.server import serve

LAUNCH = Launch(
    "kp-main-a-1-b", "gpu_1x_a10", "us-west-1", "key", "lambda-stack-24-04", "#cloud-config\nsecret: hush", {"a-b": "c"}
)
WANTED = LambdaCloud(ssh_key="key", registry="ghcr.io/owner")


class Nothing:
    def start(self, instance: FakeInstance) -> None: ...

    def stop(self, instance: FakeInstance) -> None: ...


@contextmanager
def a_cloud(faults: Faults = NONE, key: str = KEY) -> Iterator[tuple[FakeCloud, Client, VirtualClock]]:
    clock = VirtualClock()
    cloud = FakeCloud(clock.time, Nothing(), faults)
    with serve(cloud) as url:
        yield cloud, Client(key, url, Pacer(clock), timeout_s=10), clock


def test_calls_keep_to_one_a_second_and_launches_to_one_in_twelve() -> None:
    with a_cloud() as (cloud, client, clock):
        started = clock.now
        for _ in range(3):
            client.instances()
        for index in range(3):
            client.launch(replace(LAUNCH, name=f"machine-{index}"))
        assert cloud.throttled == 0
        assert 24 < clock.now - started < 32


def test_listed_capacity_that_is_not_there_is_a_normal_event() -> None:
    with a_cloud(Faults(refused=1.0)) as (cloud, client, _), pytest.raises(NoCapacityError):
        client.launch(LAUNCH)
    assert not cloud.launches


def test_a_launch_without_an_answer_is_not_tried_again_and_shows_in_the_list() -> None:
    with a_cloud(Faults(unanswered=1.0)) as (cloud, client, _):
        with pytest.raises(UnansweredError):
            client.launch(LAUNCH)
        assert cloud.launches == [LAUNCH.name]
        (found,) = client.instances()
        assert (found.name, found.status, found.tags, found.price) == (LAUNCH.name, "booting", {"a-b": "c"}, 1.29)


def test_what_only_reads_is_tried_again_when_the_cloud_is_out() -> None:
    with a_cloud() as (cloud, client, clock):
        cloud._outage_until = clock.now + 5
        assert client.instances() == []


def test_terminating_what_is_gone_is_fine_and_keeps_nothing_else_from_ending() -> None:
    with a_cloud() as (cloud, client, clock):
        there = client.launch(LAUNCH)
        client.terminate(["gone", there])
        clock.sleep(60)
        assert client.instances() == []
        assert cloud.rate() == 0


def test_a_wrong_key_is_refused_and_appears_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    with a_cloud(key="wrong-but-secret") as (_, client, _), caplog.at_level(logging.DEBUG):
        with pytest.raises(RefusedError, match="global/invalid-api-key") as caught:
            client.instances()
        assert "wrong-but-secret" not in str(caught.value) + caplog.text


def test_no_secret_is_in_what_is_read_or_shown() -> None:
    with a_cloud() as (_, client, _):
        client.launch(LAUNCH)
        assert "jupyter-token" not in repr(client.instances())
    assert "hush" not in repr(LAUNCH)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("instance-operations/launch/insufficient-capacity", NoCapacityError),
        ("global/quota-exceeded", RefusedError),
        ("global/internal-error", ProviderError),
        ("provider/internal-unavailable", ProviderError),
    ],
)
def test_errors_are_told_apart_by_their_code_alone(code: str, kind: type[ProviderError]) -> None:
    error = error_of(400, code, "insufficient-capacity, quota-exceeded")
    found = next((each for each in (NoCapacityError, RefusedError) if isinstance(error, each)), ProviderError)
    assert found is kind


def test_the_cheapest_gpu_comes_first_and_arm64_never_without_images() -> None:
    with a_cloud() as (_, client, _):
        kinds = client.instance_types()
    assert [offer.kind for offer in offers(kinds, WANTED)][::3] == ["gpu_1x_a10", "gpu_1x_a100", "gpu_1x_h100_pcie"]
    gh200 = next(kind for kind in kinds if kind.name == "gpu_1x_gh200")
    named = WANTED.model_copy(update={"instance_types": ("gpu_1x_gh200", "gpu_8x_a100")})
    assert refusal(gh200, named) == "is an arm64 machine, and there are no arm64 images"
    assert refusal(gh200, named.model_copy(update={"arm64_images": True})) is None
    assert {(offer.kind, offer.workers) for offer in offers(kinds, named)} == {("gpu_8x_a100", 8)}
    near = WANTED.model_copy(update={"regions": ("us-east-1", "us-west-1")})
    assert [offer.region for offer in offers(kinds, near)][:2] == ["us-east-1", "us-west-1"]


def test_a_status_that_is_new_is_not_an_error() -> None:
    assert InstanceStatus("meditating") is InstanceStatus.UNKNOWN


def test_boots_have_the_tail_that_was_seen() -> None:
    dice = random.Random(1)
    boots = sorted(draw(Faults(), dice).active_s for _ in range(2000))
    assert 120 < boots[1000] < 180
    assert 400 < boots[-1] <= 857
