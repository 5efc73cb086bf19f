"""An authority of the tests, and front doors that show what it vouches for."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kernelport.certificates.making import LOCAL_NAMES, Authority
from kernelport.config.settings import bundled_deployments
from kernelport.supervisor.stack import Stack
from tests.conftest import serving_stack, stack_settings


@pytest.fixture(scope="package")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="package")
def door(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose front door speaks TLS."""
    cert, key = map(str, authority.server(LOCAL_NAMES, "door"))
    settings = replace(stack_settings(bundled_deployments()), tls_cert=cert, tls_key=key)
    with serving_stack(settings, ["identity-onnx"], tmp_path_factory.mktemp("door")) as stack:
        yield stack


@pytest.fixture(scope="package")
def asking_door(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A front door that asks clients for a certificate. It has no workers."""
    cert, key = map(str, authority.server(LOCAL_NAMES, "asking-door"))
    settings = replace(
        stack_settings(bundled_deployments()), tls_cert=cert, tls_key=key, tls_client_ca=str(authority.file)
    )
    with serving_stack(settings, [], tmp_path_factory.mktemp("asking-door")) as stack:
        yield stack


@pytest.fixture
def ca(authority: Authority) -> str:
    return str(authority.file)


@pytest.fixture
def client_files(authority: Authority, tmp_path: Path) -> tuple[str, str]:
    """The files of a client's certificate and of its key."""
    cert, key = authority.client("robot")
    return str(cert), str(key)
