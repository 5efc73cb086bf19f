"""Certificates for a try: an authority of this machine's own, and what it vouches for."""

import ipaddress
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
# Clients refuse those of servers that are valid for much longer than a year.
VALID_DAYS, AUTHORITY_DAYS = 365, 10 * 365
# Clocks of several machines are never quite the same.
_EARLIER = timedelta(hours=1)
_MOST_NAME = 64
_DIGEST = hashes.SHA256()


class Authority:
    """A certificate authority in a folder: `ca.crt`, which others are to trust, and `ca.key`. It is made where there is
    none.

    Args:
        valid_days: of what it issues.
    """

    def __init__(self, folder: Path, valid_days: float = VALID_DAYS) -> None:
        self._folder = folder
        self._valid = timedelta(days=valid_days)
        self.file: Path = folder / "ca.crt"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self.file.exists():
            self._make()
        self._certificate = x509.load_pem_x509_certificate(self.file.read_bytes())
        key = load_pem_private_key((folder / "ca.key").read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{folder / 'ca.key'}: expected a key on an elliptic curve, as this command makes")
        self._key = key

    def server(self, names: Sequence[str], stem: str = "server") -> tuple[Path, Path]:
        """Issues a certificate for host names and addresses.

        Returns:
            the files of the certificate and of its key.
        """
        alternative = x509.SubjectAlternativeName([_general_name(name) for name in names])
        return self._issue(stem, names[0], alternative, ExtendedKeyUsageOID.SERVER_AUTH)

    def client(self, name: str, stem: str = "client") -> tuple[Path, Path]:
        """Issues a certificate by which a caller goes by a name; returns as `server` does."""
        alternative = x509.SubjectAlternativeName([x509.DNSName(name)])
        return self._issue(stem, name, alternative, ExtendedKeyUsageOID.CLIENT_AUTH)

    def _make(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("KernelPort authority for a try")
        builder = _builder(name, name, key, timedelta(days=AUTHORITY_DAYS))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(signs=True), critical=True)
        _write(self._folder / "ca.key", _pem(key), private=True)
        _write(self.file, builder.sign(key, _DIGEST).public_bytes(Encoding.PEM))

    def _issue(
        self, stem: str, name: str, alternative: x509.SubjectAlternativeName, purpose: x509.ObjectIdentifier
    ) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(name), self._certificate.subject, key, self._valid)
        for extension, is_critical in (
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_usage(signs=False), True),
            (x509.ExtendedKeyUsage([purpose]), False),
            (alternative, False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), False),
        ):
            builder = builder.add_extension(extension, critical=is_critical)
        cert, own_key = self._folder / f"{stem}.crt", self._folder / f"{stem}.key"
        _write(own_key, _pem(key), private=True)
        _write(cert, builder.sign(self._key, _DIGEST).public_bytes(Encoding.PEM))
        return cert, own_key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, valid: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(min(now, now + valid) - _EARLIER).not_valid_after(now + valid)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:_MOST_NAME])])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write(path: Path, pem: bytes, *, private: bool = False) -> None:
    """Replaces a file in one step: whoever watches it never reads half of one."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o644), "wb") as file:
        file.write(pem)
    fresh.replace(path)
