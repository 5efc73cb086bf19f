"""Plain text: a line an item."""

from collections.abc import Iterable, Iterator

from kernelport.item_files.lines import Line
from kernelport.item_files.rows import Problem, Row


def text_rows(lines: Iterable[Line | Problem]) -> Iterator[Row | Problem]:
    """A row for every line that is not blank; it has no id of its own."""
    for line in lines:
        if isinstance(line, Problem):
            yield line
        elif text := line.text.strip():
            yield Row(line.number, None, {"text": text}, parsed=False)
