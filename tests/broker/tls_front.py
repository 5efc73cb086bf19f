"""Speaks TLS for a Redis without: `python tls_front.py PORT REDIS_PORT PEM`. The Redis of the tests is built so."""

import asyncio
import contextlib
import ssl
import sys


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _serve(port: int, redis_port: int, pem: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_redis, to_redis = await asyncio.open_connection("127.0.0.1", redis_port)
        await asyncio.gather(_pump(reader, to_redis), _pump(from_redis, writer))

    async with await asyncio.start_server(connected, "127.0.0.1", port, ssl=context) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
