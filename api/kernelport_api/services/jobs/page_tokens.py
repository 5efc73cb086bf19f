"""Tokens that stand for places in listings: a caller gives one back to go on behind it."""

from collections.abc import Sequence

from kernelport.errors import FieldViolation, InvalidArgumentError

# Such as microseconds of Unix time.
_LONGEST_NUMBER = 18
_NO_TOKEN = FieldViolation("page_token", "expected the next_page_token of an earlier answer")


def job_token(created: int | str, job_id: str) -> str:
    """Stands for the place of a job among others, newest first."""
    return f"{created}:{job_id}"


def read_job_token(token: str) -> tuple[int, str]:
    """The time and the id that a token stands for; 0 and nothing where there is no token.

    Raises:
        InvalidArgumentError: when it is no such token.
    """
    created, _, job_id = token.partition(":")
    if not token:
        return 0, ""
    if not _is_number(created) or not job_id:
        raise InvalidArgumentError.of([_NO_TOKEN])
    return int(created), job_id


def item_token(page: int, place: int) -> str:
    """Stands for a place among a job's items."""
    return f"{page}:{place}"


def read_item_token(token: str) -> tuple[int, int]:
    """The page and the place in it that a token stands for; the first where there is no token.

    Raises:
        InvalidArgumentError: when it is no such token.
    """
    parts: Sequence[str] = token.split(":") if token else ("0", "0")
    if len(parts) != 2 or not all(map(_is_number, parts)):
        raise InvalidArgumentError.of([_NO_TOKEN])
    return int(parts[0]), int(parts[1])


def _is_number(text: str) -> bool:
    return len(text) <= _LONGEST_NUMBER and text.isascii() and text.isdecimal()
