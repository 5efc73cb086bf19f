"""Keys and tenants."""

from starlette.types import ASGIApp

from kernelport.shapes import plain, usage_csv
from kernelport.v1 import access_pb2 as pb
from kernelport_api.doors.http.answers import Answer, json_answer
from kernelport_api.doors.http.api.queries import Query, checked, field, invalid, known
from kernelport_api.doors.http.endpoint import OVER_HTTP, HttpCall
from kernelport_api.doors.texts import with_short_texts
from kernelport_api.services.access import KeyNotFoundError, Keys

_NEW = ("name", "tenant", "scopes", "deployments", "expires_unix_us", "certificate", "quotas")


class KeyRoutes:
    """What is below /api/keys and /api/tenants, and /api/usage."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def all(self, call: HttpCall) -> ASGIApp:
        """Every key, in the order in which they were made; never its secret."""
        found = await self._keys.ListKeys(pb.ListKeysRequest(), OVER_HTTP)
        return json_answer({"keys": list(map(plain, found.keys))})

    async def create(self, call: HttpCall) -> ASGIApp:
        """Makes a key of `name`, `scopes`, and maybe `tenant`, `deployments`, `expires_unix_us`, `certificate` and
        `quotas`; its `token` is in this answer alone."""
        given = known(await call.json(), *_NEW)
        request = pb.CreateKeyRequest(
            name=field(given, "name", str, ""),
            tenant=field(given, "tenant", str, ""),
            certificate=field(given, "certificate", str, ""),
        )
        for name in ("scopes", "deployments"):
            texts = field(given, name, list, [])
            if not all(isinstance(each, str) for each in texts):
                raise invalid(name, "expected a list of texts")
            getattr(request, name).extend(texts)
        expires = field(given, "expires_unix_us", int, 0)
        checked(lambda: setattr(request, "expires_unix_us", expires), "expires_unix_us")
        checked(lambda: request.quotas.update(field(given, "quotas", dict, {})), "quotas")
        made = await self._keys.CreateKey(with_short_texts(request), OVER_HTTP)
        return json_answer({**plain(made.key), "token": made.token}, status=201)

    async def set(self, call: HttpCall) -> ASGIApp:
        """Puts `quotas` in the place of those that a key has."""
        request, given = pb.SetKeyRequest(key=call.path["key"]), known(await call.json(), "quotas")
        checked(lambda: request.quotas.update(field(given, "quotas", dict, {})), "quotas")
        return json_answer(plain((await self._keys.SetKey(with_short_texts(request), OVER_HTTP)).key))

    async def revoke(self, call: HttpCall) -> ASGIApp:
        """Ends a key."""
        name = call.path["key"]
        if not (await self._keys.RevokeKey(pb.RevokeKeyRequest(key=name), OVER_HTTP)).removed:
            raise KeyNotFoundError(f"key: there is no key {name[:64]!r}")
        return json_answer({"key": name, "revoked": True})

    async def rotate(self, call: HttpCall) -> ASGIApp:
        """Gives a key a new secret, its `token`; the one before it stays valid for `grace_s` seconds, or an hour."""
        given = known(await call.json_or({}), "grace_s")
        grace_s = given.get("grace_s")
        request = checked(lambda: pb.RotateKeyRequest(key=call.path["key"], grace_s=grace_s), "grace_s")
        made = await self._keys.RotateKey(request, OVER_HTTP)
        return json_answer({**plain(made.key), "token": made.token})

    async def tenants(self, call: HttpCall) -> ASGIApp:
        """Every tenant, by name."""
        found = await self._keys.ListTenants(pb.ListTenantsRequest(), OVER_HTTP)
        return json_answer({"tenants": list(map(plain, found.tenants))})

    async def tenant(self, call: HttpCall) -> ASGIApp:
        """What is known of a tenant."""
        found = await self._keys.GetTenant(pb.GetTenantRequest(name=call.path["tenant"]), OVER_HTTP)
        return json_answer(plain(found.tenant))

    async def set_tenant(self, call: HttpCall) -> ASGIApp:
        """Makes a tenant, or puts `weight` and `quotas` in the place of what it has."""
        given = known(await call.json(), "weight", "quotas")
        if given.get("weight") == 0:  # which stands for none in a message
            raise invalid("weight", "expected a number above 0, got 0")
        tenant = checked(lambda: pb.Tenant(name=call.path["tenant"], weight=given.get("weight")), "weight")
        checked(lambda: tenant.quotas.update(field(given, "quotas", dict, {})), "quotas")
        request = with_short_texts(pb.SetTenantRequest(tenant=tenant))
        return json_answer(plain((await self._keys.SetTenant(request, OVER_HTTP)).tenant))

    async def usage(self, call: HttpCall) -> ASGIApp:
        """What tenants have used, by day, from `first_day` to `last_day`, of one `tenant` or all; `format=csv` for a
        table."""
        query = Query(call)
        request = pb.GetUsageRequest(**{name: query.text(name) for name in ("first_day", "last_day", "tenant")})
        found = await self._keys.GetUsage(with_short_texts(request), OVER_HTTP)
        if query.text("format") == "csv":
            return Answer(usage_csv(found.usage).encode(), "text/csv; charset=utf-8")
        return json_answer({"usage": list(map(plain, found.usage))})
