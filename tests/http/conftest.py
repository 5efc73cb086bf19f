"""Fixtures of the HTTP tests."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from kernelport.config.settings import bundled_deployments
from tests.conftest import serving_stack, stack_settings


@pytest.fixture(scope="session")
def open_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A front door that another name and another origin are configured for."""
    settings = replace(
        stack_settings(bundled_deployments()), http_hosts="speech.example", http_origins="https://app.example"
    )
    with serving_stack(settings, [], tmp_path_factory.mktemp("open")) as stack:
        yield stack.url
