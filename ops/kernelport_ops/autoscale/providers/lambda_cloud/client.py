"""A client of Lambda Cloud's API, version 1.10: https://docs.lambda.ai/api/cloud.

What only reads, and what does nothing when it is done twice, is tried again when no answer comes. A launch never is:
whether it took place shows in the list of instances, under the name it was given.
"""

import json
import logging
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any

from kernelport_ops.autoscale.providers.lambda_cloud.errors import (
    NOT_FOUND,
    RATE_LIMITED,
    CloudError,
    UnansweredError,
    error_of,
)
from kernelport_ops.autoscale.providers.lambda_cloud.pacer import Pacer, shared_pacer
from kernelport_ops.autoscale.providers.lambda_cloud.types import Instance, InstanceType, Launch
from kernelport_ops.autoscale.providers.provider import NotSetError

log = logging.getLogger(__name__)

DEFAULT_URL = "https://cloud.lambda.ai/api/v1"
KEY_VARIABLE, URL_VARIABLE = "LAMBDA_CLOUD_API_KEY", "LAMBDA_CLOUD_URL"
TIMEOUT_S = 30.0
TRIES = 4
FIRST_PAUSE_S = 2.0


class Client:
    """Calls the API with one key.

    Args:
        key: the API key; it appears in no message.
        url: of the API.
    """

    def __init__(
        self,
        key: str,
        url: str = DEFAULT_URL,
        pacer: Pacer | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._key = key
        self._url = url.rstrip("/")
        self._pacer = pacer or shared_pacer()
        self._timeout_s = timeout_s
        # No proxy of the environment for loopback addresses, and no redirects: they would carry the key elsewhere.
        self._opener = urllib.request.build_opener(_NoRedirect)

    @classmethod
    def from_environment(cls) -> "Client":
        """With the key of LAMBDA_CLOUD_API_KEY.

        Raises:
            NotSetError: when there is none.
        """
        key = os.environ.get(KEY_VARIABLE, "")
        if not key:
            raise NotSetError(f"{KEY_VARIABLE} is not set: make a key at https://cloud.lambda.ai/api-keys")
        return cls(key, os.environ.get(URL_VARIABLE) or DEFAULT_URL)

    def instance_types(self) -> list[InstanceType]:
        """Every kind, by price."""
        items = self._call("GET", "/instance-types").values()
        return sorted(map(InstanceType.of, items), key=lambda kind: (kind.price, kind.name))

    def instances(self) -> list[Instance]:
        """All of the account."""
        return [Instance.of(item) for item in self._call("GET", "/instances")]

    def launch(self, launch: Launch, may_act: Callable[[], None] = lambda: None) -> str:
        """Launches one instance; returns its id. Tries once.

        Args:
            may_act: called when the launch's turn has come, right before it leaves; may raise.

        Raises:
            CloudCapacityError, CloudRefusedError: nothing was launched.
            UnansweredError, CloudError: it may have been, and then shows up in `instances`.
        """
        self._pacer.wait(launch=True)
        may_act()
        data = self._send("POST", "/instance-operations/launch", launch.body())
        return str(data["instance_ids"][0])

    def terminate(self, ids: Sequence[str]) -> None:
        """Ends instances; those that are gone already are fine."""
        if not ids:
            return
        try:
            self._call("POST", "/instance-operations/terminate", {"instance_ids": list(ids)})
        except CloudError as error:
            if error.code not in NOT_FOUND:
                raise
            if len(ids) > 1:  # one of them is gone, and so none was ended
                for each in ids:
                    self.terminate([each])

    def create_ruleset(self, name: str, region: str, rules: Sequence[dict[str, Any]]) -> str:
        """Makes a firewall ruleset; returns its id."""
        return str(self._call("POST", "/firewall-rulesets", {"name": name, "region": region, "rules": rules})["id"])

    def rulesets(self) -> dict[str, str]:
        """The ids of firewall rulesets by name."""
        return {item["name"]: item["id"] for item in self._call("GET", "/firewall-rulesets")}

    def delete_ruleset(self, ruleset_id: str) -> None:
        """Deletes a firewall ruleset."""
        self._call("DELETE", f"/firewall-rulesets/{ruleset_id}")

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        """A call that may be repeated."""
        pause_s = FIRST_PAUSE_S
        for last in [False] * (TRIES - 1) + [True]:
            self._pacer.wait()
            try:
                return self._send(method, path, body)
            except CloudError as error:
                passing = error.status == RATE_LIMITED or error.status >= 500
                if last or not passing:
                    raise
                log.warning("%s %s: %s; again in %g s", method, path, error, pause_s)
            except UnansweredError as error:
                if last:
                    raise
                log.warning("%s %s: %s; again in %g s", method, path, error, pause_s)
            self._pacer.hold_back(pause_s)
            pause_s *= 2
        raise AssertionError("unreachable")

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 - the URL is configuration
            self._url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self._key}",
                "Accept": "application/json",
                "Content-Type": "application/json",
                "User-Agent": "kernelport",
            },
        )
        try:
            with self._opener.open(request, timeout=self._timeout_s) as response:
                return _data(response.read())
        except urllib.error.HTTPError as error:
            with error:
                raise self._error(error.code, error.read()) from None
        except (OSError, TimeoutError) as error:
            raise UnansweredError(f"no answer from Lambda Cloud: {error}") from None

    def _error(self, status: int, content: bytes) -> CloudError:
        try:
            error = json.loads(content)["error"]
            code, message = str(error["code"]), str(error.get("message", ""))
        except (ValueError, KeyError, TypeError):
            code, message = "", f"HTTP {status}"
        if status == RATE_LIMITED:
            self._pacer.hold_back(FIRST_PAUSE_S)
        return error_of(status, code, message)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def _data(content: bytes) -> Any:
    try:
        return json.loads(content)["data"]
    except (ValueError, KeyError, TypeError):
        raise UnansweredError("Lambda Cloud's answer cannot be read") from None
