"""CSV: the first line names the columns, which are `id` and the deployment's inputs. The filelists of speech corpora,
with bars between their values, need no such line."""

import csv
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from kernelport.client.item_files.fields import FILE, ID, Fields, id_of_file
from kernelport.client.item_files.lines import Line
from kernelport.client.item_files.rows import Problem, Row
from kernelport.coercion import show
from kernelport.counting import counted

DELIMITERS = ",;\t|"
# A first line that tells Excel the delimiter.
_SEPARATOR = re.compile(r"""sep=([^\w\s"']|\t)""", re.IGNORECASE)
# Its other values hold commas.
_FILELIST = re.compile(r"[^\s,;|]+\|")
# How pandas calls the index: without a name, and so once it has read that again.
_INDEX = ("", "unnamed: 0")
# What a file without a telling name is judged by.
_SAMPLED_LINES = 5


class Column(NamedTuple):
    """A column: the field that it holds, None when it is left out, and how messages call it."""

    field: str | None
    label: str


def csv_rows(lines: Iterable[Line | Problem], fields: Fields) -> Iterator[Row | Problem]:
    """Rows of a CSV file; a quoted value may span lines. Values are separated by commas, semicolons, tabs or bars, as
    the first line shows, or by what a first line such as `sep=;` says. An empty cell is a value that is
    not given. Columns at the end that have no name and no values are left out, as are rows without any value:
    spreadsheets write both. A first column without a name is an index: it is the id where no other column is.

    Between bars a quote is a character like others, unless it stands around a whole value below a line of names. A file
    with bars whose first line names no field is a filelist: `id|text`, or three columns of which the last is the text.
    """
    feed = _Feed(lines)
    delimiter = feed.delimiter(fields)
    rows = _cells(feed, delimiter)
    first = next(rows, None)
    if first is None or isinstance(first, Problem):
        yield from filter(None, [first])
        return
    line, cells = first
    names = [cell.strip() for cell in _without_blanks(cells, 0)]
    is_filelist = delimiter == "|" and _is_item(names, fields)
    columns = _columns_of_filelist(len(names)) if is_filelist else _columns(names, fields)
    problems = [] if is_filelist else list(_unknown_columns(line, names, columns, fields))
    problems += _missing_columns(line, names, columns, fields)
    yield from problems
    if problems:
        return
    shown = fields.shown | {ID if name == FILE else name: label for name, label in columns if name is not None}
    left_out = [label for name, label in columns if name is None]
    for row in itertools.chain([first] if is_filelist else [], rows):
        if isinstance(row, Problem):
            yield row
            continue
        line, cells = row
        if delimiter == "|" and not is_filelist:
            cells = list(map(_unquoted, cells))
        cells = _without_blanks(cells, len(columns))
        if len(cells) != len(columns):
            yield Problem(line, "", f"expected {counted(len(columns), 'value')} as in the first line, got {len(cells)}")
        elif [cell.strip() for cell in cells] == names and not is_filelist:
            yield Problem(line, "", "expected a row, got the first line again")
        else:
            row_id, values = _values(columns, cells, fields)
            yield Row(line, row_id, values, parsed=False, shown=shown, left_out=left_out)


def looks_like_table(lines: Iterable[Line | Problem]) -> bool:
    """Whether the first line that is not blank names columns between tabs (what Excel calls Unicode text) or bars, `id`
    or `text` among them; or the first lines are those of a filelist."""
    filled = (line for line in lines if isinstance(line, Problem) or line.text.strip())
    sample = list(itertools.islice(filled, _SAMPLED_LINES))
    texts = [line.text for line in sample if isinstance(line, Line)]
    if not texts or isinstance(sample[0], Problem):
        return False
    names = [cell.strip('" ').casefold() for cell in re.split(r"[\t|]", texts[0])]
    if len(names) > 1 and (ID in names or "text" in names):
        return True
    rows = [text.split("|") for text in texts]
    return len(rows[0]) in (2, 3) and all(len(row) == len(rows[0]) and len(row[0].split()) == 1 for row in rows)


class _Feed:
    """Gives the CSV reader its lines, and keeps what was wrong with them."""

    def __init__(self, lines: Iterable[Line | Problem]) -> None:
        self._lines = iter(lines)
        self.line = 0
        self.problems: list[Problem] = []

    def delimiter(self, fields: Fields) -> str:
        """What a line `sep=;` says, which is taken out. Else, of the first line that is not blank: what stands around
        the name of a field, or the bar behind the first word, or what there is most of."""
        first = next((line for line in self._lines if isinstance(line, Problem) or line.text.strip()), None)
        if isinstance(first, Line):
            self.line = first.number
            if told := _SEPARATOR.fullmatch(first.text.strip(' "')):
                return told[1]
            self.line -= 1
        if first is not None:
            self._lines = itertools.chain([first], self._lines)
        text = first.text if isinstance(first, Line) else ""
        by_count = sorted(DELIMITERS, key=text.count, reverse=True)
        for delimiter in by_count:
            if delimiter in text and any(fields.name_of(cell.strip(' "')) for cell in text.split(delimiter)):
                return delimiter
        return "|" if _FILELIST.match(text) else by_count[0]

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


def _cells(feed: _Feed, delimiter: str) -> Iterator[tuple[int, list[str]] | Problem]:
    """Every row that has a value, and the line that it begins in; or what is wrong with it."""
    if delimiter == "|":
        reader = csv.reader(feed, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(feed, delimiter=delimiter, strict=True)
    while True:
        begins = feed.line + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield from feed.take_problems()
            problem = _csv_problem(begins, feed.line, error)
            yield problem
            if problem.fatal:
                return
            continue
        if feed.problems:
            yield from feed.take_problems()
        elif cells and any(map(str.strip, cells)):
            yield begins, cells
        if cells is None:
            return


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


def _is_item(cells: Sequence[str], fields: Fields) -> bool:
    """Whether the first line of a file with bars is an item rather than the names of columns."""
    return len(cells) in (2, 3) and not fields.shown and all(map(fields.unknown, cells))


def _columns_of_filelist(count: int) -> list[Column]:
    between = [Column(None, f"column {number}") for number in range(2, count)]
    return [Column(FILE, "column 1"), *between, Column("text", f"column {count}")]


def _columns(header: Sequence[str], fields: Fields) -> list[Column]:
    columns = [Column(fields.name_of(name), name) for name in header]
    names = [column.field for column in columns]
    if ID in names:
        columns = [Column(None, label) if name == FILE else Column(name, label) for name, label in columns]
    if _is_index(0, header, fields):
        columns[0] = Column(None if ID in names or FILE in names else ID, "column 1")
    return columns


def _is_index(place: int, header: Sequence[str], fields: Fields) -> bool:
    name = header[place]
    return place == 0 and name.casefold() in _INDEX and fields.unknown(name) is not None


def _unknown_columns(line: int, header: Sequence[str], columns: Sequence[Column], fields: Fields) -> Iterator[Problem]:
    known = [column.field for column in columns]
    for index, (column, name) in enumerate(zip(header, known, strict=True)):
        if _is_index(index, header, fields):
            continue
        if not column:
            yield Problem(line, f"column {index + 1}", "expected a name in the first line, got none", fatal=True)
        elif column in header[:index]:
            yield Problem(line, column, "expected each column once, got it twice", fatal=True)
        elif name is not None and name in known[:index]:
            yield Problem(line, column, f"expected one column for {name}, got two", fatal=True)
        elif finding := fields.unknown(column):
            yield Problem(line, column, finding, fatal=True)


def _missing_columns(line: int, header: Sequence[str], columns: Sequence[Column], fields: Fields) -> Iterator[Problem]:
    known = [column.field for column in columns]
    for name in fields.required:
        if name not in known:
            expected = f"expected a first line that names the columns, with {fields.column_of(name)}"
            yield Problem(line, fields.column_of(name), f"{expected}; got {', '.join(map(show, header))}", fatal=True)


def _unquoted(cell: str) -> str:
    inner = cell[1:-1]
    is_quoted = len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if is_quoted else cell


def _without_blanks(cells: list[str], least: int) -> list[str]:
    """Cells without the blank ones at the end, but at least so many."""
    count = len(cells)
    while count > least and not cells[count - 1].strip():
        count -= 1
    return cells[:count]


def _values(columns: Sequence[Column], cells: Sequence[str], fields: Fields) -> tuple[str | None, dict[str, str]]:
    """The id of a row, None where no column is it; and its values by field."""
    row_id: str | None = None
    values = {}
    for (name, _), cell in zip(columns, cells, strict=True):
        if name == ID:
            row_id = cell.strip()
        elif name == FILE:
            row_id = id_of_file(cell.strip())
        elif name is not None and (cell.strip() or name in fields.required):
            values[name] = cell
    return row_id, values
