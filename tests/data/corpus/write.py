"""Rows → bytes: the formats that are text, their encodings, and two ways to pack them.

Packed files are put together here byte by byte, without compression: what a library makes of them changes
with its version.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def jsonl(rows: Iterable[Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def json_list(rows: Sequence[Any]) -> str:
    """Return one object a line, in a list."""
    return "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n"


def pretty(value: Any) -> str:
    """As editors and `json.dump(indent=2)` write it."""
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def table(rows: Sequence[Row], delimiter: str = ",", columns: Sequence[str] = ()) -> str:
    """Return a header and rows, quoted where needed. Lists become JSON, None an empty cell."""
    return cells([columns or list(rows[0]), *([cell(row.get(name)) for name in columns or rows[0]] for row in rows)], delimiter)


def cells(rows: Iterable[Sequence[str]], delimiter: str = ",") -> str:
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return file.getvalue()


def cell(value: Any) -> str:
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else str(value)


def _with_nuls(text: str) -> bytes:
    """NULs where programs leave them behind: at the ends of lines, and one within a word."""
    return text.replace("\n", "\0\n").replace("약", "약\0", 1).encode()


def mark_le(text: str) -> bytes:
    return codecs.BOM_UTF16_LE + text.encode("utf-16-le")


def mark_be(text: str) -> bytes:
    return codecs.BOM_UTF16_BE + text.encode("utf-16-be")


# part of a file's name → how it is written; what its encoding is called
ENCODINGS: Mapping[str, tuple[Callable[[str], bytes], str]] = {
    "utf-8": (lambda text: text.encode(), "utf-8"),
    "utf-8-sig": (lambda text: text.encode("utf-8-sig"), "utf-8-sig"),
    "utf-16": (mark_le, "utf-16"),
    "utf-16-be": (mark_be, "utf-16"),
    "utf-16-le-no-mark": (lambda text: text.encode("utf-16-le"), "utf-16-le"),
    "utf-16-be-no-mark": (lambda text: text.encode("utf-16-be"), "utf-16-be"),
    "cp949": (lambda text: text.encode("cp949"), "cp949"),
    "crlf": (lambda text: text.replace("\n", "\r\n").encode(), "utf-8"),
    "cp949.crlf": (lambda text: text.replace("\n", "\r\n").encode("cp949"), "cp949"),
    "utf-16.crlf": (lambda text: mark_le(text.replace("\n", "\r\n")), "utf-16"),
    "cr": (lambda text: text.replace("\n", "\r").encode(), "utf-8"),
    "nul": (_with_nuls, "utf-8"),
}


_BLOCK_BYTES = 300  # small, so that nothing can be read in a packed file by those who do not unpack it


def gz(content: bytes, block_type: int = 0) -> bytes:
    """Return one member of a gzip file (RFC 1952); its blocks are stored as they are. Block type 3 does not
    exist.
    """
    made = b""
    for part, is_last in _blocks(content):
        made += struct.pack("<BHH", is_last | block_type << 1, len(part), len(part) ^ 0xFFFF) + part
    return b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + made + struct.pack("<II", zlib.crc32(content), len(content))


def zst(content: bytes) -> bytes:
    """Return one frame of a zstandard file (RFC 8878) of raw blocks: its size in four bytes, no checksum."""
    made = b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", len(content))
    for part, is_last in _blocks(content):
        made += struct.pack("<I", is_last | len(part) << 3)[:3] + part
    return made


def _blocks(content: bytes) -> list[tuple[bytes, bool]]:
    """Return (bytes, whether they are the last)."""
    starts = range(0, max(1, len(content)), _BLOCK_BYTES)
    return [(content[start : start + _BLOCK_BYTES], start == starts[-1]) for start in starts]
