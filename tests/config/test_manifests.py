"""Manifests: what they mean, where their files are, and what is said about mistakes in them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from kernelport.config.manifests import Manifest, ModelFilesError, load_manifest
from kernelport.config.schema import ConfigError

MODELS = Path(__file__).parents[2] / "deployments" / "models"
SOUND: dict[str, Any] = {
    "id": "m",
    "source": {"kind": "local", "path": "model"},
    "format": "onnx",
    "backend": "onnx",
    "files": {"model": "m.onnx"},
}
HUB = {"kind": "huggingface", "repo": "org/name"}


def load(tmp_path: Path, **changes: Any) -> Manifest:
    path = tmp_path / "m.yaml"
    path.write_text(yaml.safe_dump({**SOUND, **changes}))
    return load_manifest(path)


@pytest.mark.parametrize("name", ["sample-manifest.yaml", "hibari-manifest.yaml"])
def test_the_bundled_manifests_resolve(name: str) -> None:
    assert load_manifest(MODELS / name).resolve()["model"].stat().st_size > 0


def test_a_local_directory_is_relative_to_the_manifest_or_absolute(tmp_path: Path) -> None:
    file = tmp_path / "model" / "sub" / "m.onnx"
    file.parent.mkdir(parents=True)
    file.touch()
    for path in ("model", str(tmp_path / "model")):
        manifest = load(tmp_path, source={"kind": "local", "path": path}, files={"model": "sub/m.onnx"})
        assert manifest.resolve() == {"model": file}


def test_missing_files_are_all_named_with_what_to_do(tmp_path: Path) -> None:
    manifest = load(tmp_path, files={"model": "m.onnx", "vocabulary": "v.json"})
    with pytest.raises(ModelFilesError) as caught:
        manifest.resolve()
    assert str(caught.value) == (
        f"m: missing in {tmp_path / 'model'}: m.onnx, v.json; "
        f"put them there, or correct source.path and files in {tmp_path / 'm.yaml'}"
    )


def test_links_in_the_model_directory_are_followed_and_dangling_ones_are_missing_files(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "m.onnx").symlink_to("../blobs/0f0f")
    with pytest.raises(ModelFilesError, match=r"missing in .*: m\.onnx"):
        load(tmp_path).resolve()
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "0f0f").touch()
    assert load(tmp_path).resolve() == {"model": tmp_path / "model" / "m.onnx"}


def test_a_package_is_found_and_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "kp_test_voice"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    (package / "m.onnx").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    manifest = load(tmp_path, source={"kind": "package", "package": "kp_test_voice"})
    assert manifest.resolve() == {"model": package / "m.onnx"}


def test_a_package_that_is_not_installed(tmp_path: Path) -> None:
    manifest = load(tmp_path, source={"kind": "package", "package": "no_such_package"})
    with pytest.raises(ModelFilesError, match="the Python package no_such_package is not installed"):
        manifest.resolve()


def test_a_hub_model_that_was_not_fetched(tmp_path: Path) -> None:
    manifest = load(tmp_path, source=HUB, cache={"dir": "cache"})
    with pytest.raises(ModelFilesError) as caught:
        manifest.resolve()
    expected = f"m: org/name has not been fetched; run `kernelport model-fetch {tmp_path / 'm.yaml'}`"
    assert str(caught.value) == expected


def test_the_cache_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert load(tmp_path).cache_dir == Path("/home/someone/.cache/kernelport/models")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/someone")
    assert load(tmp_path).cache_dir == Path("/var/cache/someone/kernelport/models")
    assert load(tmp_path, cache={"dir": "~/models"}).cache_dir == Path("/home/someone/models")
    assert load(tmp_path, cache={"dir": "/srv/models"}).cache_dir == Path("/srv/models")
    assert load(tmp_path, cache={"dir": "here"}).cache_dir == tmp_path / "here"


INSIDE = 'a path inside the model\'s directory, relative and without ".."'
IN_REPO = 'a path inside the repository, relative and without ".."; "*" and "?" stand for parts of one name'
AXIS, Y = "an axis, counted from 0", {"y": 0}
MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"id": "My Model"}, 'id: expected lower-case letters, digits, dots, dashes and underscores, got "My Model"'),
    ({"id": 7}, "id: expected lower-case letters, digits, dots, dashes and underscores, got 7"),
    ({"format": "tf"}, 'format: expected onnx, pytorch or safetensors, got "tf"'),
    ({"files": {}}, "files: expected at least one entry, got none"),
    ({"files": "m.onnx"}, 'files: expected a mapping, got "m.onnx"'),
    ({"files": {"model": "../m.onnx"}}, f'files.model: expected {INSIDE}, got "../m.onnx"'),
    ({"files": {"model": "a/../../m.onnx"}}, f'files.model: expected {INSIDE}, got "a/../../m.onnx"'),
    ({"files": {"model": "/etc/passwd"}}, f'files.model: expected {INSIDE}, got "/etc/passwd"'),
    ({"files": {"model": "a//b"}}, f'files.model: expected {INSIDE}, got "a//b"'),
    ({"files": {"model": "..\\m.onnx"}}, f'files.model: expected {INSIDE}, got "..\\\\m.onnx"'),
    ({"files": {"model": "C:m.onnx"}}, f'files.model: expected {INSIDE}, got "C:m.onnx"'),
    ({"files": {"model": ""}}, f'files.model: expected {INSIDE}, got ""'),
    (
        {"files": {"Model": "m"}},
        'files.Model: expected a role of lower-case letters, digits and underscores, got "Model"',
    ),
    ({"source": "local"}, 'source: expected a mapping, got "local"'),
    ({"source": {}}, "source.kind: required"),
    ({"source": {"kind": "s3"}}, 'source.kind: expected one of huggingface, local, package, got "s3"'),
    ({"source": {"kind": "local"}}, "source.path: required"),
    (
        {"source": {"kind": "local", "path": "../x"}},
        'source.path: expected a directory, absolute or without "..", got "../x"',
    ),
    (
        {"source": {"kind": "local", "pth": "x", "path": "x"}},
        'source.pth: expected one of kind, path, got "pth"; did you mean "path"?',
    ),
    (
        {"source": {"kind": "package", "package": "a.b"}},
        'source.package: expected the import name of a package, got "a.b"',
    ),
    ({"source": {**HUB, "repo": "../x"}}, 'source.repo: expected a repository such as org/name, got "../x"'),
    ({"source": {**HUB, "files": ["a", "../b"]}}, f'source.files.1: expected {IN_REPO}, got "../b"'),
    ({"source": {**HUB, "files": ["**/a"]}}, f'source.files.0: expected {IN_REPO}, got "**/a"'),
    ({"source": {**HUB, "files": ["[ab]"]}}, f'source.files.0: expected {IN_REPO}, got "[ab]"'),
    ({"source": {**HUB, "files": "a"}}, 'source.files: expected a list, got "a"'),
    (
        {"runtime": {"device": "cuda:x"}},
        'runtime.device: expected "auto", "cpu", "cuda" or "cuda:N" (N is a number), got "cuda:x"',
    ),
    ({"format": "pytorch", "onnx": {}}, "onnx: only the format onnx takes it"),
    ({"onnx": {"optimization": 9}}, "onnx.optimization: expected disabled, basic, extended or all, got 9"),
    ({"onnx": {"intra_op_threads": 0}}, "onnx.intra_op_threads: expected an integer of at least 1, got 0"),
    (
        {"onnx": {"providers": [{"name": "CUDA"}]}},
        "onnx.providers.0.name: expected ONNX Runtime's name of an execution provider, such as CUDAExecutionProvider, "
        'got "CUDA"',
    ),
    (
        {"onnx": {"providers": [{"name": "CPUExecutionProvider", "options": {"a": []}}]}},
        "onnx.providers.0.options.a: expected a text, a number, true or false, got a list",
    ),
    ({"onnx": {"custom_op_libraries": ["/x.so"]}}, f'onnx.custom_op_libraries.0: expected {INSIDE}, got "/x.so"'),
    *(
        (
            {"onnx": {"warm_up": [{"x": value}]}},
            "onnx.warm_up.0.x: expected a value, a list, {shape: [1, 2], fill: 0}, or {file: inputs.npz} inside the "
            f"model's directory, got {got}",
        )
        for value, got in (
            (None, "null"),
            ({"shape": [-1], "fill": 0}, "a mapping"),
            ({"file": "../inputs.npz"}, "a mapping"),
            ({"file": "inputs.npy"}, "a mapping"),
        )
    ),
    ({"batch_axes": {"inputs": {"x": 0}}}, "batch_axes.outputs: required"),
    ({"batch_axes": {"inputs": {"x": -1}, "outputs": Y}}, f"batch_axes.inputs.x: expected {AXIS}, got -1"),
    ({"batch_axes": {"inputs": {"x": True}, "outputs": Y}}, f"batch_axes.inputs.x: expected {AXIS}, got true"),
    ({"batch_axes": {"inputs": {}, "outputs": Y}}, "batch_axes.inputs: expected at least one entry, got none"),
    ({"batch_axes": {"inputs": 0, "outputs": Y}}, "batch_axes.inputs: expected a mapping, got 0"),
    (
        {"batch_axes": {"inputs": {"x": 0}, "outputs": Y, "BatchAxes": 0}},
        'batch_axes.BatchAxes: expected one of inputs, outputs, got "BatchAxes"',
    ),
    *(
        ({"batch_axes": value}, f'batch_axes: expected a mapping of inputs and outputs, or "none", got {got}')
        for value, got in (("nome", '"nome"'), ([], "a list"), (0, "0"))
    ),
    ({"pad": {}}, "pad.inputs: required"),
    ({"pad": {"inputs": {"x": {"axis": -1}}}}, f"pad.inputs.x.axis: expected {AXIS}, got -1"),
    ({"pad": {"inputs": {"x": [{"axis": 0}, {"axis": -1}]}}}, f"pad.inputs.x.1.axis: expected {AXIS}, got -1"),
    ({"pad": {"inputs": {"x": {"axis": 1, "value": "a"}}}}, 'pad.inputs.x.value: expected a number, got "a"'),
    (
        {"pad": {"inputs": {"x": {"axes": 1, "axis": 1}}}},
        'pad.inputs.x.axes: expected one of axis, value, got "axes"; did you mean "axis"?',
    ),
    ({"pad": {"inputs": {"x": [1]}}}, "pad.inputs.x.0: expected a mapping, got 1"),
    ({"pad": {"inputs": {"x": 1}}}, "pad.inputs.x: expected a mapping with an axis, or a list of such, got 1"),
    ({"pad": {"inputs": {"x": []}}}, "pad.inputs.x: expected at least one entry, got none"),
    ({"pad": {"inputs": {"x": [{"axis": 1}] * 2}}}, "pad.inputs.x: expected each axis once, got 1 twice"),
    ({"pad": {"inputs": {"x": {"axis": 1}}, "outputs": {"y": {"axis": 1}}}}, "pad.outputs.y.as: required"),
    ({"cache": "here"}, 'cache: expected a mapping, got "here"'),
    (
        {"sorce": 1},
        "sorce: expected one of backend, batch_axes, cache, files, format, id, onnx, options, pad, runtime, source, "
        'got "sorce"; did you mean "source"?',
    ),
]


@pytest.mark.parametrize(("changes", "message"), MISTAKES)
def test_a_mistake_in_a_manifest(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, **changes)
    assert str(caught.value) == f"{tmp_path / 'm.yaml'}: {message}"
