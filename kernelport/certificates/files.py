"""What a front door needs for TLS: three PEM files, which others replace while it runs."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from kernelport.config.settings import Settings
from kernelport.errors import HostError

# No chain, and no bundle of authorities, comes near it.
MOST_BYTES = 4 * 2**20


class CertificateError(HostError):
    """A certificate, or its key, that cannot be used; the message names the file."""


@dataclass(frozen=True)
class Certificates:
    """What the files held when they were read.

    Attributes:
        chain: the certificate, and those between it and its authority, as PEM.
        key: its private key, as PEM.
        client_ca: the authorities of clients, as PEM; empty where none is asked for a certificate.
        names: host names and addresses that the certificate stands for.
        ends: when it expires.
    """

    chain: bytes
    key: bytes = field(repr=False)
    client_ca: bytes
    names: tuple[str, ...]
    ends: datetime

    def __str__(self) -> str:
        return f"the certificate of {', '.join(self.names) or 'no name'}, valid until {self.ends:%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True)
class CertificateFiles:
    """Where they are.

    Attributes:
        client_ca: None where clients are not asked for a certificate.
    """

    cert: Path
    key: Path
    client_ca: Path | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Those that the settings name; None for no TLS.

        Raises:
            CertificateError: some are named, and others that they need are not.
        """
        given = {"cert": settings.tls_cert, "key": settings.tls_key, "client-ca": settings.tls_client_ca}
        if not any(given.values()):
            return None
        missing = [f"--tls-{name}" for name in ("cert", "key") if not given[name]]
        if missing:
            named = ", ".join(f"--tls-{name}" for name, value in given.items() if value)
            raise CertificateError(f"{' and '.join(missing)}: expected the path of a PEM file, beside {named}")
        return cls(Path(given["cert"]), Path(given["key"]), Path(given["client-ca"]) if given["client-ca"] else None)

    def stamp(self) -> tuple[object, ...]:
        """Changes when a file is replaced, written or gone."""
        return tuple(_stamp(path) for path in (self.cert, self.key, self.client_ca) if path is not None)

    def read(self) -> Certificates:
        """What they hold now.

        Raises:
            CertificateError: a file cannot be read or is not what it should be, the key is another certificate's, or
                the certificate is not valid now.
        """
        chain, key = _read(self.cert, "--tls-cert"), _read(self.key, "--tls-key")
        first = _certificates(chain, self.cert, "--tls-cert")[0]
        _check_pair(first, key, self)
        _check_time(first, self.cert)
        client_ca = b""
        if self.client_ca is not None:
            client_ca = _read(self.client_ca, "--tls-client-ca")
            _certificates(client_ca, self.client_ca, "--tls-client-ca")
        return Certificates(chain, key, client_ca, _names(first), first.not_valid_after_utc)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _read(path: Path, option: str) -> bytes:
    try:
        with path.open("rb") as file:
            found = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise CertificateError(f"{option}: cannot read {path}: {error.strerror}") from error
    if len(found) > MOST_BYTES:
        raise CertificateError(f"{option}: expected at most {MOST_BYTES} bytes in {path}")
    return found


def _certificates(pem: bytes, path: Path, option: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise CertificateError(f"{option}: expected certificates as PEM in {path}: {error}") from error


def _check_pair(certificate: x509.Certificate, pem: bytes, files: CertificateFiles) -> None:
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise CertificateError(f"--tls-key: expected a key without a password in {files.key}") from error
    except ValueError as error:
        raise CertificateError(f"--tls-key: expected a private key as PEM in {files.key}") from error
    if key.public_key() != certificate.public_key():
        raise CertificateError(f"--tls-key: {files.key} is not the key of the certificate in {files.cert}")


def _check_time(certificate: x509.Certificate, path: Path) -> None:
    now = datetime.now(UTC)
    if now > (ended := certificate.not_valid_after_utc):
        raise CertificateError(f"--tls-cert: the certificate in {path} expired on {ended:%Y-%m-%d %H:%M} UTC")
    if now < (begins := certificate.not_valid_before_utc):
        raise CertificateError(f"--tls-cert: the certificate in {path} is not valid before {begins:%Y-%m-%d %H:%M} UTC")


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    names = found.get_values_for_type(x509.DNSName)
    return (*names, *(str(address) for address in found.get_values_for_type(x509.IPAddress)))
