"""`kernelport deployments`: what is deployed and what state it is in."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import click
from rich.table import Column

from kernelport.cli import options, tables
from kernelport.cli.adding import add_to, entry_of, name_of, reload
from kernelport.client import Client
from kernelport.config.deployments import load_deployments
from kernelport.counting import counted
from kernelport.errors import PlaceError
from kernelport.limits import about
from kernelport.shapes import plain
from kernelport.signature import TensorSpec, describe
from kernelport.supervisor import own_file
from kernelport.supervisor.requests import Outcome
from kernelport.supervisor.runnable import rows_of_model
from kernelport.supervisor.running_file import Running, find_running
from kernelport.v1 import deployment_pb2 as pb


@click.group()
def deployments() -> None:
    """Look at the deployments of a front door, and change those of the stack on this machine."""


@deployments.command("list")
@options.target
@options.as_json
def list_deployments(target: str, as_json: bool) -> None:
    """Every deployment, its state and its live workers."""
    with Client(target) as client:
        found = client.deployments()
    if as_json:
        options.echo_json(map(plain, found))
        return
    columns = "backend", "state", "workers", "inputs", "outputs"
    rows = [
        (
            each.name,
            each.backend,
            _state(each),
            _workers(each),
            *map(_specs, (each.signature.inputs, each.signature.outputs)),
        )
        for each in found
    ]
    tables.show([Column("deployment", no_wrap=True), *columns], rows)


@deployments.command()
@click.argument("name")
@options.target
@options.as_json
def show(name: str, target: str, as_json: bool) -> None:
    """One deployment: backend, state, policy, revisions, inputs, outputs; its processes, and where they differ."""
    with Client(target) as client:
        found = client.deployment(name)
    if as_json:
        options.echo_json([plain(found)])
        return
    click.echo(f"{found.name}: {_state(found)}, backend {found.backend}, image {found.image}")
    click.echo(f"  manifest   {found.manifest or '-'}")
    policy = found.policy
    click.echo(
        f"  policy     batches of up to {counted(policy.max_batch, 'request')}, {counted(policy.max_rows, 'row')} and "
        f"{counted(policy.max_batch_bytes, 'byte')}, {policy.request_timeout_s:g} s a request, device {policy.device}"
    )
    if found.HasField("signature"):
        click.echo(f"  stacking   {_stacking(found.signature)}")
    for (revision, compute_path), hosts in _revisions(found.workers).items():
        click.echo(f"  revision   {revision} on {', '.join(hosts)} ({compute_path})")
    for door in found.front_doors:
        click.echo(f"  front door {door.name} on {door.host} (pid {door.pid}{_goes_by(door)})")
    for worker in found.workers:
        click.echo(f"  worker     {worker.id} on {worker.host} (pid {worker.pid}, {worker.device}{_goes_by(worker)})")
        if worker.jobs_refused:
            click.echo(f"             takes no items of jobs: {worker.jobs_refused}")
    for title, specs in (("input", found.signature.inputs), ("output", found.signature.outputs)):
        for spec in specs:
            optional = " (optional)" if spec.optional else ""
            click.echo(f"  {title:<10} {spec.name}: {describe(spec)}{optional} {about(spec)}".rstrip())
    for line in differences(found):
        click.echo(f"  differs    {line}")


@deployments.command()
@click.argument("model", type=click.Path(path_type=Path))
@options.as_json
def check(model: Path, as_json: bool) -> None:
    """Whether requests to an ONNX file would be stacked, and along which axes; needs no front door.

    Reads the model's graph, not its weights. A manifest's batch_axes are not looked at.
    """
    found = rows_of_model(model)
    if as_json:
        options.echo_json([found])
        return
    click.echo(f"{model.name}: {found['verdict']}: {found['reason']}")
    for kind in ("inputs", "outputs"):
        for name, axis in found[kind].items():
            click.echo(f"  {kind.removesuffix('s'):<10} {name}: rows along axis {axis}")
    match found["verdict"]:
        case "proven":
            click.echo("requests are stacked")
        case "unknown":
            click.echo("requests run one by one, unless the manifest says batch_axes")
        case _:
            axes = "these axes" if found["inputs"] else "any axes"
            click.echo(f"requests run one by one; the manifest cannot declare {axes}")


@deployments.command()
@click.argument("model", metavar="FILE|NAME=FILE")
@options.state_dir
def add(model: str, state_dir: Path) -> None:
    """Add an ONNX model, or what a manifest describes, to the stack that runs on this machine.

    Its name is NAME, or else the file's stem or the manifest's id. It is served until the stack stops; one that was
    added under the same name is replaced. No request is lost.
    """
    name, _, path = model.rpartition("=")
    file = Path(path)
    if not file.is_file():
        raise click.BadParameter(f"expected an ONNX file or a manifest, or NAME= and one, got {model!r}")
    name = name_of(file, name)
    add_to(_running(state_dir), state_dir, name, entry_of(file, name, state_dir), "NAME=FILE")


@deployments.command()
@click.argument("name")
@options.state_dir
def remove(name: str, state_dir: Path) -> None:
    """Take a deployment that was added out of the stack that runs on this machine, once nothing waits for it."""
    running, added = _running(state_dir), own_file.added(state_dir)
    if name not in added:
        table = load_deployments(own_file.own_file(state_dir))
        if name not in table:
            raise click.BadParameter(table.unknown(name))
        raise click.BadParameter(
            f"{name!r} was not added here ({', '.join(sorted(added)) or 'nothing'} was). Take it out of "
            f"{table[name].file}, then: kernelport deployments reload"
        )
    own_file.remove(state_dir, name)
    _tell(reload(running, state_dir))
    click.echo(f"{name} is removed")


@deployments.command("reload")
@options.state_dir
def reload_deployments(state_dir: Path) -> None:
    """Have the stack that runs on this machine go by its deployments file as it is now. No request is lost.

    New deployments get workers, changed ones new workers before the old ones go, and those that are gone go once
    nothing waits for them.
    """
    running = _running(state_dir)
    load_deployments(own_file.own_file(state_dir))  # its findings are the user's to see as they are
    _tell(reload(running, state_dir))


def _running(state_dir: Path) -> Running:
    running = find_running(state_dir)
    if running is None:
        raise PlaceError(f"no stack runs on {state_dir}: `kernelport up` starts one")
    return running


def _tell(outcome: Outcome) -> None:
    for name, reason in outcome.left_out.items():
        click.echo(f"still left out: {name}: {reason}", err=True)
    if outcome.failed:
        raise click.ClickException("\n".join(f"{name}: {reason}" for name, reason in outcome.failed.items()))
    rest = " as far as it can run here" if outcome.left_out else ""
    click.echo(f"the stack is as its deployments file says{rest}")


def _stacking(signature: pb.Signature) -> str:
    basis = pb.RowIndependence.Name(signature.row_independence).removeprefix("ROW_INDEPENDENCE_").lower()
    if not signature.batchable:
        return f"requests run one by one: {signature.reason}" if signature.reason else "left to the pipeline"
    axes = ", ".join(
        f"{spec.name} {spec.batch_axis}{_padded(spec)}"
        for spec in (*signature.inputs, *signature.outputs)
        if not spec.optional
    )
    reason = f" ({signature.reason})" if signature.reason else ""
    return f"requests are stacked, {basis}{reason}, along axes: {axes}"


def _revisions(workers: Iterable[pb.Worker]) -> dict[tuple[str, str], list[str]]:
    """The hosts by revision and compute path, in the order in which workers became ready."""
    found: dict[tuple[str, str], list[str]] = {}
    for worker in workers:
        hosts = found.setdefault((worker.revision or "unknown", worker.compute_path or worker.device), [])
        if worker.host not in hosts:
            hosts.append(worker.host)
    return found


def _goes_by(process: pb.FrontDoor | pb.Worker) -> str:
    version = f", version {process.version}" if process.version else ""
    return f"{version}, {process.deployments_file}" if process.deployments_file else version


def _padded(spec: TensorSpec) -> str:
    axes = " and ".join(str(pad.axis) for pad in spec.pads)
    return f" (padded along {axes})" if axes else ""


def _state(deployment: pb.Deployment) -> str:
    return pb.DeploymentState.Name(deployment.state).removeprefix("DEPLOYMENT_STATE_").lower()


def _workers(deployment: pb.Deployment) -> str:
    refusing = sum(bool(worker.jobs_refused) for worker in deployment.workers)
    return f"{deployment.live_workers}" + (f" ({refusing} without jobs)" if refusing else "")


def _specs(specs: Iterable[TensorSpec]) -> str:
    return ", ".join(f"{spec.name}{'?' if spec.optional else ''} {describe(spec)}" for spec in specs)


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
