"""How processes log: lines for people, or one JSON object a line for machines, with the ids of what they are at.

Both forms begin with the time in UTC, so that lines of several processes can be put in order.
"""

import contextlib
import functools
import json
import logging
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from traceback import format_tb
from typing import Any, TextIO

import msgspec

from kernelport.config.settings import Settings
from kernelport.telemetry.log_files import LogFile, append_shared

# What libraries say of their own work below a warning is of no use to whoever reads our logs.
_LIBRARIES = (
    *("aiobotocore", "amqp", "asyncio", "botocore", "celery", "flower", "fsspec", "grpc", "kombu", "redis", "s3fs"),
    *("multipart", "python_multipart", "tornado", "urllib3", "uvicorn"),
)
# The logger of changes: its lines are JSON in either form of the log. See kernelport.telemetry.audit.
AUDIT = "kernelport.audit"
# How long a chain of exceptions is told of.
_MOST_CAUSES = 8
# For `extra`, beside `exc_info`: the text of the exception may show what a caller sent, and is left out unless
# KERNELPORT_LOG_INPUTS says otherwise.
WITHOUT_TEXT: Mapping[str, Any] = {"without_text": True}

# A field of a line for people that needs no quotes.
_WORD = re.compile(r"[!#-+\--Z\\^-~]+")
_encoder = msgspec.json.Encoder(enc_hook=str)

# When it was, in Unix seconds, and all fields of a line.
Line = tuple[float, Mapping[str, Any]]
Ids = Callable[[], Mapping[str, Any]]
_about: ContextVar[Ids] = ContextVar("about", default=dict)


def note(ids: Ids) -> None:
    """Gives the lines that this task logs from now on further fields, such as deployment and request.

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


def fields(**values: Any) -> dict[str, Any]:
    """Further fields of one line, for `extra`."""
    return {"fields": values}


def set_up(settings: Settings, copy: Path | None = None) -> None:
    """Makes this process log to stderr, or to its file; and what is changed by it to that of the audit log, where there
    is one.

    Args:
        copy: a further file that has each line, too, while its folder is there.
    """
    kind = JsonFormatter if settings.log_format == "json" else TextFormatter
    write = LogFile(Path(settings.log_file), settings.log_bytes).write if settings.log_file else _writing(sys.stderr)
    logging.basicConfig(level=settings.log_level, handlers=[_Handler(kind(settings.log_inputs), write)], force=True)
    if copy is not None:
        logging.getLogger().addHandler(_FileHandler(copy, settings.log_bytes, kind(settings.log_inputs)))
    audit = logging.getLogger(AUDIT)
    audit.setLevel(logging.INFO)  # whatever the level of the log is
    audit.propagate = not settings.audit_file
    audit.handlers.clear()
    if settings.audit_file:
        audit.addHandler(_FileHandler(Path(settings.audit_file), settings.log_bytes, JsonFormatter()))
    logging.captureWarnings(True)
    # No form tells of them, and they are looked up for every line.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # nor where in the code a line comes from: Python's own documentation has it so
    for library in _LIBRARIES:
        logging.getLogger(library).setLevel(max(logging.WARNING, logging.getLogger().level))


def log_many(logger: logging.Logger, message: str, lines: Sequence[Line]) -> None:
    """Logs lines of INFO with the same message that are there at once, for a fraction of what each would cost."""
    handlers = logging.getLogger().handlers
    if len(handlers) == 1 and isinstance(handlers[0], _Handler):
        handlers[0].emit_many(logger.name, message, lines)
        return
    for created, told in lines:
        record = logger.makeRecord(logger.name, logging.INFO, "", 0, message, (), None, extra=fields(**told))
        record.created = created
        logger.handle(record)


class _Handler(logging.Handler):
    """Writes lines to wherever this process logs."""

    def __init__(self, form: "_Formatter", write: Callable[[str], None]) -> None:
        super().__init__()
        self.setFormatter(form)
        self._form = form
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._write(f"{self.format(record)}\n")
        except Exception:
            self.handleError(record)

    def emit_many(self, logger: str, message: str, lines: Sequence[Line]) -> None:
        """See `log_many`."""
        self.acquire()
        try:
            self._write("".join([f"{self._form.line(at, 'INFO', logger, message, told)}\n" for at, told in lines]))
        except Exception:
            self.handleError(logging.makeLogRecord({"name": logger, "msg": message}))
        finally:
            self.release()


def _writing(stream: TextIO) -> Callable[[str], None]:
    def write(lines: str) -> None:
        stream.write(lines)
        stream.flush()

    return write


class _FileHandler(logging.Handler):
    """Writes to a file that the processes of a machine share."""

    def __init__(self, path: Path, most_bytes: int, form: "_Formatter") -> None:
        super().__init__()
        self.setFormatter(form)
        self._path = path
        self._most_bytes = most_bytes

    def emit(self, record: logging.LogRecord) -> None:
        try:
            append_shared(self._path, f"{self.format(record)}\n".encode(errors="backslashreplace"), self._most_bytes)
        except Exception:
            self.handleError(record)


class _Formatter(logging.Formatter):
    """What both forms have in common.

    Args:
        inputs: whether texts that may show what callers sent are told.
    """

    def __init__(self, inputs: bool = False) -> None:
        super().__init__()
        self._inputs = inputs

    def format(self, record: logging.LogRecord) -> str:
        told = {**_about.get()(), **getattr(record, "fields", {})}
        exception = self._exception(record)
        return self.line(record.created, record.levelname, record.name, record.getMessage(), told, exception)

    def line(
        self, created: float, level: str, logger: str, message: str, told: Mapping[str, Any], exception: str = ""
    ) -> str:
        """A line.

        Args:
            created: when it was logged, Unix seconds.
            told: the ids of what it is about, and its own fields; those that are empty are left out.
            exception: a traceback.
        """
        raise NotImplementedError

    def _exception(self, record: logging.LogRecord) -> str:
        """The traceback of a line; empty when it has none."""
        if not record.exc_info or record.exc_info[1] is None:
            return ""
        if self._inputs or not hasattr(record, "without_text"):
            return self.formatException(record.exc_info)
        return _without_text(record.exc_info[1])


class TextFormatter(_Formatter):
    """For people: `2026-01-31T12:00:00.000+00:00 INFO kernelport.cli: message [request_id=a-1]`. What else belongs to a
    line is indented below it. Lines of the audit log are JSON here, too."""

    def __init__(self, inputs: bool = False) -> None:
        super().__init__(inputs)
        self._audit = JsonFormatter(inputs)

    def format(self, record: logging.LogRecord) -> str:
        return self._audit.format(record) if record.name == AUDIT else super().format(record)

    def line(
        self, created: float, level: str, logger: str, message: str, told: Mapping[str, Any], exception: str = ""
    ) -> str:
        """As above."""
        line = f"{_time(created)} {level} {logger}: {message}"
        if ids := " ".join([f"{name}={_shown(value)}" for name, value in told.items() if value or value == 0]):
            line = f"{line} [{ids}]"
        if exception:
            line = f"{line}\n{exception}"
        return line.replace("\n", "\n    ")


class JsonFormatter(_Formatter):
    """One JSON object a line: time (RFC 3339), level, logger, message, the ids, and an exception's traceback."""

    def line(
        self, created: float, level: str, logger: str, message: str, told: Mapping[str, Any], exception: str = ""
    ) -> str:
        """As above."""
        line = {"time": _time(created), "level": level, "logger": logger, "message": message}
        line.update({name: value for name, value in told.items() if value or value == 0})
        if exception:
            line["exception"] = exception
        return _json(line)


class RateLimit(logging.Filter):
    """Of a logger, lets so many warnings and errors pass; a storm of them fills no disk. The next one to pass says in
    `left_out` how many did not.

    Args:
        lines_a_s: that may go on for ever.
        burst: lines that may come at once.
    """

    def __init__(self, lines_a_s: float = 20.0, burst: int = 200) -> None:
        super().__init__()
        self._lines_a_s = lines_a_s
        self._burst = burst
        self._left = float(burst)
        self._asked_at = time.monotonic()
        self._left_out = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line may pass."""
        if record.levelno < logging.WARNING:
            return True
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._asked_at) * self._lines_a_s)
        self._asked_at = now
        if self._left < 1:
            self._left_out += 1
            return False
        self._left -= 1
        if self._left_out:
            record.__dict__.update(fields(**getattr(record, "fields", {}), left_out=self._left_out))
            self._left_out = 0
        return True


def _json(line: Mapping[str, Any]) -> str:
    try:
        return _encoder.encode(line).decode()
    except UnicodeEncodeError:  # of what is no Unicode, such as the name of a file that is no UTF-8
        return json.dumps(line, ensure_ascii=False, default=str)


def _time(unix_s: float) -> str:
    second, milliseconds = divmod(int(unix_s * 1000), 1000)
    return f"{_second(second)}.{milliseconds:03d}+00:00"


@functools.lru_cache(1)
def _second(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _shown(value: Any) -> str:
    """A field as a word of a line: in quotes where it would be none."""
    if isinstance(value, str):
        return value if _WORD.fullmatch(value) else json.dumps(value)
    return ",".join(map(_shown, value)) if isinstance(value, list) else str(value)


def _without_text(error: BaseException) -> str:
    """A traceback that names exceptions by their kinds alone."""
    told: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(told) < _MOST_CAUSES:
        told.append(f"{''.join(format_tb(cause.__traceback__))}{type(cause).__name__}")
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return "\nwhich came of:\n".join(told)
