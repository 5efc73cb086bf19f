"""What forms bring: files, and voices."""

import shutil
from pathlib import Path

from starlette.datastructures import FormData, UploadFile

from kernelport.errors import FieldViolation, InvalidArgumentError
from kernelport.v1.voice_pb2 import AddVoiceRequest

MOST_VOICE_BYTES = 17 * 2**20


def copied(file: UploadFile, path: Path) -> None:
    """Writes an upload to a file; it blocks."""
    with path.open("wb") as written:
        shutil.copyfileobj(file.file, written)


async def voice_request(form: FormData, recording: str, **defaults: str) -> AddVoiceRequest:
    """The request that a form makes.

    Args:
        recording: the name of its field with the file.
        defaults: of fields that are not given.

    Raises:
        InvalidArgumentError: there is no file, or one in another field.
    """
    file = form.get(recording)
    if not isinstance(file, UploadFile):
        raise InvalidArgumentError.of([FieldViolation(recording, "expected the file of a recording")])
    request = AddVoiceRequest(audio=await file.read())
    for field in ("name", "consent", "owner", "transcript"):
        value = form.get(field, defaults.get(field, ""))
        if not isinstance(value, str):
            raise InvalidArgumentError.of([FieldViolation(field, "expected a text, got a file")])
        setattr(request, field, value)
    return request
