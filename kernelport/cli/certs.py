"""`kernelport certs`: certificates for a try of TLS."""

from pathlib import Path

import click

from kernelport.certificates.making import LOCAL_NAMES, VALID_DAYS, Authority


@click.group()
def certs() -> None:
    """Certificates for a try of TLS."""


@certs.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.argument("names", nargs=-1)
@click.option("--client", default="kernelport-client", help="The name by which the client's certificate goes.")
@click.option("--days", type=click.IntRange(1, 825), default=VALID_DAYS, help="How long both are valid.")
def dev(folder: Path, names: tuple[str, ...], client: str, days: int) -> None:
    """Make an authority of your own in FOLDER, a certificate for this machine and NAMES, and one for a client.

    Again, it keeps the authority and makes the others anew: front doors take them up by themselves. For a try, and for
    machines of your own: whoever has ca.key can pass for any of them.
    """
    try:
        authority = Authority(folder, days)
        cert, key = authority.server([*LOCAL_NAMES, *names])
        client_cert, client_key = authority.client(client)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    click.echo(f"kernelport up --tls-cert {cert} --tls-key {key}")
    click.echo(f"  with --tls-client-ca {authority.file}, too, it takes only clients that have a certificate")
    click.echo(f"export KERNELPORT_TARGET=grpcs://localhost:50051 KERNELPORT_TLS_CA={authority.file}")
    click.echo(f"export KERNELPORT_TLS_CLIENT_CERT={client_cert} KERNELPORT_TLS_CLIENT_KEY={client_key}")
