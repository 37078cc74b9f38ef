"""CSV, TSV, Excel and Parquet → rows."""

from __future__ import annotations

import csv
import io
import re
import zipfile
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...message import Message, say
from .columns import ANSWERS, QUESTIONS, TEXTS, TURNS, plain
from .rows import BadRow, Row, shown
from .text import CHUNK_BYTES, ESCAPED, MOST_WHOLE_BYTES, compression, damaged, too_large, whole

DELIMITERS = (",", ";", "\t", "|")
MOST_FIELD_CHARS = 10_000_000  # a CSV field longer than this is a missing quote, not a text
MOST_NAME_CHARS = 60
_CLOSING = "\"')”’ "
_ENDS = (".", "?", "!", "。", "…", "다", "요", "죠", "까")
_ASKING = ("?", "주세요", "주세요.", "하세요", "하세요.", "시오", "시오.", "까요", "나요", "가요")
MOST_LINES = 5_000  # of one row; more is a missing quote too
_NAMES = frozenset((*QUESTIONS, *ANSWERS, *TURNS, *TEXTS))
_SAID = re.compile(r"\ufeff?\"?sep=(.)\"?\r?\n?$", re.IGNORECASE)  # how Excel names the delimiter in a first line


@dataclass(frozen=True)
class Dialect:
    """How the columns of a text are set apart, and how a column may hold that very sign."""

    delimiter: str
    quote: str = '"'  # "": signs of quotation are part of the text
    escape: str = ""  # "\\": a quote within quotes stands behind a backslash, not twice
    has_blank: bool = False  # after each delimiter
    has_header: bool = True  # False: the first line is a row, and the columns have no names
    title: str = ""  # what stands alone above the names of the columns

    def reader(self, lines: Iterable[str]) -> Iterator[list[str]]:
        """Rows of columns. Raises `csv.Error` for quotes that are not closed, or not where they may be."""
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quotechar=self.quote or None,
            quoting=csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
            escapechar=self.escape or None,
            doublequote=not self.escape,
            skipinitialspace=self.has_blank,
            strict=bool(self.quote),
        )


def find_dialect(start: str, suffix: str) -> Dialect:
    """How columns are written, from the first lines: the way that splits most of them into equally many parts."""
    said = _SAID.match(start.partition("\n")[0])
    body = start.partition("\n")[2] if said else start
    title = _title(body)
    body = body.lstrip("\ufeff\r\n \t").partition("\n")[2] if title else body
    order = (said[1],) if said else ("\t", *DELIMITERS) if suffix == ".tsv" else DELIMITERS
    way = replace(_best(body, *dict.fromkeys(order)), title=title)
    with suppress(csv.Error, StopIteration):
        return replace(way, has_header=not is_example(next(way.reader(body.lstrip().splitlines(keepends=True)))))
    return way


def _title(start: str) -> str:
    """A first line that is no row of the table: below it stand names of columns as people use them."""
    lines = [line.strip("\ufeff \t\r,;|\n") for line in start.splitlines() if line.strip()]
    if len(lines) < 2 or any(sign in lines[0] for sign in DELIMITERS) or plain(lines[0]) in _NAMES:
        return ""
    named = any(
        len(fields := lines[1].split(sign)) > 1 and any(plain(field) in _NAMES for field in fields) for sign in DELIMITERS
    )
    return lines[0] if named else ""


def is_example(fields: list[str]) -> bool:
    """Whether a first line is a row rather than names of columns: all of it are sentences and numbers."""
    filled = [field.strip() for field in fields if field.strip()]
    sentences = [field for field in filled if _is_sentence(field)]
    numbers = [field for field in filled if field.isdecimal() and field not in sentences]
    # a form that people filled in asks in each of its columns
    says_something = any(not field.rstrip(_CLOSING).endswith(_ASKING) for field in sentences)
    return len(filled) > 1 and says_something and len(sentences) + len(numbers) == len(filled)


def _is_sentence(field: str) -> bool:
    has_words = len(field.split(maxsplit=1)) > 1
    return has_words and (len(field) > MOST_NAME_CHARS or field.rstrip(_CLOSING).endswith(_ENDS))


def _best(start: str, *delimiters: str) -> Dialect:
    found: list[tuple[tuple[float, int], Dialect]] = []
    for delimiter in delimiters:
        has_blank = f'{delimiter} "' in start or f"{delimiter} '" in start
        ways = [Dialect(delimiter, has_blank=has_blank), Dialect(delimiter, quote="'", has_blank=has_blank)]
        if '\\"' in start and '""' not in start:
            ways.insert(0, Dialect(delimiter, escape="\\", has_blank=has_blank))
        if delimiter == "\t":
            ways.append(Dialect(delimiter, quote=""))
        found += [(_score(start, way), way) for way in ways if way.quote != "'" or _is_quoted(start, delimiter)]
    best = max(score for score, _ in found)
    return next(way for score, way in found if score == best)


def _is_quoted(start: str, delimiter: str) -> bool:
    """Whether single quotes stand at both ends of columns: they are apostrophes far more often."""
    return len(re.findall(rf"(?:^|{re.escape(delimiter)})\s*'[^']*'\s*(?={re.escape(delimiter)}|$)", start, re.MULTILINE)) > 1


def _score(start: str, way: Dialect) -> tuple[float, int]:
    """(share of rows as wide as the first, width), the better the larger; one column says nothing."""
    rows: list[list[str]] = []
    lines = start.splitlines(keepends=True)
    try:
        for row in way.reader(lines):
            rows.append(row)
    except csv.Error:
        # the last row may be cut off in the middle; any earlier fault speaks against this way
        if len(rows) < 0.8 * len(lines):
            rows += [[]] * 2
    rows = [row for row in rows if row or row == []]
    filled = [row for row in rows if row]
    width = len(filled[0]) if filled else 0
    if width < 2:
        return 0.0, 0
    return sum(len(row) == width for row in rows) / len(rows), width


def parse_delimited(lines: Iterable[str], file: str, way: Dialect) -> Iterator[Row | BadRow]:
    """The first line names the columns. `line` is where a row begins; quoted texts may span lines."""
    csv.field_size_limit(MOST_FIELD_CHARS)
    feed = _Lines(lines)
    header: list[str] = []
    while True:
        feed.begin()
        try:
            fields = next(way.reader(feed))
        except StopIteration:
            return
        except csv.Error as error:
            problem = _open_quote(feed.held[0], way) or say("not valid CSV ({reason})", reason=error)
            yield BadRow(file, feed.first, problem, say("Check the quotes around this row."), value=shown(feed.held[0]))
            feed.give_back()
            continue
        if not header and (_SAID.match(feed.held[0]) or (way.title and feed.held[0].strip("\ufeff \t\r,;|\n") == way.title)):
            continue
        while len(fields) > max(1, len(header)) and not fields[-1].strip():  # a comma at the end of each line
            fields.pop()
        if not any(field.strip() for field in fields):
            continue
        if not header:
            header = _named(fields if way.has_header else [""] * len(fields))
            if way.has_header:
                continue
        row = _row(header, fields, way.delimiter, file, feed.first)
        if isinstance(row, BadRow) and (unclosed := _open_quote(feed.held[0], way)):
            row = replace(row, problem=unclosed, fix=say("Check the quotes around this row."))
        yield row
        if isinstance(row, BadRow) and _was_swallowed(feed.held[1:], len(header), way):
            feed.give_back()


def _open_quote(line: str, way: Dialect) -> Message | None:
    """What is wrong with a line of quotes in odd number."""
    if not way.quote or line.count(way.quote) % 2 == 0:
        return None
    return say("a quote ({sign}) is not closed", sign=way.quote)


def _was_swallowed(lines: list[str], width: int, way: Dialect) -> bool:
    """Whether a quote that was never closed took whole rows with it: most of the following lines are rows by themselves."""
    whole = [line for line in lines if line.strip()]
    return bool(whole) and sum(_is_row(line, width, way) for line in whole) > len(whole) / 2


def _is_row(line: str, width: int, way: Dialect) -> bool:
    try:
        return line.count(way.quote) % 2 == 0 and [len(fields) for fields in way.reader([line])] == [width]
    except csv.Error:
        return False


class _Lines:
    """Lines with their numbers; those of the row that is being read can be given back, but for the first."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._back: deque[str] = deque()
        self.held: list[str] = []  # the lines of this row
        self.first = 1  # the number of the first of them

    def begin(self) -> None:
        """A new row begins."""
        self.first += len(self.held)
        self.held = []

    def give_back(self) -> None:
        """All lines of this row but the first are to be read again, as rows of their own."""
        self._back.extendleft(reversed(self.held[1:]))
        del self.held[1:]

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if len(self.held) == MOST_LINES:
            raise csv.Error(f"a quote that is not closed for {MOST_LINES:,} lines")
        line = self._back.popleft() if self._back else next(self._lines)
        self.held.append(line)
        return line


def _named(fields: list[str]) -> list[str]:
    """Names of columns; a column without one gets its number, a second one of the same name too."""
    names: list[str] = []
    for number, field in enumerate(fields, 1):
        name = ESCAPED.sub("�", field).strip().strip("\ufeff") or f"column {number}"
        names.append(name if name not in names else f"{name} {number}")
    return names


def _row(header: list[str], fields: list[str], delimiter: str, file: str, line: int) -> Row | BadRow:
    if len(header) == 1 and len(fields) > 1:
        fields = [delimiter.join(fields)]  # one column needs no quotes around its commas
    if len(fields) != len(header):
        problem = say("{found} columns where the header has {expected}", found=len(fields), expected=len(header))
        fix = say('Put texts that contain {sign} between double quotes ("…").', sign=repr(delimiter))
        return BadRow(file, line, problem, fix, value=shown(delimiter.join(fields)))
    for name, field in zip(header, fields, strict=True):
        if not field.isascii() and ESCAPED.search(field):
            problem = say("bytes that are not text in the encoding of the file")
            return BadRow(
                file, line, problem, say("Save the file as UTF-8, or delete the row."), name, shown(ESCAPED.sub("�", field))
            )
    return Row(dict(zip(header, fields, strict=True)), file, line)


def _require_small_parts(name: str, content: bytes) -> None:
    """A spreadsheet is a zip archive, whose parts the parser unpacks into memory. They are counted, whatever the archive says."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            num_bytes = 0
            for part in archive.infolist():
                part.file_size, part.CRC = MOST_WHOLE_BYTES + 1, None  # type: ignore[assignment]  # both are only claims
                with archive.open(part) as stream:
                    while chunk := stream.read(CHUNK_BYTES):
                        num_bytes += len(chunk)
                        if num_bytes > MOST_WHOLE_BYTES:
                            raise too_large(name, num_bytes)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError):
        return  # an .xls is no archive; whatever else is wrong, the parser says


def first_filled_sheet(path: Path) -> tuple[str, list[list[Any]], tuple[Message, ...]]:
    """(name, its rows of cells, notes) of the first sheet that holds anything."""
    import python_calamine

    content = whole(path)
    _require_small_parts(path.name, content)
    try:
        book = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(content))
    except (python_calamine.CalamineError, OSError, ValueError) as error:
        raise damaged(path.name, error) from error
    filled: list[tuple[str, list[list[Any]]]] = []
    for name in book.sheet_names:
        try:
            cells = book.get_sheet_by_name(name).to_python(skip_empty_area=False)
        except Exception as error:  # noqa: BLE001 - the parser's own panics have no common class
            raise damaged(path.name, error) from error
        if any(str(cell).strip() for row in cells for cell in row):
            filled.append((name, cells))
    if not filled:
        return "", [], ()
    notes: tuple[Message, ...] = ()
    if len(filled) > 1:
        others = ", ".join(name for name, _ in filled[1:6])
        notes = (
            say(
                "{file} has several sheets; only {sheet} is read, not: {others}",
                file=path.name,
                sheet=filled[0][0],
                others=others,
            ),
        )
    return *filled[0], notes


def without_title(cells: list[list[Any]]) -> tuple[list[list[Any]], str]:
    """(the rows, with what stands alone above the names of the columns emptied; that text): people put titles above tables."""
    filled = [(place, [str(cell).strip() for cell in row if str(cell).strip()]) for place, row in enumerate(cells[:5])]
    filled = [(place, texts) for place, texts in filled if texts]
    if len(filled) < 2 or len(filled[0][1]) != 1 or len(filled[1][1]) < 2:
        return cells, ""
    place, (title,) = filled[0]
    return [[] if i == place else row for i, row in enumerate(cells)], title


def parse_cells(cells: list[list[Any]], file: str, *, has_header: bool = True) -> Iterator[Row | BadRow]:
    """Rows of a sheet; the first that is not empty names the columns, if it `has_header`."""
    header: list[str] = []
    for number, row in enumerate(cells, 1):
        fields = [_cell(value) for value in row]
        if not any(fields):
            continue
        if not header:
            while fields and not fields[-1]:
                fields.pop()
            header = _named(fields if has_header else [""] * len(fields))
            if has_header:
                continue
        while len(fields) > len(header) and not fields[-1]:
            fields.pop()
        yield _row(header, fields + [""] * (len(header) - len(fields)), ",", file, number)


def _cell(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # a spreadsheet knows no whole numbers
    return str(value).strip()


def open_parquet(path: Path) -> Any:
    """The file. Raises `DataError` for a damaged one."""
    import pyarrow
    import pyarrow.parquet

    try:
        source = io.BytesIO(whole(path)) if compression(path) else path
        file = pyarrow.parquet.ParquetFile(source)
        list(file.schema_arrow.names)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise damaged(path.name, error) from error
    return file


def parse_parquet(path: Path, file: str) -> Iterator[Row | BadRow]:
    """Rows, a batch at a time. Raises `DataError` where the file is damaged."""
    import pyarrow

    table, number = open_parquet(path), 0
    names = _named(list(table.schema_arrow.names))
    try:
        for batch in table.iter_batches(batch_size=1024):
            batch = batch.rename_columns(names)
            for place in range(batch.num_rows):
                number += 1
                yield _record(batch.slice(place, 1), file, number)
    except (pyarrow.ArrowException, OSError) as error:
        raise damaged(file, error) from error


def _record(batch: Any, file: str, number: int) -> Row | BadRow:
    try:
        (values,) = batch.to_pylist()
    except UnicodeDecodeError:
        problem = say("bytes that are not text in the encoding of the file")
        return BadRow(file, number, problem, say("Save the file as UTF-8, or delete the row."))
    return Row({name: _without_nulls(value) for name, value in values.items()}, file, number)


def _without_nulls(value: object) -> Any:
    """Structures have all fields that any row has; what is null was not there."""
    if isinstance(value, dict):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value
