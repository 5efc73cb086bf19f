"""The files of TLS: those that `kernelport certs dev` makes, and those that are not what they should be."""

import ssl
from pathlib import Path

import pytest

from kernelport.certificates.files import CertificateError, CertificateFiles
from kernelport.certificates.making import LOCAL_NAMES, Authority
from kernelport.config.settings import Settings
from tests.cli.running import called


def test_certificates_for_a_try_stand_for_this_machine_and_the_names_given(tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    said = called("certs", "dev", folder, "speech.example", "10.0.0.7").stdout
    assert f"kernelport up --tls-cert {folder}/server.crt --tls-key {folder}/server.key" in said
    found = CertificateFiles(folder / "server.crt", folder / "server.key", folder / "ca.crt").read()
    assert found.names == ("localhost", "speech.example", "127.0.0.1", "::1", "10.0.0.7")
    assert {path.name for path in folder.iterdir() if path.stat().st_mode & 0o077 == 0} == {
        "ca.key",
        "server.key",
        "client.key",
    }


def test_made_again_they_are_others_of_the_same_authority(tmp_path: Path) -> None:
    called("certs", "dev", tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    called("certs", "dev", tmp_path)
    same = {path.name for path in tmp_path.iterdir() if before[path.name] == path.read_bytes()}
    assert same == {"ca.crt", "ca.key"}
    trusting = ssl.create_default_context(cafile=tmp_path / "ca.crt")
    trusting.load_cert_chain(tmp_path / "client.crt", tmp_path / "client.key")


@pytest.mark.parametrize(
    ("cert", "key", "client_ca", "told"),
    [
        ("server.crt", "missing.key", None, "--tls-key: cannot read .*missing.key: No such file or directory"),
        ("server.crt", "client.key", None, "client.key is not the key of the certificate in .*server.crt"),
        ("server.key", "server.key", None, "--tls-cert: expected certificates as PEM in .*server.key"),
        ("server.crt", "server.crt", None, "--tls-key: expected a private key as PEM in .*server.crt"),
        ("server.crt", "server.key", "server.key", "--tls-client-ca: expected certificates as PEM"),
        ("expired.crt", "expired.key", None, "--tls-cert: the certificate in .*expired.crt expired on 20"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, cert: str, key: str, client_ca: str | None, told: str) -> None:
    Authority(tmp_path).server(LOCAL_NAMES)
    Authority(tmp_path).client("robot")
    Authority(tmp_path, valid_days=-1).server(LOCAL_NAMES, "expired")
    files = CertificateFiles(tmp_path / cert, tmp_path / key, tmp_path / client_ca if client_ca else None)
    with pytest.raises(CertificateError, match=told):
        files.read()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"tls_cert": "a.crt"}, "--tls-key: expected the path of a PEM file, beside --tls-cert"),
        ({"tls_client_ca": "ca.crt"}, "--tls-cert and --tls-key: expected the path of a PEM file"),
    ],
)
def test_what_is_missing_is_named(given: dict[str, str], told: str) -> None:
    with pytest.raises(CertificateError, match=told):
        CertificateFiles.of(Settings(**given))  # type: ignore[arg-type]


def test_a_stack_with_files_that_cannot_be_used_does_not_start(tmp_path: Path) -> None:
    Authority(tmp_path, valid_days=-1).server(LOCAL_NAMES)
    files = ("--tls-cert", tmp_path / "server.crt", "--tls-key", tmp_path / "server.key")
    assert "expired on 20" in called("up", *files, "--state-dir", tmp_path / "state", expect=1).stderr
