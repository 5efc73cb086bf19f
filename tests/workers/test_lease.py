"""How sure a worker can be of a batch in its hands."""

from prometheus_client import REGISTRY
from redis import Redis

from kernelport.stack import Stack
from kernelport_workers.lease import LOOK_INTERVAL_S, Lease
from tests.waiting import wait_for


def test_a_lease_that_has_run_out_stays_uncertain_though_it_is_renewed(stack: Stack) -> None:
    """A worker that stood still may renew, when it goes on, what has been given to another one meanwhile."""
    with Redis.from_url(stack.settings.redis_url) as redis:
        lease_s = 0.8 * LOOK_INTERVAL_S  # it runs out before anybody looks
        before = _renewals()
        with Lease(redis, lease_s).hold("run out") as hold:
            assert hold.is_certain
            wait_for(lambda: _renewals() > before)
            assert not hold.is_certain


def _renewals() -> float:
    return REGISTRY.get_sample_value("kernelport_lease_renewals_total") or 0.0
