"""Fetching many outputs ends in time, whatever is in the way."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from kernelport.cli.jobs.outputs import Fetcher
from kernelport.errors import UnavailableError
from kernelport.v1 import job_pb2 as pb


def test_files_behind_one_that_was_waited_for_in_vain_are_not_waited_for(tmp_path: Path) -> None:
    waited_for: list[str] = []

    def fetch(job_id: str, item: pb.Item, folder: Path) -> Path:
        waited_for.append(item.id)
        raise UnavailableError("no front door answers")

    client: Any = SimpleNamespace(jobs=SimpleNamespace(fetch=fetch))
    with ThreadPoolExecutor(1) as pool:
        fetcher = Fetcher(client, "job", tmp_path, pool)
        fetcher.fetch_all(pb.Item(id=str(number)) for number in range(100))
    assert waited_for == ["0"]
    assert len(fetcher.failures) == 100
