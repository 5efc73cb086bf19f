"""`python -m kernelport_ops.autoscale.providers.lambda_cloud`, which `kernelport lambda` runs."""

import json
import logging
import sys
from dataclasses import replace
from pathlib import Path

import click
from redis.exceptions import RedisError
from rich.console import Console
from rich.table import Table

from kernelport.access.first_key import key_in_file
from kernelport.broker.clock import clock
from kernelport.broker.connections import connect, unusable
from kernelport.cli import options
from kernelport.config.deployments import load_autoscale, load_deployments
from kernelport.config.scaling import LambdaCloud
from kernelport.config.schema import ConfigError
from kernelport.config.settings import PREFIX, Settings, SettingsError
from kernelport.counting import counted
from kernelport.errors import HostError, KernelPortError
from kernelport_ops.autoscale.ledger import Ledger
from kernelport_ops.autoscale.lock import Lock
from kernelport_ops.autoscale.maintenance import heard_of
from kernelport_ops.autoscale.providers.lambda_cloud.choice import refusal
from kernelport_ops.autoscale.providers.lambda_cloud.client import Client
from kernelport_ops.autoscale.providers.lambda_cloud.provider import is_of_fleet, machine_of
from kernelport_ops.autoscale.providers.lambda_cloud.reaper import orphans
from kernelport_ops.autoscale.providers.lambda_cloud.secrets import lambda_secrets
from kernelport_ops.autoscale.providers.lambda_cloud.single_machine import Wish, give_back, launch_one, wait_for_ip
from kernelport_ops.autoscale.providers.lambda_cloud.smoke import try_once, wait_until_served
from kernelport_ops.autoscale.providers.lambda_cloud.types import InstanceStatus
from kernelport_ops.autoscale.providers.provider import NotSetError, ProviderError


def _settings() -> tuple[Settings, LambdaCloud | None, str]:
    settings = Settings.from_environment()
    autoscale = load_autoscale(settings.deployments_file)
    return settings, autoscale.lambda_cloud, autoscale.fleet


@click.group("lambda", context_settings=options.CONTEXT)
def group() -> None:
    """Machines on Lambda Cloud. The API key is in LAMBDA_CLOUD_API_KEY."""


@group.command()
def types() -> None:
    """Instance types, their price, where there is capacity, and which the autoscaler would rent."""
    _, cloud, _ = _settings()
    table = Table("type", "GPU", "GPUs", "$/h", "capacity", "for the autoscaler")
    for kind in Client.from_environment().instance_types():
        why_not = "no lambda_cloud in the deployments file" if cloud is None else refusal(kind, cloud)
        regions = ", ".join(kind.regions) or "none"
        table.add_row(kind.name, kind.gpu_description, str(kind.gpus), f"{kind.price:.2f}", regions, why_not or "yes")
    Console().print(table)


@group.command("list")
@click.option("--all", "everything", is_flag=True, help="All instances of the account, not the fleet's alone.")
@click.option("--json", "as_json", is_flag=True)
def list_instances(everything: bool, as_json: bool) -> None:
    """Instances, with what they cost."""
    _, _, fleet = _settings()
    found = [each for each in Client.from_environment().instances() if everything or is_of_fleet(each, fleet)]
    if as_json:
        click.echo(json.dumps([_public(machine_of(each).launched_at, each) for each in found], indent=2))
        return
    table = Table("name", "id", "type", "region", "status", "IP", "$/h", "since")
    for each in found:
        since = machine_of(each).launched_at
        age = f"{(clock.now() - since) / 60:.0f} min" if since else "?"
        table.add_row(each.name, each.id, each.type, each.region, each.status, each.ip, f"{each.price:.2f}", age)
    Console().print(table if found else "no instances")


@group.command()
@click.argument("deployment")
@click.option("--type", "kind", default=None, help="The instance type; the cheapest with capacity by default.")
@click.option("--region", default=None, help="The region; any with capacity by default.")
@click.option("--ssh-key", default=None, help="The name of the SSH key; that of the deployments file by default.")
@click.option("--image-family", default=None, help="The machine image; that of the deployments file by default.")
@click.option("--registry", default=None, help="Where the images are; that of the deployments file by default.")
@click.option("--stack", is_flag=True, help="Redis and a front door on the machine, too; else a worker only.")
@click.option("--allow-from", default=None, metavar="CIDR", help="Let these addresses reach the front door's port.")
@click.option("--idle-s", default=1800.0, show_default=True, help="It gives itself back after this (see the docs).")
@click.option("--wait-s", default=900.0, show_default=True, help="How long to wait for its address; 0 for not at all.")
@click.option("--note", type=click.Path(path_type=Path), help="Write the machine's name here before it is launched.")
@click.option(
    "--key-file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("first-key"),
    show_default=True,
    help="With --stack: the file with the first key of its front door; made, with a new key, where it is not there.",
)
@click.option("--json", "as_json", is_flag=True)
def launch(
    deployment: str,
    kind: str | None,
    region: str | None,
    ssh_key: str | None,
    image_family: str | None,
    registry: str | None,
    stack: bool,
    allow_from: str | None,
    idle_s: float,
    wait_s: float,
    note: Path | None,
    key_file: Path,
    as_json: bool,
) -> None:
    """Launch one machine for DEPLOYMENT, and print its name and address."""
    settings, cloud, fleet = _settings()
    deployments = load_deployments(settings.deployments_file)
    if deployment not in deployments:
        raise click.BadParameter(deployments.unknown(deployment))
    if cloud is not None:
        ssh_key, registry = ssh_key or cloud.ssh_key, registry or cloud.registry
    if not ssh_key or not registry:
        raise click.UsageError("needs --ssh-key and --registry, or `lambda_cloud` in the deployments file")
    cloud = _with(cloud or LambdaCloud(ssh_key=ssh_key, registry=registry), ssh_key, registry, image_family)
    try:
        secrets = lambda_secrets(has_redis=stack)
    except NotSetError as error:
        raise click.UsageError(f"{error}; --stack brings up its own") from error
    if stack:
        secrets = replace(secrets, first_key=key_in_file(key_file))
        click.echo(f"note: the first key of its front door is in {key_file.absolute()}", err=True)
    wish = Wish(deployments[deployment], kind, region, stack, allow_from, idle_s, note)
    client = Client.from_environment()
    instance = launch_one(client, cloud, fleet, wish, secrets)
    if wait_s:
        instance = wait_for_ip(client, instance, wait_s)
    if as_json:
        click.echo(json.dumps(_public(machine_of(instance).launched_at, instance)))
    else:
        click.echo(f"{instance.name} ({instance.type} in {instance.region}, ${instance.price:.2f}/h): {instance.ip}")


@group.command()
@click.argument("names", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every machine of the fleet.")
@click.option("--if-there", is_flag=True, help="A name that is not there is fine.")
def terminate(names: tuple[str, ...], everything: bool, if_there: bool) -> None:
    """Terminate machines by NAME or id. What they had begun goes back to the queue."""
    if bool(names) == everything:
        raise click.UsageError("expected either names or --all")
    _, _, fleet = _settings()
    client = Client.from_environment()
    found = client.instances()
    chosen = [each for each in found if (is_of_fleet(each, fleet) if everything else {each.name, each.id} & set(names))]
    missing = set(names) - {each.name for each in chosen} - {each.id for each in chosen}
    give_back(client, chosen)
    for each in chosen:
        click.echo(f"terminating {each.name}")
    if missing and not if_there:
        raise click.ClickException(f"there is no instance named {', '.join(sorted(missing))}")


@group.command()
@click.argument("deployment")
def image(deployment: str) -> None:
    """The name of the image that serves DEPLOYMENT."""
    settings, _, _ = _settings()
    deployments = load_deployments(settings.deployments_file)
    if deployment not in deployments:
        raise click.BadParameter(deployments.unknown(deployment))
    click.echo(deployments[deployment].image)


@group.command()
@click.argument("deployment")
@click.option("--target", required=True, help="host:port of the front door.")
@click.option("--timeout-s", default=900.0, show_default=True)
def wait(deployment: str, target: str, timeout_s: float) -> None:
    """Wait until a front door says by gRPC health that DEPLOYMENT is served."""
    if not wait_until_served(target, deployment, timeout_s, click.echo):
        raise click.ClickException(f"{deployment} at {target} is not served after {timeout_s:g} s")
    click.echo(f"{deployment} at {target} is served")


@group.command()
@click.argument("deployment")
@click.option("--target", required=True, help="host:port of the front door.")
def smoke(deployment: str, target: str) -> None:
    """Call DEPLOYMENT once with inputs made up from what it declares, and say what came back."""
    try:
        click.echo(try_once(target, deployment))
    except KernelPortError as error:
        raise click.ClickException(str(error)) from error


@group.command()
@click.option("--grace-s", default=None, type=float, help="Without a worker for this long; the boot limit and 5 min.")
@click.option("--max-age-h", default=24.0, show_default=True, help="Older than this, whatever it does.")
@click.option("--dry-run", is_flag=True, help="Say what would be terminated.")
def reap(grace_s: float | None, max_age_h: float, dry_run: bool) -> None:
    """Terminate machines of the fleet that nobody looks after. For a timer, not on the autoscaler's machine."""
    settings, cloud, fleet = _settings()
    client = Client.from_environment()
    machines = [
        machine_of(each)
        for each in client.instances()
        if is_of_fleet(each, fleet) and each.status is not InstanceStatus.TERMINATED
    ]
    with connect(settings.redis_url, timeout_s=10) as redis:
        ledger = Ledger(redis, fleet, Lock(redis, fleet))
        try:
            clock.measure(redis)
            ledger.read()
            heard = heard_of(redis)
        except RedisError as error:
            raise HostError(
                f"{unusable(settings.redis_url, error)}; {PREFIX}REDIS_URL names that of the autoscaler"
            ) from error
    grace_s = grace_s if grace_s is not None else (cloud.boot_limit_s if cloud else 900.0) + 300.0
    found = orphans(machines, heard, ledger.entries, clock.now(), grace_s, max_age_h * 3600)
    for orphan in found:
        click.echo(f"{'would terminate' if dry_run else 'terminating'} {orphan.machine.name}: {orphan.reason}")
    if not dry_run:
        client.terminate([orphan.machine.id for orphan in found])
    click.echo(f"{counted(len(found), 'orphan')} among {counted(len(machines), 'machine')}")


def _with(cloud: LambdaCloud, ssh_key: str, registry: str, image_family: str | None) -> LambdaCloud:
    """The settings with what was given on the command line."""
    family = image_family or cloud.image_family
    return cloud.model_copy(update={"ssh_key": ssh_key, "registry": registry, "image_family": family})


def _public(launched_at: float, instance: object) -> dict[str, object]:
    return {**{key: value for key, value in vars(instance).items() if key != "tags"}, "launched_at": launched_at}


def main() -> None:
    """Runs the command; what a user can mend is one line on stderr."""
    options.name_variables(group)
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")
    try:
        group(prog_name="kernelport lambda")
    except (ConfigError, SettingsError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    except (ProviderError, HostError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
