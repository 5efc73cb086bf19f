"""Connections to Redis that come one after the other leave nothing behind."""

from kombu import Connection
from kombu.asynchronous import Hub

from kernelport.broker.connections import broker
from tests.broker.servers import Server


def test_a_loop_forgets_the_transport_of_an_earlier_connection(server: Server) -> None:
    loop, options = Hub(), broker(server.url)
    sizes = set()
    for _ in range(4):
        with Connection(
            options["broker_url"],
            transport=options["broker_transport"],
            transport_options=options["broker_transport_options"],
        ) as connection:
            connection.default_channel.queue_declare("queue")
            connection.transport.register_with_event_loop(connection.connection, loop)
        loop.reset()
        sizes.add(len(loop.on_tick))
    assert sizes == {1}
    loop.close()
