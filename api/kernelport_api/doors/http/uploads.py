"""Files that forms bring."""

import shutil
from pathlib import Path

from starlette.datastructures import UploadFile


def copied(file: UploadFile, path: Path) -> None:
    """Writes an upload to a file; it blocks."""
    with path.open("wb") as written:
        shutil.copyfileobj(file.file, written)
