"""What browsers have in place of a key: a session in a cookie, and addresses that are signed for some minutes."""

from http.cookies import SimpleCookie
from urllib.parse import quote

import msgspec
from starlette.types import ASGIApp

from kernelport.access.tokens import read_token
from kernelport.errors import PermissionDeniedError
from kernelport_api.access.decision import Access
from kernelport_api.access.signatures import ADDRESS_S, SESSION_S
from kernelport_api.calls import current
from kernelport_api.doors.credentials import COOKIE, SIGNATURE
from kernelport_api.doors.http.answers import JSON, Answer, json_answer
from kernelport_api.doors.http.api.queries import field, invalid, known
from kernelport_api.doors.http.endpoint import HttpCall


class SessionRoutes:
    """`/api/session` and `/api/signed`."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def begin(self, call: HttpCall) -> ASGIApp:
        """Signs a browser in: the `key` in the body becomes a session in a cookie. It ends with the key, or after
        twelve hours."""
        token = field(known(await call.json(), "key"), "key", str, "")
        key, presented = self._access.key_of(token), read_token(token)
        if presented is None:
            raise AssertionError("a key that is valid can be read")
        told = {"name": key.name, "tenant": key.tenant, "scopes": key.scopes, "deployments": key.deployments or ()}
        return self._answer(call, told, self._access.signatures.session(key, presented.sha256), SESSION_S)

    async def end(self, call: HttpCall) -> ASGIApp:
        """Signs a browser out."""
        return self._answer(call, {"ended": True}, "", 0)

    async def sign(self, call: HttpCall) -> ASGIApp:
        """Gives an address for the `path` of a download that needs no key for some minutes, for `<a>` and `<audio>`."""
        path = field(known(await call.json(), "path"), "path", str, "")
        if not path.startswith("/") or path.startswith("//") or "?" in path or "#" in path:
            raise invalid("path", f"expected the path of a download here, got {path[:200]!r}")
        principal = current().principal
        if not principal.key_id:  # nobody needs a key
            return json_answer({"url": quote(path), "expires_s": ADDRESS_S})
        record = self._access.snapshot.keys.get(principal.key_id)
        if record is None:
            raise PermissionDeniedError("the key has been revoked")
        signature = self._access.signatures.address(record, path)
        return json_answer({"url": f"{quote(path)}?{SIGNATURE}={signature}", "expires_s": ADDRESS_S})

    @staticmethod
    def _answer(call: HttpCall, told: object, session: str, lasts_s: int) -> Answer:
        cookie: SimpleCookie = SimpleCookie({COOKIE: session})
        morsel = cookie[COOKIE]
        morsel["path"], morsel["samesite"], morsel["max-age"] = "/", "Strict", str(lasts_s)
        morsel["httponly"], morsel["secure"] = True, call.scope["scheme"] in ("https", "wss")
        headers = {"set-cookie": morsel.OutputString(), "cache-control": "no-store"}
        return Answer(msgspec.json.encode(told), JSON, headers=headers)
