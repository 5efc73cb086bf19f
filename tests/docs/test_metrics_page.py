"""docs/metrics.md is what the code shows."""

import re

from kernelport.config.deployments import NAME
from kernelport.telemetry import metrics
from tests.docs.metrics_page import PAGE, page
from tests.monitoring.expressions import OF_PROCESSES, existing_metrics


def test_the_catalogue_is_the_code() -> None:
    assert PAGE.read_text() == page(), "run python -m tests.docs.metrics_page"


def test_no_metric_is_left_out() -> None:
    told = page()
    for name in existing_metrics() - OF_PROCESSES:
        assert name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") in told


def test_no_deployment_can_have_the_name_of_those_that_are_unknown() -> None:
    assert re.fullmatch(NAME, metrics.UNKNOWN) is None
