"""Where the processes that serve a deployment differ, which should not for long."""

from collections.abc import Iterable, Iterator

from kernelport.v1 import deployment_pb2 as pb


def differences(deployment: pb.Deployment) -> Iterator[str]:
    """What differs between front doors and workers, a line each."""
    doors: list[tuple[str, pb.FrontDoor]] = [(f"front door {door.name}", door) for door in deployment.front_doors]
    workers: list[tuple[str, pb.Worker]] = [(f"worker {worker.id}", worker) for worker in deployment.workers]
    processes: list[tuple[str, pb.FrontDoor | pb.Worker]] = [*doors, *workers]
    settings = [("the front door", deployment.settings), *((name, worker.settings) for name, worker in workers)]
    yield from _unlike("revision", ((name, worker.revision) for name, worker in workers))
    yield from _unlike("version", ((name, each.version) for name, each in processes))
    yield from _unlike("deployments file, as it was read last", ((name, door.settings) for name, door in doors))
    yield from _unlike("what the deployments file said of it", settings)
    for name, each in processes:
        if each.clock_ahead_s:
            how = f"{abs(each.clock_ahead_s):,.0f} s {'ahead of' if each.clock_ahead_s > 0 else 'behind'}"
            yield f"clock: that of {name}, on {each.host}, is {how} that of Redis"


def _unlike(what: str, values: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Says who has which value, if there are several; one who says none, such as an older version, counts as none."""
    holders: dict[str, list[str]] = {}
    for name, value in values:
        if value:
            holders.setdefault(value, []).append(name)
    if len(holders) > 1:
        yield f"{what}: " + "; ".join(f"{value} at {', '.join(names)}" for value, names in holders.items())
