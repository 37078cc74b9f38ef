"""Parquet files. Their bytes name the version of pyarrow that wrote them."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow
import pyarrow.parquet


def parquet(rows: Sequence[Mapping[str, Any]], schema: pyarrow.Schema | None = None) -> bytes:
    """Return rows as a library writes them: a list of objects becomes a list of structs."""
    return of_table(pyarrow.Table.from_pylist([dict(row) for row in rows], schema=schema))


def of_columns(columns: Mapping[str, pyarrow.Array]) -> bytes:
    return of_table(pyarrow.table(dict(columns)))


def of_table(table: pyarrow.Table) -> bytes:
    held = io.BytesIO()
    pyarrow.parquet.write_table(table, held, compression="none", use_dictionary=False, write_statistics=False)
    return held.getvalue()
