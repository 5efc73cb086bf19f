"""What callers show of who they are, and what the store and files hold of it."""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from kernelport.access.quotas import QuotaError, Quotas
from kernelport.access.records import KeyRecord, Secret, TenantRecord, decode, encode, key_violations, tenant_violations
from kernelport.access.tokens import new_key_id, new_token, read_token
from kernelport.certificates.files import CertificateError, CertificateFiles
from kernelport.certificates.making import Authority
from kernelport.errors import UnauthenticatedError
from kernelport_api.access.signatures import Signatures
from kernelport_api.doors.credentials import token_of
from tests.fuzz.target import Target, expect
from tests.fuzz.values import garbled, json_values, texts

_TOKEN = new_token(new_key_id())
_KEY = KeyRecord("0" * 12, "fuzzed", "default", ("infer",), 1, secrets=(Secret("ab" * 32),))
_SIGNATURES = Signatures(b"secret")
_PATH = "/api/jobs/a/outputs/b"


def credentials(folder: Path) -> list[Target]:
    """Every reader of them.

    Args:
        folder: for the files that they read.
    """
    authority = Authority(folder / "authority")
    pems = [path.read_bytes() for path in (*authority.server(["localhost", "::1"]), *authority.client("a"))]
    session, address = _SIGNATURES.session(_KEY, b"\xab" * 32), _SIGNATURES.address(_KEY, _PATH)
    names = st.sampled_from([*Quotas().__dataclass_fields__, "other"])
    return [
        Target("keys", _texts_like(_TOKEN, f"Bearer {_TOKEN}"), _read_key),
        Target("signed", st.tuples(_texts_like(session, address), _texts_like(_PATH)), _read_signed),
        Target("access-records", _records(), _read_record),
        Target("quotas", st.dictionaries(names, json_values | texts, max_size=4), _read_quotas),
        Target("certificates", _files(pems), lambda files: _read_certificates(folder, files)),
    ]


def _texts_like(*sound: str) -> st.SearchStrategy[str]:
    """Some of these, whole and garbled, and any others."""
    like = garbled(st.sampled_from([each.encode() for each in sound])).map(lambda data: data.decode("latin-1"))
    return like | st.sampled_from(sound) | texts


def _read_key(text: str) -> None:
    for shown in (text, token_of(text, ""), token_of("", text)):
        presented = read_token(shown)
        expect(presented is None or len(presented.sha256) == 32, f"{shown!r} is taken for a key")


def _read_signed(example: tuple[str, str]) -> None:
    text, path = example
    known: dict[str, Callable[[], Any]] = {
        _SESSION: lambda: _SIGNATURES.of_session(text),
        _ADDRESS: lambda: _SIGNATURES.of_address(path, text),
    }
    for kind, read in known.items():
        with suppress(UnauthenticatedError):
            signed = read()
            expect(signed.key_id == _KEY.id, f"{text!r} passes for a {kind} of {signed.key_id!r}")
            expect(kind == _SESSION or path == _PATH, f"{text!r} opens {path!r}, too")


_SESSION, _ADDRESS = "session", "address"


def _records() -> st.SearchStrategy[bytes]:
    sound = st.sampled_from([encode(_KEY), encode(TenantRecord("acme", 2.0, Quotas(calls=3)))])
    fields = st.sampled_from(["id", "name", "tenant", "scopes", "weight", "quotas", "secrets", "deployments"])
    return garbled(sound) | st.dictionaries(fields, json_values).map(lambda found: json.dumps(found).encode())


def _read_record(data: bytes) -> None:
    for kind in (KeyRecord, TenantRecord):
        record = decode(kind, data, "fuzz")
        if isinstance(record, KeyRecord):
            key_violations(record, 0)
            record.principal(TenantRecord("acme"))
        elif isinstance(record, TenantRecord):
            tenant_violations(record)
            record.holders()


def _read_quotas(given: dict[str, Any]) -> None:
    with suppress(QuotaError):
        quotas = Quotas.of(given)
        expect(Quotas.of(quotas.given()) == quotas, f"{given!r} is read as {quotas}")
        expect(all(value >= 0 for value in quotas.given().values()), f"{given!r} is read as {quotas}")


def _files(pems: Sequence[bytes]) -> st.SearchStrategy[tuple[bytes, bytes, bytes]]:
    file = st.sampled_from(list(pems)) | garbled(st.sampled_from(list(pems))) | st.binary(max_size=100)
    return st.tuples(file, file, file)


def _read_certificates(folder: Path, files: tuple[bytes, bytes, bytes]) -> None:
    paths = [folder / name for name in ("fuzzed.crt", "fuzzed.key", "fuzzed-ca.crt")]
    for path, data in zip(paths, files, strict=True):
        path.write_bytes(data)
    with suppress(CertificateError):
        found = CertificateFiles(*paths).read()
        expect(b"PRIVATE KEY" not in repr(found).encode(), "a key is shown")
