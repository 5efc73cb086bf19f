"""What Lambda Cloud says when it does not do what it is asked, by its error codes. Messages are never looked at."""

from kernelport_ops.autoscale.providers.provider import NoCapacityError, ProviderError, RefusedError

INSUFFICIENT_CAPACITY = "instance-operations/launch/insufficient-capacity"
RULESET_IN_USE = "firewall-rulesets/firewall-ruleset-in-use"
NOT_FOUND = {"global/object-does-not-exist", "global/not-found"}
RATE_LIMITED = 429
# Refused for a reason that the next try meets, too.
_LASTING = {
    "global/invalid-api-key",
    "global/account-inactive",
    "global/forbidden",
    "global/invalid-parameters",
    "global/invalid-address",
    "global/quota-exceeded",
    "instance-operations/launch/file-system-in-wrong-region",
    *NOT_FOUND,
}


class CloudError(ProviderError):
    """An answer that is an error.

    Attributes:
        code: the error's code; empty when there was none.
        status: the HTTP status.
    """

    def __init__(self, code: str, status: int, message: str) -> None:
        super().__init__(f"{code or status}: {message}")
        self.code = code
        self.status = status


class CloudRefusedError(CloudError, RefusedError):
    """Refused for a reason that the next try meets, too; nothing was done."""


class CloudCapacityError(CloudError, NoCapacityError):
    """There is no such machine to be had now; nothing was done."""


class UnansweredError(ProviderError):
    """No answer came, or none that can be read: what was asked for may have been done."""


def error_of(status: int, code: str, message: str) -> CloudError:
    """The error of an answer."""
    if code == INSUFFICIENT_CAPACITY:
        return CloudCapacityError(code, status, message)
    if code in _LASTING:
        return CloudRefusedError(code, status, message)
    return CloudError(code, status, message)
