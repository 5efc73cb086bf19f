"""What a folder of outputs promises, whatever file system it is on and whatever paths it is asked for."""

import errno
import os
from pathlib import Path

import pytest

from kernelport.jobs.artifacts import Artifacts, UnsafePathError


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_outputs_are_kept_where_there_are_no_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refused)
    artifacts = Artifacts(str(tmp_path))
    assert artifacts.create("job/a.wav", b"first")
    assert not artifacts.create("job/a.wav", b"second")
    assert [path.name for path in (tmp_path / "job").iterdir()] == ["a.wav"]
    assert artifacts.read("job/a.wav") == b"first"


@pytest.mark.parametrize("path", ["../x", "job/../../x", "/etc/x", "job//x", "job/.", "", "job/..\\x", "job/\0"])
def test_no_path_leads_out_of_the_folder(tmp_path: Path, path: str) -> None:
    (tmp_path / "x").write_bytes(b"outside")
    (tmp_path / "root").mkdir()
    artifacts = Artifacts(str(tmp_path / "root"))
    for reach in (artifacts.read, artifacts.size, artifacts.exists, artifacts.delete_some):
        with pytest.raises(UnsafePathError):
            reach(path)
    with pytest.raises(UnsafePathError):
        artifacts.create(path, b"data")
    assert (tmp_path / "x").read_bytes() == b"outside"
