"""CSV: the first line names the columns, which are `id` and the deployment's inputs."""

import csv
import itertools
from collections.abc import Iterable, Iterator

from kernelport.coercion import show
from kernelport.item_files.fields import ID, Fields
from kernelport.item_files.lines import Line
from kernelport.item_files.rows import Problem, Row

DELIMITERS = ",;\t"


def csv_rows(lines: Iterable[Line | Problem], fields: Fields) -> Iterator[Row | Problem]:
    """Rows of a CSV file; a quoted value may span lines. Values are separated by commas, semicolons or tabs, whichever
    the first line has most of. An empty cell is a value that is not given. Columns at the end that have no name and no
    values are left out, as are rows without any value: spreadsheets write both."""
    feed = _Feed(lines)
    reader = csv.reader(feed, delimiter=feed.delimiter(), strict=True)
    header: list[str] | None = None
    while True:
        begins = feed.line + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield from feed.take_problems()
            problem = _csv_problem(begins, feed.line, error)
            yield problem
            if problem.fatal or header is None:
                return
            continue
        if feed.problems:
            yield from feed.take_problems()
            if header is None:
                return
        elif cells and not any(map(str.strip, cells)):
            continue
        elif cells and header is None:
            header = [cell.strip() for cell in _without_blanks(cells, 0)]
            problems = list(_header_problems(begins, header, fields))
            yield from problems
            if problems:
                return
        elif cells and header is not None:
            yield _row(begins, header, cells, fields)
        if cells is None:
            return


def looks_like_table(lines: Iterable[Line | Problem]) -> bool:
    """Whether the first line that is not blank names columns between tabs, `id` or `text` among them: what Excel calls
    Unicode text, and names `.txt`."""
    first = next((line for line in lines if isinstance(line, Problem) or line.text.strip()), None)
    if first is None or isinstance(first, Problem) or "\t" not in first.text:
        return False
    return any(cell.strip('" ').casefold() in (ID, "text") for cell in first.text.split("\t"))


class _Feed:
    """Gives the CSV reader its lines, and keeps what was wrong with them."""

    def __init__(self, lines: Iterable[Line | Problem]) -> None:
        self._lines = iter(lines)
        self.line = 0
        self.problems: list[Problem] = []

    def delimiter(self) -> str:
        """What the first line that is not blank has most of."""
        first = next((line for line in self._lines if isinstance(line, Problem) or line.text.strip()), None)
        if first is None:
            return DELIMITERS[0]
        self._lines = itertools.chain([first], self._lines)
        text = first.text if isinstance(first, Line) else ""
        return max(DELIMITERS, key=text.count)

    def take_problems(self) -> list[Problem]:
        """What was wrong with the lines since this was asked last."""
        taken, self.problems = self.problems, []
        return taken

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            if isinstance(line, Problem):
                self.line = line.line
                self.problems.append(line)
                yield "\n"
            else:
                self.line = line.number
                yield line.text + "\n" if line.text.strip() else "\n"


def _csv_problem(begins: int, ends: int, error: csv.Error) -> Problem:
    message = str(error)
    if "unexpected end of data" in message:
        return Problem(begins, "", "expected a closing quote before the end of the file", fatal=True)
    if "field larger" in message:
        limit = f"{csv.field_size_limit():,}"
        finding = f"expected a value of at most {limit} characters, got more until line {ends}; is a quote missing?"
        return Problem(begins, "", finding, fatal=True)
    through = f" (the row goes on until line {ends}; is a quote missing?)" if ends > begins else ""
    return Problem(begins, "", f"expected quotes around whole values, doubled inside them: {message}{through}")


def _header_problems(line: int, header: list[str], fields: Fields) -> Iterator[Problem]:
    known = [fields.name_of(column) for column in header]
    for index, (column, name) in enumerate(zip(header, known, strict=True)):
        if not column:
            yield Problem(line, f"column {index + 1}", "expected a name in the first line, got none", fatal=True)
        elif column in header[:index]:
            yield Problem(line, column, "expected each column once, got it twice", fatal=True)
        elif name is not None and name in known[:index]:
            yield Problem(line, column, f"expected one column for {name}, got two", fatal=True)
        elif finding := fields.unknown(column):
            yield Problem(line, column, finding, fatal=True)
    for name in fields.required:
        if name not in known:
            expected = f"expected a first line that names the columns, with {fields.column_of(name)}"
            yield Problem(line, fields.column_of(name), f"{expected}; got {', '.join(map(show, header))}", fatal=True)


def _without_blanks(cells: list[str], least: int) -> list[str]:
    """Cells without the blank ones at the end, but at least so many."""
    count = len(cells)
    while count > least and not cells[count - 1].strip():
        count -= 1
    return cells[:count]


def _row(line: int, header: list[str], cells: list[str], fields: Fields) -> Row | Problem:
    cells = _without_blanks(cells, len(header))
    if len(cells) != len(header):
        return Problem(line, "", f"expected {len(header)} values as in the first line, got {len(cells)}")
    if [cell.strip() for cell in cells] == header:
        return Problem(line, "", "expected a row, got the first line again")
    values = {}
    row_id: str | None = None
    for column, cell in zip(header, cells, strict=True):
        name = fields.name_of(column)
        if name == ID:
            row_id = cell.strip()
        elif name is not None and (cell.strip() or name in fields.required):
            values[name] = cell
    return Row(line, row_id, values, parsed=False, shown=fields.shown)
