"""How processes log: lines for people, or one JSON object a line for machines, with the ids of what they are at."""

import contextlib
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

Ids = Callable[[], Mapping[str, Any]]
_about: ContextVar[Ids] = ContextVar("about", default=dict)


def note(ids: Ids) -> None:
    """Gives the JSON lines that this task logs from now on further fields, such as deployment and request.

    Args:
        ids: makes them; called for each line, so that it costs next to nothing while there are none.
    """
    _about.set(ids)


@contextlib.contextmanager
def about(ids: Ids) -> Iterator[None]:
    """The same for the block."""
    token = _about.set(ids)
    try:
        yield
    finally:
        _about.reset(token)


def set_up(level: str, form: str) -> None:
    """Makes this process log to stderr.

    Args:
        form: `text` or `json`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else logging.Formatter(_TEXT))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339), level, logger, message, the ids, and an exception's traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in _about.get()().items() if value},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)
