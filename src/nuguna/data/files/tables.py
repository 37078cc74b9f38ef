"""CSV, TSV, Excel and Parquet → rows."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from ...message import Message, say
from .columns import ANSWERS, QUESTIONS, TEXTS, TURNS, plain
from .rows import BadRow, Row, shown_cell
from .text import ESCAPED

DELIMITERS = (",", ";", "\t", "|")
MAX_FIELD_CHARS = 10_000_000  # a CSV field longer than this is a missing quote, not a text
MAX_NAME_CHARS = 60
_CLOSING = "\"')”’ "
_ENDS = (".", "?", "!", "。", "…", "다", "요", "죠", "까")
_ASKING = ("?", "주세요", "주세요.", "하세요", "하세요.", "시오", "시오.", "까요", "나요", "가요")
MAX_LINES = 5_000  # of one row; more is a missing quote too
_NAMES = frozenset((*QUESTIONS, *ANSWERS, *TURNS, *TEXTS))
# how Excel names the delimiter in a first line
_SAID = re.compile(r"\ufeff?\"?sep=(.)\"?\r?\n?$", re.IGNORECASE)


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
        """Return rows of columns. Raises `csv.Error` for quotes that are not closed, or not where they may
        be.
        """
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
    """Return how columns are written, from the first lines: the way that splits most of them into equally
    many parts.
    """
    said = _SAID.match(start.partition("\n")[0])
    body = start.partition("\n")[2] if said else start
    title = _title(body)
    body = body.lstrip("\ufeff\r\n \t").partition("\n")[2] if title else body
    order = (said[1],) if said else ("\t", *DELIMITERS) if suffix == ".tsv" else DELIMITERS
    way = replace(_best(body, *dict.fromkeys(order)), title=title)
    with suppress(csv.Error, StopIteration):
        return replace(
            way, has_header=not is_example(next(way.reader(body.lstrip().splitlines(keepends=True))))
        )
    return way


def _title(start: str) -> str:
    """Return a first line that is no row of the table: below it stand names of columns as people use them."""
    lines = [line.strip("\ufeff \t\r,;|\n") for line in start.splitlines() if line.strip()]
    if len(lines) < 2 or any(sign in lines[0] for sign in DELIMITERS) or plain(lines[0]) in _NAMES:
        return ""
    named = any(
        len(fields := lines[1].split(sign)) > 1 and any(plain(field) in _NAMES for field in fields)
        for sign in DELIMITERS
    )
    return lines[0] if named else ""


def is_example(fields: list[str]) -> bool:
    """Return whether a first line is a row rather than names of columns: all of it are sentences and
    numbers.
    """
    filled = [field.strip() for field in fields if field.strip()]
    sentences = [field for field in filled if _is_sentence(field)]
    numbers = [field for field in filled if field.isdecimal() and field not in sentences]
    # a form that people filled in asks in each of its columns
    says_something = any(not field.rstrip(_CLOSING).endswith(_ASKING) for field in sentences)
    return len(filled) > 1 and says_something and len(sentences) + len(numbers) == len(filled)


def _is_sentence(field: str) -> bool:
    has_words = len(field.split(maxsplit=1)) > 1
    return has_words and (len(field) > MAX_NAME_CHARS or field.rstrip(_CLOSING).endswith(_ENDS))


def _best(start: str, *delimiters: str) -> Dialect:
    found: list[tuple[tuple[float, int], Dialect]] = []
    for delimiter in delimiters:
        has_blank = f'{delimiter} "' in start or f"{delimiter} '" in start
        ways = [Dialect(delimiter, has_blank=has_blank), Dialect(delimiter, quote="'", has_blank=has_blank)]
        if '\\"' in start and '""' not in start:
            ways.insert(0, Dialect(delimiter, escape="\\", has_blank=has_blank))
        if delimiter == "\t":
            ways.append(Dialect(delimiter, quote=""))
        found += [
            (_score(start, way), way) for way in ways if way.quote != "'" or _is_quoted(start, delimiter)
        ]
    best = max(score for score, _ in found)
    return next(way for score, way in found if score == best)


def _is_quoted(start: str, delimiter: str) -> bool:
    """Return whether single quotes stand at both ends of columns: they are apostrophes far more often."""
    return (
        len(
            re.findall(
                rf"(?:^|{re.escape(delimiter)})\s*'[^']*'\s*(?={re.escape(delimiter)}|$)", start, re.MULTILINE
            )
        )
        > 1
    )


def _score(start: str, way: Dialect) -> tuple[float, int]:
    """Return (share of rows as wide as the first, width), the better the larger; one column says nothing."""
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
    """Yield the first line names the columns. `line` is where a row begins; quoted texts may span lines."""
    csv.field_size_limit(MAX_FIELD_CHARS)
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
            yield BadRow(
                file,
                feed.first,
                problem,
                say("Check the quotes around this row."),
                value=shown_cell(feed.held[0]),
            )
            feed.give_back()
            continue
        if not header and (
            _SAID.match(feed.held[0]) or (way.title and feed.held[0].strip("\ufeff \t\r,;|\n") == way.title)
        ):
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
    """Return what is wrong with a line of quotes in odd number."""
    if not way.quote or line.count(way.quote) % 2 == 0:
        return None
    return say("a quote ({sign}) is not closed", sign=way.quote)


def _was_swallowed(lines: list[str], width: int, way: Dialect) -> bool:
    """Return whether a quote that was never closed took whole rows with it: most of the following lines are
    rows by themselves.
    """
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
        if len(self.held) == MAX_LINES:
            raise csv.Error(f"a quote that is not closed for {MAX_LINES:,} lines")
        line = self._back.popleft() if self._back else next(self._lines)
        self.held.append(line)
        return line


def _named(fields: list[str]) -> list[str]:
    """Return names of columns; a column without one gets its number, a second one of the same name too."""
    names: list[str] = []
    for number, field in enumerate(fields, 1):
        name = ESCAPED.sub("�", field).strip().strip("\ufeff") or f"column {number}"
        names.append(name if name not in names else f"{name} {number}")
    return names


def _row(header: list[str], fields: list[str], delimiter: str, file: str, line: int) -> Row | BadRow:
    if len(header) == 1 and len(fields) > 1:
        fields = [delimiter.join(fields)]  # one column needs no quotes around its commas
    if len(fields) != len(header):
        problem = say(
            "{found} columns where the header has {expected}", found=len(fields), expected=len(header)
        )
        fix = say('Put texts that contain {sign} between double quotes ("…").', sign=repr(delimiter))
        return BadRow(file, line, problem, fix, value=shown_cell(delimiter.join(fields)))
    for name, field in zip(header, fields, strict=True):
        if not field.isascii() and ESCAPED.search(field):
            problem = say("bytes that are not text in the encoding of the file")
            return BadRow(
                file,
                line,
                problem,
                say("Save the file as UTF-8, or delete the row."),
                name,
                shown_cell(ESCAPED.sub("�", field)),
            )
    return Row(dict(zip(header, fields, strict=True)), file, line)


def without_title(cells: list[list[Any]]) -> tuple[list[list[Any]], str]:
    """Return (the rows, with what stands alone above the names of the columns emptied; that text): people put
    titles above tables.
    """
    filled = [
        (place, [str(cell).strip() for cell in row if str(cell).strip()])
        for place, row in enumerate(cells[:5])
    ]
    filled = [(place, texts) for place, texts in filled if texts]
    if len(filled) < 2 or len(filled[0][1]) != 1 or len(filled[1][1]) < 2:
        return cells, ""
    place, (title,) = filled[0]
    return [[] if i == place else row for i, row in enumerate(cells)], title
