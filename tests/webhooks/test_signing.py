"""Whoever has a library of Standard Webhooks can verify what comes."""

import base64
import json
import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from kernelport.jobs.webhooks.signing import headers, secret_problem

SECRET = f"whsec_{base64.b64encode(bytes(range(32))).decode()}"
BODY = '{"type": "job.succeeded", "data": "größer"}'.encode()


def test_the_stock_library_verifies_what_is_sent() -> None:
    signed = headers(SECRET, "job.1", int(time.time()), BODY)
    assert Webhook(SECRET).verify(BODY, signed) == json.loads(BODY)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(BODY + b" ", signed)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(BODY, signed | {"webhook-id": "job.2"})


def test_signatures_are_those_of_the_specification() -> None:
    # The example in the specification's own text.
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    signed = headers(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_without_a_secret_nothing_is_signed() -> None:
    assert headers("", "job.1", 1, b"{}") == {"webhook-id": "job.1", "webhook-timestamp": "1"}


@pytest.mark.parametrize(
    "secret", ["s3cret", "whsec_", "whsec_s3cret", "whsec_c2hvcnQ=", f"whsec_{'QUFB' * 22}", "whsec_größer"]
)
def test_a_secret_that_other_libraries_would_read_otherwise_is_refused_without_telling_it(secret: str) -> None:
    problem = secret_problem(secret)
    assert problem is not None
    assert problem.startswith("expected whsec_ and 24 to 64 bytes in base64")
    assert not secret.removeprefix("whsec_") or secret.removeprefix("whsec_") not in problem
    with pytest.raises(ValueError, match="expected whsec_"):
        headers(secret, "job.1", 1, b"{}")
