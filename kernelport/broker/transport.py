# kombu is typed here and there.
# mypy: disable-error-code="no-untyped-call"
"""How Celery's library kombu talks to Redis here: over our connections, under our keys, and our own messages alone.

Celery names this transport in its configuration (`kernelport.broker.connections.broker`). Another team's Celery on the
same Redis keeps kombu's own, and neither reads what the other keeps.
"""

import logging
import time
from queue import Empty
from typing import Any

from kombu.asynchronous import Hub
from kombu.connection import resolve_aliases
from kombu.transport import redis as kombu_redis
from redis.connection import UnixDomainSocketConnection
from redis.exceptions import ResponseError

from kernelport.broker import keys
from kernelport.broker.clock import clock
from kernelport.broker.connections import RETRY_S, outage, passes
from kernelport.broker.queues import MessageError, check_entry, check_message, deployment_of

log: logging.Logger = logging.getLogger(__name__)

# kombu notes when it delivers a message, and compares what other workers have noted with the time that it is.
kombu_redis.time = clock.now  # type: ignore[attr-defined]
# What kombu raises over a record that is not as it should be.
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
# People, and Flower, are shown a Redis URL.
resolve_aliases["kernelport.broker.transport:Transport"] = "redis"


class QoS(kombu_redis.QoS):
    """Restores what dead workers had, and drops what cannot be restored instead of trying for ever."""

    def restore_visible(self, *args: Any, **options: Any) -> None:
        """Looks for deliveries whose lease has run out; waits for a Redis that refuses."""
        try:
            super().restore_visible(*args, **options)
        except ResponseError as error:
            outage.tell(error)

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        """Puts a delivered message back on its queue."""
        try:
            super().restore_by_tag(tag, client, leftmost)
        except _UNREADABLE as error:
            log.error("dropped the record of a delivery that cannot be read: %s: %s", type(error).__name__, error)
            self._remove_from_indices(tag).execute()


class Channel(kombu_redis.Channel):
    """A channel on our connections that lets nothing through but our own messages."""

    QoS = QoS
    keyprefix_queue: str = f"{keys.BINDING}.%s"
    keyprefix_binding_deadlines: str = f"{keys.BINDING}_deadlines"
    keyprefix_binding_permanent: str = f"{keys.BINDING}_permanent.%s"
    unix_socket_path = ""
    from_transport_options: tuple[Any, ...] = (*kombu_redis.Channel.from_transport_options, "unix_socket_path")

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        if self.unix_socket_path:
            self.connection_class = UnixDomainSocketConnection  # type: ignore[assignment]
        found: dict[str, Any] = super()._connparams(asynchronous)
        if self.unix_socket_path:
            for name in ("host", "port", "socket_keepalive", "socket_keepalive_options"):
                found.pop(name)
            found["path"] = self.unix_socket_path
        return found

    def _create_client(self, asynchronous: bool = False) -> Any:
        client = super()._create_client(asynchronous)
        client.set_response_callback("BRPOP", _checked)
        return client

    def maybe_refresh_binding_expiry(self) -> None:
        """Keeps the routes of queues that expire; waits for a Redis that refuses."""
        try:
            super().maybe_refresh_binding_expiry()
        except ResponseError as error:
            outage.tell(error)

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)
        except ResponseError as error:
            if not passes(error):
                raise
            outage.tell(error)
            time.sleep(RETRY_S)
            raise Empty from error
        except _UNREADABLE:
            log.exception("dropped an entry of a queue that cannot be read")
            raise Empty from None

    def _receive_one(self, c: Any) -> Any:
        try:
            return super()._receive_one(c)
        except _UNREADABLE as error:
            log.error("dropped a message to all workers that cannot be read: %s: %s", type(error).__name__, error)
            return False

    def _do_restore_message(
        self, payload: Any, exchange: Any, routing_key: Any, pipe: Any, leftmost: bool = False
    ) -> None:
        """Puts a message back that is one of ours; any other is dropped."""
        try:
            check_message(payload)
            if exchange != "" or not isinstance(routing_key, str):
                raise MessageError(f"expected a queue, got {(exchange, routing_key)!r:.200}")
        except MessageError as error:
            log.error("dropped the record of a delivery that cannot be read: %s", error)
            return
        super()._do_restore_message(payload, exchange, routing_key, pipe, leftmost)

    def _deliver_fanout_message(self, message: Any, exchange: str) -> bool:
        try:
            return bool(super()._deliver_fanout_message(message, exchange))
        except _UNREADABLE as error:
            log.error("dropped a message on %s that cannot be read: %s: %s", exchange, type(error).__name__, error)
            return False


class Transport(kombu_redis.Transport):
    """kombu's transport for Redis, with our channels, which an event loop forgets when another takes its place."""

    Channel = Channel

    def register_with_event_loop(self, connection: Any, loop: Hub) -> None:
        """Has a loop read for this transport, and for none before it: a worker has one connection at a time, and each
        has a transport of its own. kombu leaves what an earlier one does in each round of the loop, and so all of it.
        """
        register = super().register_with_event_loop
        loop.on_tick -= {each for each in loop.on_tick if each.__qualname__.startswith(register.__qualname__)}
        register(connection, loop)


def _checked(found: Any, **_: Any) -> Any:
    """What BRPOP gave; nothing for an entry of a deployment's queue that is none of our messages: it is dropped."""
    if not found:
        return None
    queue, entry = found[0].decode(errors="replace"), found[1]
    if deployment_of(queue) is not None:  # else it answers `celery inspect`
        try:
            check_entry(entry)
        except MessageError as error:
            log.error("dropped an entry of %s: %s", queue, error)
            return None
    return found
