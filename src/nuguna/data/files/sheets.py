"""Workbooks and Parquet files as rows: cells with types."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...message import Message, say
from .rows import BadRow, Row
from .tables import _named, _row
from .text import MAX_WHOLE_BYTES, READ_BYTES, compression, damaged, too_large, whole


def _require_small_parts(name: str, content: bytes) -> None:
    """A spreadsheet is a zip archive, whose parts the parser unpacks into memory. They are counted, whatever
    the archive says.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            num_bytes = 0
            for part in archive.infolist():
                part.file_size, part.CRC = MAX_WHOLE_BYTES + 1, None  # type: ignore[assignment]  # both are only claims
                with archive.open(part) as stream:
                    while chunk := stream.read(READ_BYTES):
                        num_bytes += len(chunk)
                        if num_bytes > MAX_WHOLE_BYTES:
                            raise too_large(name, num_bytes)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError):
        return  # an .xls is no archive; whatever else is wrong, the parser says


def first_filled_sheet(path: Path) -> tuple[str, list[list[Any]], tuple[Message, ...]]:
    """Return (name, its rows of cells, notes) of the first sheet that holds anything."""
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


def parse_cells(cells: list[list[Any]], file: str, *, has_header: bool = True) -> Iterator[Row | BadRow]:
    """Yield rows of a sheet; the first that is not empty names the columns, if it `has_header`."""
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
    """Return the file. Raises `DataError` for a damaged one."""
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
    """Yield rows, a batch at a time. Raises `DataError` where the file is damaged."""
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
