"""Connections to Redis. Every process makes its own here: URL, retries and time limits mean the same to all.

A command is tried once more, on a fresh connection, when Redis has closed the one it had. Whatever lasts longer is the
caller's to report or to wait for: `until_done` waits, and `outage` tells the log once.
"""

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import parse_qs, quote, urlsplit

from redis import BlockingConnectionPool, Redis
from redis.asyncio import BlockingConnectionPool as AsyncPool
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.connection import Connection as AsyncConnection
from redis.asyncio.connection import SSLConnection as AsyncSSLConnection
from redis.asyncio.connection import UnixDomainSocketConnection as AsyncUnixConnection
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection, parse_url
from redis.exceptions import ConnectionError, RedisError, TimeoutError
from redis.retry import Retry

from kernelport.broker import keys

log: logging.Logger = logging.getLogger(__name__)
T = TypeVar("T")

CONNECT_TIMEOUT_S = 3.0
# Redis may take 10 s to get to its disk (`kernelport.broker.durability`).
TIMEOUT_S = 15.0
MOST_CONNECTIONS = 50
# How long a command waits for a connection while others have all of them.
POOL_WAIT_S = 10.0
# How soon to try again while Redis is away.
RETRY_S = 0.2

_TLS_OPTIONS = {
    "ssl_ca_certs",
    "ssl_ca_path",
    "ssl_cert_reqs",
    "ssl_certfile",
    "ssl_check_hostname",
    "ssl_keyfile",
}


class _Sending:
    """A connection that has been closed is told as such under uvloop, too: it raises RuntimeError then, where the loop
    of asyncio lets the next read fail."""

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Sends a command; connects if need be."""
        try:
            await super().send_packed_command(command, check_health)  # type: ignore[misc]
        except RuntimeError as error:
            raise ConnectionError(f"the connection is closed: {error}") from error


class _AsyncTcp(_Sending, AsyncConnection):
    pass


class _AsyncTls(_Sending, AsyncSSLConnection):
    pass


class _AsyncUnix(_Sending, AsyncUnixConnection):
    pass


_ASYNC_CLASS = {Connection: _AsyncTcp, SSLConnection: _AsyncTls, UnixDomainSocketConnection: _AsyncUnix}
# What Redis answers while it starts, is full, fails over or is not set up yet: it passes, or is mended elsewhere.
_PASSING = {
    "CLUSTERDOWN",
    "DENIED",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "NOAUTH",
    "NOREPLICAS",
    "OOM",
    "READONLY",
    "TRYAGAIN",
    "UNBLOCKED",
    "WRONGPASS",
}


def parameters(url: str) -> dict[str, Any]:
    """What a URL says, as redis-py's connections take it: `connection_class`, `host` and `port` or `path`, `db`, ...

    Raises:
        ValueError: when it is no Redis URL. The message has nothing of the URL in it, which may hold a password.
    """
    found: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]
    parts = urlsplit(url)
    unknown = parse_qs(parts.query, keep_blank_values=True).keys() - {"db"}
    if parts.scheme == "rediss":
        unknown -= _TLS_OPTIONS
    if parts.fragment or unknown:
        raise ValueError("expected no other options than db, and with rediss:// " + ", ".join(sorted(_TLS_OPTIONS)))
    if parts.scheme == "unix":
        if not found.get("path") or parts.netloc.rpartition("@")[2]:
            raise ValueError("expected the path of a socket, as in unix:///run/redis.sock")
        return {"db": 0, **found}
    database = parts.path.strip("/")
    if database and not (database.isascii() and database.isdecimal()):
        raise ValueError("expected the number of a database")
    return {"connection_class": Connection, "host": "localhost", "port": 6379, "db": 0, **found}


def shown(url: str) -> str:
    """Where a Redis is, for logs and messages: without user and password."""
    found = parameters(url)
    where = found["path"] if "path" in found else f"{_bracketed(found['host'])}:{found['port']}"
    return f"{where} (database {found['db']})"


def connect(url: str, timeout_s: float = TIMEOUT_S) -> Redis:
    """A client for threads: a command ends within `timeout_s` seconds of its connection's being there.

    Raises:
        ValueError: when `url` is no Redis URL.
    """
    retry = Retry(NoBackoff(), 1, supported_errors=(ConnectionError,))
    pool = BlockingConnectionPool(**_limits(timeout_s), **parameters(url), retry=retry)  # type: ignore[no-untyped-call]
    return Redis.from_pool(pool)


def connect_async(url: str, timeout_s: float | None) -> AsyncRedis:
    """A client for asyncio, without retries: the front door's callers decide about the next try.

    Args:
        timeout_s: seconds a command may take once it has a connection; None for no limit.

    Raises:
        ValueError: when `url` is no Redis URL.
    """
    found = parameters(url)
    found["connection_class"] = _ASYNC_CLASS[found["connection_class"]]
    return AsyncRedis.from_pool(AsyncPool(**_limits(timeout_s), **found, retry=AsyncRetry(NoBackoff(), 0)))


def broker(url: str) -> dict[str, Any]:
    """The same connection for Celery, by the transport of `kernelport.broker.transport`.

    Raises:
        ValueError: when `url` is no Redis URL.
    """
    found = parameters(url)
    host = _bracketed(found.get("host", "unix-socket"))
    user, password = (quote(found.get(name, ""), safe="") for name in ("username", "password"))
    tls = {"ssl_cert_reqs": "required", **{name: found[name] for name in found if name in _TLS_OPTIONS}}
    return {
        "broker_url": f"redis://{user}:{password}@{host}:{found.get('port', 6379)}/{found['db']}",
        "broker_use_ssl": tls if found["connection_class"] is SSLConnection else None,
        "broker_transport": "kernelport.broker.transport:Transport",
        "broker_transport_options": {
            "unix_socket_path": found.get("path", ""),
            "socket_connect_timeout": CONNECT_TIMEOUT_S,
            "socket_keepalive": True,
        },
    }


def reason(error: RedisError) -> str:
    """What is wrong with Redis, in its own words, the error's code included."""
    words, code = _text(error), _code(error)
    return words if not code or words.startswith(code) else f"{code} {words}"


def unusable(url: str, error: RedisError) -> str:
    """That the Redis at `url` cannot be used, and why: for whoever started a program that needs it."""
    return f"cannot use the Redis at {shown(url)}: {reason(error).removesuffix('.')}"


def passes(error: RedisError) -> bool:
    """Whether waiting helps: Redis is away, starts, is full, or refuses for now."""
    return isinstance(error, (ConnectionError, TimeoutError)) or _code(error) in _PASSING


def until_done(call: Callable[[], T]) -> T:
    """Repeats a call for as long as waiting helps: what is due must not be lost."""
    while True:
        try:
            return call()
        except RedisError as error:
            if not passes(error):
                raise
            outage.tell(error)
            time.sleep(RETRY_S)


def problem(redis: Redis) -> str:
    """Why Redis does not do its work: it cannot be reached or refuses writes. Empty when it does."""
    try:
        redis.set(keys.PROBE, "", ex=keys.PROBE_TTL_S)
    except RedisError as error:
        return reason(error)
    return ""


class Outage:
    """What this process has said of a Redis that does not do its work: each kind of trouble once, and its end."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def tell(self, error: RedisError) -> None:
        """Something could not be done for now, or at all."""
        if not passes(error):
            log.error("Redis refuses: %s", reason(error))
            return
        code = _code(error)
        if code not in self._told:
            self._told.add(code)
            log.warning("waiting for Redis: %s", reason(error))

    def over(self) -> None:
        """Redis has taken a write."""
        if self._told:
            self._told.clear()
            log.warning("Redis is back")


outage: Outage = Outage()


def _bracketed(host: str) -> str:
    """A host as it stands in an address."""
    return f"[{host}]" if ":" in host else host


def _limits(timeout_s: float | None) -> dict[str, Any]:
    return {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "max_connections": MOST_CONNECTIONS,
        "timeout": POOL_WAIT_S,
        # With 3, redis-py 8 hands out connections that Redis has closed: after a restart each fails one call.
        "protocol": 2,
    }


def _code(error: RedisError) -> str:
    """The code of an answer, such as READONLY; empty for an error that Redis did not answer."""
    first = _text(error).partition(" ")[0]
    return error.status_code or (first if first.isupper() and first.isalpha() else "")


def _text(error: RedisError) -> str:
    """What Redis said, without what redis-py and Redis add: a pipeline's whole command, the place in a script."""
    _, is_piped, said = str(error).rpartition(" of pipeline caused error: ")
    words = said.strip("()',\"") if is_piped else str(error)
    return words.partition(" script: ")[0].removesuffix(",")
