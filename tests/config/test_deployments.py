"""deployments.yaml: what it means, and what is said about mistakes in it."""

from pathlib import Path

import pytest

from kernelport.config.deployments import (
    Batching,
    Deployment,
    Timeouts,
    deployment_names,
    load_autoscale,
    load_deployments,
)
from kernelport.config.manifests import BACKENDS
from kernelport.config.schema import ConfigError, as_yaml, read_yaml
from kernelport_workers.backends.loading import find
from tests.stack.models import Sleeper

BUNDLED = Path(__file__).parents[2] / "deployments" / "deployments.yaml"
MANIFEST = "{id: m, source: {kind: local, path: .}, format: onnx, backend: onnx, files: {model: m.onnx}, %s}"
ANY_BACKEND = " or ".join(BACKENDS)
PIPELINE = "backend: onnx, image: i, pipeline: 'a.b:C'"


def load(tmp_path: Path, text: str) -> dict[str, Deployment]:
    (tmp_path / "m.yaml").write_text(MANIFEST % "runtime: {device: 'cuda:1'}")
    (tmp_path / "broken.yaml").write_text(MANIFEST.replace("id: m, ", "") % "colour: red")
    path = tmp_path / "deployments.yaml"
    path.write_text(text)
    return load_deployments(path)


def test_the_bundled_deployments() -> None:
    deployments = load_deployments(BUNDLED)
    identity, helion, hibari = (deployments[name] for name in ("identity-onnx", "helion-demo", "hibari-en"))
    luxtts, luxtts_cpu = deployments["luxtts"], deployments["luxtts-cpu"]
    assert identity.name == "identity-onnx"
    assert identity.manifest is not None
    assert identity.manifest.resolve()["model"].is_file()
    assert (helion.manifest, helion.kernel) == (None, "kernelport_workers.kernels.softmax:softmax_two_pass")
    assert (hibari.batching.max_batch, hibari.device) == (8, "cpu")
    assert luxtts.pipeline == luxtts_cpu.pipeline
    assert luxtts.image == "kernelport-luxtts:gpu"


def test_defaults(tmp_path: Path) -> None:
    deployment = load(tmp_path, f"deployments: {{x: {{{PIPELINE}}}}}")["x"]
    assert deployment.batching == Batching(max_batch=32, max_rows=8192, max_bytes=64 * 2**20, axes="auto")
    assert deployment.timeouts == Timeouts(request_s=60.0, load_s=300.0)
    assert (deployment.manifest, deployment.kernel, deployment.device) == (None, None, "auto")


def test_the_manifests_of_deployments_that_are_not_wanted_are_not_read(tmp_path: Path) -> None:
    entries = "x: {manifest: m.yaml, backend: onnx, image: i}, y: {manifest: broken.yaml, backend: onnx, image: i}"
    with pytest.raises(ConfigError, match="broken"):
        load(tmp_path, f"deployments: {{{entries}}}")
    path = tmp_path / "deployments.yaml"
    assert list(load_deployments(path, ["x", "z"])) == ["x"]
    assert deployment_names(path) == ["x", "y"]


@pytest.mark.parametrize(("written", "seconds"), [("1e3", 1000.0), ("2.5E-1", 0.25), ("1e+10", 1e10), (".5e1", 5.0)])
def test_numbers_with_an_exponent(tmp_path: Path, written: str, seconds: float) -> None:
    text = f"deployments: {{x: {{{PIPELINE}, timeouts: {{request_s: {written}}}}}}}"
    assert load(tmp_path, text)["x"].timeouts.request_s == seconds


def test_a_name_that_looks_like_a_number_is_written_so_that_it_is_read_as_a_name(tmp_path: Path) -> None:
    path = tmp_path / "names.yaml"
    path.write_text(as_yaml(names := {"1e10": "2E5", "12": "yes"}))
    assert read_yaml(path) == names


@pytest.mark.parametrize(
    ("written", "size"), [("1", 1), ("'512'", 512), ("8MiB", 8 * 2**20), ("2 GiB", 2**31), ("4KiB", 4096)]
)
def test_sizes(tmp_path: Path, written: str, size: int) -> None:
    text = f"deployments: {{x: {{{PIPELINE}, batching: {{max_bytes: {written}}}}}}}"
    assert load(tmp_path, text)["x"].batching.max_bytes == size


@pytest.mark.parametrize(
    ("field", "device"),
    [("", "cuda:1"), (", device: auto", "auto"), (", device: cpu", "cpu"), (", device: cuda", "cuda")],
)
def test_the_deployments_device_goes_before_the_manifests(tmp_path: Path, field: str, device: str) -> None:
    text = f"deployments: {{x: {{manifest: m.yaml, backend: onnx, image: i{field}}}}}"
    assert load(tmp_path, text)["x"].device == device


ENTRY_KEYS = "backend, batching, device, image, kernel, limits, manifest, on_no_worker, pipeline, scaling, timeouts"
ERRORS = {
    # entry of the deployment x -> what is said after "deployments.yaml: "
    f"{PIPELINE}, batching: {{max_batch: many}}": 'x.batching.max_batch: expected an integer of at least 1, got "many"',
    f"{PIPELINE}, batching: {{max_batch: 0}}": "x.batching.max_batch: expected an integer of at least 1, got 0",
    f"{PIPELINE}, batching: {{max_batch: 1.5}}": "x.batching.max_batch: expected an integer of at least 1, got 1.5",
    f"{PIPELINE}, batching: {{max_batch: yes}}": "x.batching.max_batch: expected an integer of at least 1, got true",
    f"{PIPELINE}, batching: {{max_batch: '8'}}": 'x.batching.max_batch: expected an integer of at least 1, got "8"',
    f"{PIPELINE}, batching: {{max_batch: [1]}}": "x.batching.max_batch: expected an integer of at least 1, got a list",
    f"{PIPELINE}, batching: {{max_bytes: 8MB}}": (
        'x.batching.max_bytes: expected a size of at least 1 byte, such as 1048576 or 8MiB, got "8MB"'
    ),
    f"{PIPELINE}, batching: {{max_bytes: 0KiB}}": (
        'x.batching.max_bytes: expected a size of at least 1 byte, such as 1048576 or 8MiB, got "0KiB"'
    ),
    f"{PIPELINE}, batching: 8": "x.batching: expected a mapping, got 8",
    f"{PIPELINE}, batching: {{max_bach: 8}}": (
        'x.batching.max_bach: expected one of axes, max_batch, max_bytes, max_rows, got "max_bach"; '
        'did you mean "max_batch"?'
    ),
    f"{PIPELINE}, timeouts: {{request_s: 0}}": "x.timeouts.request_s: expected a number of seconds above 0, got 0",
    f"{PIPELINE}, timeouts: {{load_s: .inf}}": (
        "x.timeouts.load_s: expected a number of seconds above 0, got Infinity"
    ),
    f"{PIPELINE}, device: gpu": ('x.device: expected "auto", "cpu", "cuda" or "cuda:N" (N is a number), got "gpu"'),
    f"{PIPELINE}, colour: red": f'x.colour: expected one of {ENTRY_KEYS}, got "colour"',
    f"{PIPELINE}, 7: red": 'line 1: expected a text as key (in quotes if need be), got "7"',
    f"{PIPELINE}, kernel: 'a:b'": "x.kernel: only the backend helion takes a kernel",
    "backend: onnx, image: i": "x.manifest: required with backend onnx, unless there is a pipeline",
    "backend: onnx, image: i, manifest: null": "x.manifest: required with backend onnx, unless there is a pipeline",
    "backend: onnx, image: i, pipeline: a.b.C": 'x.pipeline: expected "module:attribute", got "a.b.C"',
    "backend: helion, image: i": "x.kernel: required with backend helion, unless there is a pipeline",
    "backend: helion, image: i, kernel: softmax": 'x.kernel: expected "module:attribute", got "softmax"',
    "image: i": "x.backend: required",
    "backend: ONNX, image: i, manifest: m.yaml": f'x.backend: expected {ANY_BACKEND}, got "ONNX"',
    "backend: onnx, image: i, manifest: none.yaml": 'x.manifest: expected a manifest\'s file, got "none.yaml"',
    "backend: onnx, image: i, manifest: ''": 'x.manifest: expected a text that is not empty, got ""',
}


@pytest.mark.parametrize(("entry", "message"), ERRORS.items())
def test_a_mistake_in_an_entry(tmp_path: Path, entry: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"deployments: {{x: {{{entry}}}}}")
    assert str(caught.value) == f"{tmp_path / 'deployments.yaml'}: {message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a mapping, got null"),
        ("- x", "expected a mapping, got a list"),
        ("{}", "deployments: required"),
        ("deployments:", "deployments: expected a mapping, got null"),
        ("deployments: {x: }", "x: expected a mapping, got null"),
        (
            f"deployments: {{X_: {{{PIPELINE}}}}}",
            "X_: expected a name of letters, digits, dots, dashes and underscores, a letter or digit at both ends, "
            'got "X_"',
        ),
        (f"deployments: {{7: {{{PIPELINE}}}}}", 'line 1: expected a text as key (in quotes if need be), got "7"'),
        (
            "deployments: {}\ndeploymnts: {}",
            'deploymnts: expected one of aliases, autoscale, deployments, include, got "deploymnts"; did you mean',
        ),
        ("deployments:\n  x: {}\n  y: {}\n  x: {}\n", 'line 4: duplicate key "x"'),
        (
            "deployments:\n  ? [x]\n  : {}\n",
            "line 2: expected a text as key (in quotes if need be), got a list or a mapping",
        ),
        ("deployments:\n  x: [\n", "line 3: "),
        ("deployments:\n  x: !!python/name:os.system\n", "line 2: could not determine a constructor for the tag"),
        ("deployments: {x: 2026-13-45}", "month must be in 1..12"),
    ],
)
def test_a_mistake_in_the_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'deployments.yaml'}: {message}")


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = """
deployments:
  a: {backend: onnx, imagine: i, batching: {max_batch: many, max_bytes: -1}}
  b: {backend: helion, image: i}
  c: {backend: onnx, manifest: none.yaml}
  d: {backend: helion, kernel: 'a:b', manifest: m.yaml}
  e: {backend: cuda}
"""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    size = "a size of at least 1 byte, such as 1048576 or 8MiB"
    file = tmp_path / "deployments.yaml"
    assert set(caught.value.problems) == {
        f"{file}: a.manifest: required with backend onnx, unless there is a pipeline",
        f'{file}: a.batching.max_batch: expected an integer of at least 1, got "many"',
        f"{file}: a.batching.max_bytes: expected {size}, got -1",
        f'{file}: a.imagine: expected one of {ENTRY_KEYS}, got "imagine"; did you mean "image"?',
        f"{file}: b.kernel: required with backend helion, unless there is a pipeline",
        f'{file}: c.manifest: expected a manifest\'s file, got "none.yaml"',
        f'{file}: d.backend: expected onnx as in {tmp_path / "m.yaml"}, got "helion"',
        f'{file}: e.backend: expected {ANY_BACKEND}, got "cuda"',
    }


def test_a_file_adds_to_the_one_that_it_includes(tmp_path: Path) -> None:
    text = f"include: base/all.yaml\ndeployments: {{mine: {{{PIPELINE}}}, hibari-en: {{{PIPELINE}, image: other}}}}"
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "all.yaml").write_text("include: bundled\ndeployments: {}\nautoscale: {fleet: ours}\n")
    deployments = load(tmp_path, text.replace(", image: other", ""))
    assert list(deployments) == [*load_deployments(BUNDLED), "mine"] == deployment_names(tmp_path / "deployments.yaml")
    assert deployments["identity-onnx"] == load_deployments(BUNDLED)["identity-onnx"]
    assert deployments["hibari-en"].file == tmp_path / "deployments.yaml"
    assert load_autoscale(tmp_path / "deployments.yaml").fleet == "ours"


@pytest.mark.parametrize(
    ("include", "got"),
    [("none.yaml", "`bundled` or a deployments file"), ("deployments.yaml", "a file that does not include this one")],
)
def test_what_cannot_be_included_is_told(tmp_path: Path, include: str, got: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"include: {include}\ndeployments: {{}}")
    assert str(caught.value) == f'{tmp_path / "deployments.yaml"}: include: expected {got}, got "{include}"'


def test_what_else_is_wrong_is_told_with_what_cannot_be_included_and_with_aliases_of_nothing(tmp_path: Path) -> None:
    file, wrong = tmp_path / "deployments.yaml", "extra: 1\ndeployments: {q: {backend: x}}"
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"include: none.yaml\naliases: {{models: {{z: maybe-there}}}}\n{wrong}")
    fields = {problem.removeprefix(f"{file}: ").partition(":")[0] for problem in caught.value.problems}
    assert fields == {"include", "extra", "q.backend"}
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"include: bundled\naliases: {{models: {{z: nothing, y: identity-onnx, x: q}}}}\n{wrong}")
    fields = {problem.removeprefix(f"{file}: ").partition(":")[0] for problem in caught.value.problems}
    assert fields == {"aliases.models.z", "extra", "q.backend"}


def test_the_image_is_that_of_the_backend_unless_it_is_named(tmp_path: Path) -> None:
    found = load(tmp_path, "deployments: {x: {backend: onnx, pipeline: 'a:b'}, y: {backend: helion, kernel: 'a:b'}}")
    assert (found["x"].image, found["y"].image) == ("kernelport-onnx:cpu", "kernelport-helion:gpu")


def test_a_further_backend_is_a_line_of_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, "further", "tests.stack.models:Sleeper")
    further = load(tmp_path, "deployments: {x: {backend: further}}")["x"]
    assert (find(further), further.image) == (Sleeper, "kernelport-onnx:cpu")


def test_mistakes_in_manifests_name_the_manifest_once(tmp_path: Path) -> None:
    entry = "{manifest: broken.yaml, backend: onnx, image: i}"
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"deployments: {{x: {entry}, y: {entry}}}")
    assert [problem.split(": expected")[0] for problem in caught.value.problems] == [
        f"{tmp_path / 'broken.yaml'}: id: required",
        f"{tmp_path / 'broken.yaml'}: colour",
    ]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: No such file"):
        load_deployments(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes("deployments: {} # é".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin\.yaml: expected UTF-8 text$"):
        load_deployments(tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    ("scaling", "found"),
    [
        ("{max: 0}", "a.scaling.max: expected an integer of at least 1, got 0"),
        ("{min: 3, max: 2}", "a.scaling.max: expected at least as many as min, 3, got 2"),
        ("{target_wait_s: soon}", 'a.scaling.target_wait_s: expected a number of seconds above 0, got "soon"'),
        ("{max: 2}", "a.scaling: min 0 needs on_no_worker: wait, since a refused request calls no worker"),
    ],
)
def test_a_mistake_in_scaling(tmp_path: Path, scaling: str, found: str) -> None:
    file = tmp_path / "deployments.yaml"
    file.write_text(f"deployments: {{a: {{backend: onnx, image: i, pipeline: 'a.b:C', scaling: {scaling}}}}}")
    with pytest.raises(ConfigError) as caught:
        load_deployments(file)
    assert f"{file}: {found}" in caught.value.problems


@pytest.mark.parametrize(
    ("autoscale", "found"),
    [
        ("{provider: lambda}", "autoscale.budget: required with provider lambda"),
        ("{provider: lambda}", "autoscale.lambda_cloud: required with provider lambda"),
        ("{budget: {per_hour: 0, per_day: 1}}", "autoscale.budget.per_hour: expected dollars, above 0, got 0"),
        ("{lambda_cloud: {arm64_images: 1}}", "autoscale.lambda_cloud.arm64_images: expected true or false, got 1"),
        ("{fleet: My Fleet}", "autoscale.fleet: expected up to 16 small letters and digits, a letter first"),
    ],
)
def test_a_mistake_in_autoscale(tmp_path: Path, autoscale: str, found: str) -> None:
    file = tmp_path / "deployments.yaml"
    file.write_text(f"deployments: {{}}\nautoscale: {autoscale}")
    with pytest.raises(ConfigError) as caught:
        load_deployments(file)
    assert any(problem.startswith(f"{file}: {found}") for problem in caught.value.problems)
