"""Scripts build the same keys as Python, and every one that is there can be loaded."""

from pathlib import Path

import pytest
from redis import Redis

from kernelport.broker import keys
from kernelport.broker.lua_files import LuaFiles
from kernelport.jobs.states import lua_moves

USED = LuaFiles("kernelport.access").source("used")
ROOMS = {
    "kernelport.access": LuaFiles("kernelport.access"),
    "kernelport.broker": LuaFiles("kernelport.broker"),
    "kernelport.jobs": LuaFiles("kernelport.jobs", moves=lua_moves(), used=USED),
    "kernelport_ops.autoscale": LuaFiles("kernelport_ops.autoscale"),
}
REPOSITORY = Path(__file__).parents[2]
FOLDERS = {
    "kernelport.access": REPOSITORY / "kernelport/access/lua",
    "kernelport.broker": REPOSITORY / "kernelport/broker/lua",
    "kernelport.jobs": REPOSITORY / "kernelport/jobs/lua",
    "kernelport_ops.autoscale": REPOSITORY / "ops/kernelport_ops/autoscale/lua",
}


def _run(redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> object:
    package = f"package_of_{tmp_path.name}"
    (tmp_path / package / "lua").mkdir(parents=True)
    (tmp_path / package / "__init__.py").touch()
    (tmp_path / package / "lua/script.lua").write_text(source)
    (tmp_path / package / "lua/part.lua").write_text("-- include shared\nlocal part = shared .. 'part'\n")
    monkeypatch.syspath_prepend(tmp_path)
    return redis.eval(LuaFiles(package, shared="local shared = 'shared, '").source("script"), 0)


@pytest.mark.parametrize("room", ROOMS)
def test_every_script_can_be_loaded(redis: Redis, room: str) -> None:
    names = [path.stem for path in FOLDERS[room].glob("*.lua")]
    assert names
    for name in names:
        redis.script_load(ROOMS[room].source(name))


def test_keys_are_those_of_python(redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = """
-- keys job autoscale_lock JOBS CANCELLED_TTL_S
return {job_key('a'), job_key('a', 'log'), autoscale_lock_key('fleet'), JOBS, CANCELLED_TTL_S}
"""
    expected = [keys.job("a"), keys.job("a", "log"), keys.autoscale_lock("fleet"), keys.JOBS]
    found = _run(redis, tmp_path, monkeypatch, source)
    assert found == [*(key.encode() for key in expected), keys.CANCELLED_TTL_S]


def test_what_is_included_twice_stands_there_once(
    redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "-- include shared part\n-- include part\nreturn part"
    assert _run(redis, tmp_path, monkeypatch, source) == b"shared, part"


def test_no_script_spells_a_key() -> None:
    spelled = [path for folder in FOLDERS.values() for path in folder.glob("*.lua") if "'kp" in path.read_text()]
    assert spelled == []
