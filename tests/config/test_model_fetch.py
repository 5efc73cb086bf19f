"""`kernelport model-fetch` against a hub on loopback."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from click.testing import CliRunner, Result
from huggingface_hub import constants

from kernelport.cli.model_fetch import model_fetch
from kernelport.config.manifests import ModelFilesError, load_manifest
from tests.config.fake_hub import COMMIT, REPO, FakeHub, lfs_pointer

MODEL = os.urandom(3_000_000)
FILES = {
    "model.onnx": MODEL,
    "voices/a.bin": b"a" * 10,
    "voices/b.bin": b"b" * 20,
    "voices/a.txt": b"",
    "README.md": b"#",
}
MANIFEST = f"""
id: voices
source:
  kind: huggingface
  repo: {REPO}
  files: [voices/*.bin]
format: onnx
backend: onnx
files:
  model: model.onnx
cache:
  dir: cache
"""


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for variable in ("HF_TOKEN", "HUGGINGFACE_HUB_TOKEN", "MODEL_MANIFEST_PATH"):
        monkeypatch.delenv(variable, raising=False)
    path = tmp_path / "voices.yaml"
    path.write_text(MANIFEST)
    yield path
    huggingface_hub.close_session()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with FakeHub(dict(FILES)) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def fetch(*arguments: str | Path) -> Result:
    return CliRunner().invoke(model_fetch, [str(argument) for argument in arguments])


def test_named_files_are_fetched_and_the_commit_recorded(manifest: Path, hub: FakeHub) -> None:
    result = fetch(manifest)
    assert result.exit_code == 0, result.output
    for line in ("model.onnx: 3,000,000 bytes", "voices/a.bin: 10 bytes", f"{REPO}: 3 files at commit {COMMIT}"):
        assert line in result.stdout.splitlines()
    paths = load_manifest(manifest).resolve()
    assert {role: path.read_bytes() for role, path in paths.items()} == {"model": MODEL}
    assert (paths["model"].parent / "voices" / "b.bin").read_bytes() == FILES["voices/b.bin"]
    assert not hub.downloads("README.md")
    assert not hub.downloads("voices/a.txt")
    record = json.loads((manifest.parent / "cache" / "voices.json").read_text())
    assert record["commit"] == COMMIT
    assert sorted(record["files"]) == ["model.onnx", "voices/a.bin", "voices/b.bin"]


def test_the_files_that_onnx_settings_name_are_fetched_too(manifest: Path, hub: FakeHub) -> None:
    hub.files |= {"ops/own.so": b"so", "inputs.npz": b"npz"}
    manifest.write_text(MANIFEST + "onnx: {custom_op_libraries: [ops/own.so], warm_up: [{x: {file: inputs.npz}}]}\n")
    assert fetch(manifest).exit_code == 0
    named = {file: file for file in load_manifest(manifest).onnx.files}
    assert {name: path.read_bytes() for name, path in load_manifest(manifest).locate(named).items()} == {
        "ops/own.so": b"so",
        "inputs.npz": b"npz",
    }


def test_what_is_in_the_cache_is_not_fetched_again(manifest: Path, hub: FakeHub) -> None:
    assert fetch(manifest).exit_code == 0
    assert fetch(manifest).exit_code == 0
    assert len(hub.downloads("model.onnx")) == 1


DIGEST = hashlib.sha256(MODEL).hexdigest()


def expecting(digest: str) -> str:
    """The manifest, with this hash of its model."""
    return MANIFEST.replace("  files: [", f"  sha256: {{model.onnx: {digest}}}\n  files: [")


@pytest.mark.parametrize("digits", [16, 64])
def test_files_with_the_expected_hash_are_said_to_have_it(manifest: Path, hub: FakeHub, digits: int) -> None:
    manifest.write_text(expecting(DIGEST[:digits]))
    result = fetch(manifest)
    assert "model.onnx: 3,000,000 bytes, SHA-256 as expected" in result.stdout.splitlines()


def test_a_hash_of_no_file_is_a_mistake(manifest: Path, hub: FakeHub) -> None:
    manifest.write_text(expecting("f" * 64).replace("{model.onnx:", "{modle.onnx:"))
    result = fetch(manifest)
    assert result.exit_code == 1
    assert "source.sha256 names files that are not fetched: modle.onnx" in result.stderr
    assert not hub.downloads("model.onnx")


def test_a_file_that_is_not_the_expected_one_is_refused_and_removed(manifest: Path, hub: FakeHub) -> None:
    manifest.write_text(expecting(DIGEST))
    hub.files["model.onnx"] = b"something else"
    result = fetch(manifest)
    assert result.exit_code == 1
    assert f"model.onnx: expected SHA-256 {DIGEST}, got " in result.stderr
    with pytest.raises(ModelFilesError):
        load_manifest(manifest).resolve()
    hub.files["model.onnx"] = MODEL
    assert fetch(manifest).exit_code == 0


@pytest.mark.parametrize("lists_sizes", [True, False])
def test_the_pointer_that_stands_for_a_file_is_not_taken_for_it(
    manifest: Path, hub: FakeHub, lists_sizes: bool
) -> None:
    hub.handed_out["model.onnx"] = lfs_pointer(MODEL)
    if not lists_sizes:
        hub.described["siblings"] = [{"rfilename": name} for name in FILES]
    result = fetch(manifest)
    assert result.exit_code == 1
    assert "model.onnx: expected the file itself, got the Git LFS pointer that stands for it" in result.stderr
    with pytest.raises(ModelFilesError):
        load_manifest(manifest).resolve()
    hub.handed_out.clear()
    assert fetch(manifest).exit_code == 0


@pytest.mark.parametrize(
    ("name", "content", "finding"),
    [
        ("model.onnx", MODEL[:-1] + b"!", f"expected SHA-256 {DIGEST}, got"),
        ("model.onnx", MODEL[:-1], "expected 3000000 bytes as the hub lists, got 2999999"),
        ("voices/a.bin", b"<html>Sign in</html>", "expected 10 bytes as the hub lists, got 20"),
        ("voices/a.bin", b"", "expected 10 bytes as the hub lists, got 0"),
    ],
    ids=["another byte", "cut", "a page", "empty"],
)
def test_a_file_that_is_not_as_the_hub_lists_it_is_refused_and_removed(
    manifest: Path, hub: FakeHub, name: str, content: bytes, finding: str
) -> None:
    hub.handed_out[name] = content
    result = fetch(manifest)
    assert result.exit_code == 1
    assert f"Error: {name}: {finding}" in result.stderr
    assert "the file was removed" in result.stderr
    hub.handed_out.clear()
    assert fetch(manifest).exit_code == 0


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_hub_is_asked_again_when_it_says(
    manifest: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("kernelport.config.hub.time.sleep", waits.append)
    in_half_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    hub.busy = [(status, "7"), (status, in_half_a_minute), (status, "0")]
    result = fetch(manifest)
    assert result.exit_code == 0, result.output
    assert waits[0] == 7
    assert waits[1] == pytest.approx(30, abs=3)
    assert f"{hub.url} is busy: asking again in 7 s" in result.stdout


@pytest.mark.parametrize("retry_after", [None, "3600", "soon", "-1"])
def test_a_hub_that_does_not_say_when_or_too_late_is_like_one_out_of_reach(
    manifest: Path, hub: FakeHub, retry_after: str | None
) -> None:
    hub.busy = [(429, retry_after)]
    result = fetch(manifest)
    assert result.exit_code == 1
    assert "does not serve now (HTTP 429)" in result.stderr


def test_a_hub_that_stays_busy_is_given_up(manifest: Path, hub: FakeHub) -> None:
    hub.busy = [(503, "0")] * 100
    result = fetch(manifest)
    assert result.exit_code == 1
    assert "does not serve now (HTTP 503)" in result.stderr
    assert len(hub.seen) < 20


NONSENSE: list[tuple[bytes | None, dict[str, Any]]] = [
    (b"<html>Welcome to the hotel's network</html>", {}),
    (b"", {}),
    (b"[]", {}),
    (b"null", {}),
    (b"[" * 100_000, {}),
    (b"\xff\xfe", {}),
    (None, {"sha": None}),
    (None, {"sha": "../../../etc"}),
    (None, {"sha": 7}),
    (None, {"siblings": 7}),
    (None, {"siblings": [7]}),
    (None, {"siblings": [{}]}),
    (None, {"siblings": [{"rfilename": None}]}),
    (None, {"siblings": [{"rfilename": "../model.onnx"}]}),
    (None, {"siblings": [{"rfilename": "model.onnx", "size": "much"}]}),
    (None, {"siblings": [{"rfilename": "model.onnx", "size": 1, "lfs": {"sha256": 1, "size": 1, "pointerSize": 1}}]}),
    (None, {"siblings": [{"rfilename": "model.onnx", "size": 1, "lfs": "yes"}]}),
]


@pytest.mark.parametrize(("answer", "described"), NONSENSE)
def test_an_answer_that_makes_no_sense_is_an_error_in_words(
    manifest: Path, hub: FakeHub, answer: bytes | None, described: dict[str, Any]
) -> None:
    hub.answer, hub.described = answer, described
    result = fetch(manifest)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 1
    assert f"{hub.url} gives an answer about {REPO} that makes no sense" in result.stderr
    assert "is it a hub? See HF_ENDPOINT" in result.stderr


def test_the_manifest_may_come_from_the_environment(
    manifest: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_MANIFEST_PATH", str(manifest))
    assert fetch().exit_code == 0
    assert hub.downloads("model.onnx")


def test_without_a_manifest_the_usage_is_shown(manifest: Path) -> None:
    result = fetch()
    assert result.exit_code == 2
    assert "name a manifest, or set MODEL_MANIFEST_PATH" in result.stderr


def test_a_cut_download_goes_on_where_it_stopped(manifest: Path, hub: FakeHub) -> None:
    written = constants.DOWNLOAD_CHUNK_SIZE  # the library writes, and so resumes, in steps of this many bytes
    large = hub.files["model.onnx"] = os.urandom(written + 2_000_000)
    hub.cut["model.onnx"] = written + 1_000_000
    result = fetch(manifest)
    assert result.exit_code == 0, result.output
    assert [request.range for request in hub.downloads("model.onnx")] == [None, f"bytes={written}-"]
    assert load_manifest(manifest).resolve()["model"].read_bytes() == large


def test_the_cache_is_enough_when_the_hub_is_gone(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeHub(dict(FILES)) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        assert fetch(manifest).exit_code == 0
    result = fetch(manifest)
    assert result.exit_code == 0, result.output
    assert f"cannot fetch from {hub.url}" in result.stdout
    assert f"using what is in {manifest.parent / 'cache'}" in result.stdout
    (manifest.parent / "cache" / f"models--{REPO.replace('/', '--')}/snapshots/{COMMIT}/voices/b.bin").unlink()
    result = fetch(manifest)
    assert result.exit_code == 1
    assert "lacks voices/b.bin" in result.stderr


def test_a_connection_that_does_not_come_back_is_explained(
    manifest: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.cut["voices/a.bin"] = 5
    monkeypatch.setattr(
        "time.sleep", lambda _: hub.cut.update({"voices/a.bin": 0})
    )  # the library's pause before it resumes
    result = fetch(manifest)
    assert result.exit_code == 1
    assert f"cannot fetch from {hub.url}" in result.stderr
    assert "model.onnx: 3,000,000 bytes" in result.stdout.splitlines()
    monkeypatch.undo()
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    hub.cut.clear()
    assert fetch(manifest).exit_code == 0
    assert len(hub.downloads("model.onnx")) == 1


def test_an_unreachable_hub_and_an_empty_cache_is_an_error(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeHub({}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
    result = fetch(manifest)
    assert result.exit_code == 1
    assert f"cannot fetch from {hub.url}" in result.stderr
    assert f"{REPO} is not in {manifest.parent / 'cache'}" in result.stderr


def test_a_hub_out_of_order_is_like_one_out_of_reach(manifest: Path, hub: FakeHub) -> None:
    assert fetch(manifest).exit_code == 0
    hub.status = 503
    result = fetch(manifest)
    assert result.exit_code == 0, result.output
    assert "does not serve now (HTTP 503); using what is in" in result.stdout


def test_every_file_that_the_repository_lacks_is_named(manifest: Path, hub: FakeHub) -> None:
    text = MANIFEST.replace("voices/*.bin", "voices/*.pt, other.bin").replace("model.onnx", "modle.onnx")
    manifest.write_text(text)
    result = fetch(manifest)
    assert result.exit_code == 1
    assert result.stderr == f"Error: {REPO} at revision main has no modle.onnx, voices/*.pt, other.bin\n"


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (404, "RepoNotFound", f"has no repository {REPO}; if it is private, set HF_TOKEN"),
        (404, "RevisionNotFound", f"{REPO} has no revision main"),
        (403, "GatedRepo", f"{REPO} asks for consent: accept its terms on"),
        (403, None, f"the token may not read {REPO} (HTTP 403): check what HF_TOKEN permits"),
        (418, None, f"refuses {REPO}: HTTP 418"),
    ],
)
def test_a_refusal_is_explained(manifest: Path, hub: FakeHub, status: int, code: str | None, message: str) -> None:
    hub.status, hub.error_code = status, code
    result = fetch(manifest)
    assert result.exit_code == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("variable", ["HF_TOKEN", "HUGGINGFACE_HUB_TOKEN"])
def test_the_token_is_sent_and_never_shown(
    manifest: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    hub.token = "hf_right"
    monkeypatch.setenv(variable, "hf_right")
    result = fetch(manifest)
    assert result.exit_code == 0, result.output
    assert {request.authorization for request in hub.seen} == {"Bearer hf_right"}
    assert "hf_right" not in result.output


def test_a_wrong_token_is_told_even_when_the_cache_is_full(
    manifest: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fetch(manifest).exit_code == 0
    hub.token = "hf_right"
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    result = fetch(manifest)
    assert result.exit_code == 1
    assert result.stderr == f"Error: {hub.url} does not accept the token for {REPO} (HTTP 401): check HF_TOKEN\n"


def test_another_revision_or_a_damaged_record_asks_for_a_fetch(manifest: Path, hub: FakeHub) -> None:
    assert fetch(manifest).exit_code == 0
    record = manifest.parent / "cache" / "voices.json"
    record.write_text("{")
    with pytest.raises(ModelFilesError, match="model-fetch"):
        load_manifest(manifest).resolve()
    assert fetch(manifest).exit_code == 0
    manifest.write_text(MANIFEST.replace(f"repo: {REPO}", f"repo: {REPO}\n  revision: v2"))
    with pytest.raises(ModelFilesError, match="model-fetch"):
        load_manifest(manifest).resolve()


def test_a_manifest_with_nothing_to_fetch_is_only_verified(manifest: Path) -> None:
    manifest.write_text(
        "{id: m, source: {kind: local, path: here}, format: onnx, backend: onnx, files: {model: m.onnx}}"
    )
    result = fetch(manifest)
    assert result.exit_code == 1
    assert "missing in" in result.stderr
    (manifest.parent / "here").mkdir()
    (manifest.parent / "here" / "m.onnx").touch()
    result = fetch(manifest)
    assert result.exit_code == 0
    assert result.stdout == f"model: {manifest.parent / 'here' / 'm.onnx'}\n"


def test_in_a_process_of_its_own(manifest: Path, hub: FakeHub) -> None:
    code = "from kernelport.cli.model_fetch import model_fetch; model_fetch()"
    command = [sys.executable, "-W", "error", "-c", code, str(manifest)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert f"3 files at commit {COMMIT}" in done.stdout


def test_reading_manifests_does_not_import_the_hub_library() -> None:
    modules = "kernelport.config.hub, kernelport.config.deployments"
    code = f"import sys, {modules}; sys.exit('huggingface_hub' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
