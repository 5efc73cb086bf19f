"""What callers may pass as names, states and many values: `ops/check_types.py` checks it, and nobody runs it."""

from collections.abc import AsyncIterator, Iterator

from kernelport import AsyncClient, Client, ItemState, JobState


def names() -> Iterator[str]:
    yield "y"


async def many() -> AsyncIterator[dict[str, object]]:
    yield {"x": 1}


async def texts() -> AsyncIterator[str]:
    yield "One."


def sync(client: Client) -> None:
    client.infer("m", 1, outputs=["y"])
    client.infer("m", 1, outputs=None)
    client.speak("m", "One.", outputs={"spoken"})
    list(client.stream("m", "One.", outputs=names()))
    list(client.map("m", [1], outputs={"y": 1}.keys()))
    job = client.jobs.submit("m", ["One."], outputs=names())
    list(client.jobs.list("m", {JobState.FAILED, "cancelled", job.state}))
    list(client.jobs.list(None, None))
    list(client.jobs.list(states=JobState))
    items = client.jobs.items(job.id, (state for state in ItemState))
    list(client.jobs.items(job.id, {item.state for item in items}))


async def asynchronous(client: AsyncClient) -> None:
    async for result in client.map("m", many()):
        print(result["y"])
    async for index, result in client.map_unordered("m", [1, 2], outputs=names()):
        print(index, result["y"])
    job = await client.jobs.submit("m", texts())
    await client.jobs.replace_items(job.id, texts())
