"""Files whose names promise something else than what they hold, and kinds that cannot be read."""

from __future__ import annotations

import json
from collections.abc import Iterator

from .case import Case, ready, refused, too_bad
from .parquet import parquet
from .sheets import ods, xlsx, zipped
from .words import BOTH, turns
from .write import json_list, jsonl, pretty, table

_ROWS = [{"question": q, "answer": a} for q, a in BOTH[:4]]
_SHAPE, _FIRST = "question+answer", turns(*BOTH[0])
_SHEET = xlsx([["question", "answer"], *map(list, BOTH[:4])])


def cases() -> Iterator[Case]:
    compact = json.dumps(_ROWS, ensure_ascii=False).encode()
    lines, listed = jsonl(_ROWS).encode(), json_list(_ROWS).encode()
    # path, bytes, format (None: two answers are right)
    found = (
        ("jsonl.json", lines, None),
        ("jsonl.txt", lines, "jsonl"),
        ("jsonl.csv", lines, "jsonl"),
        ("jsonl.tsv", lines, "jsonl"),
        ("lines.ndjson", lines, "jsonl"),
        ("json.txt", pretty(_ROWS).encode(), "json"),
        ("json_compact.txt", compact, "json"),
        ("json.csv", compact, "json"),
        ("json_list.jsonl", listed, "json"),
        ("json_pretty.jsonl", pretty(_ROWS).encode(), "json"),
        ("json_compact.jsonl", compact, None),
        ("json_document.jsonl", pretty({"data": _ROWS}).encode(), "json"),
        ("csv.tsv", table(_ROWS).encode(), "csv"),
        ("tsv.csv", table(_ROWS, "\t").encode(), "tsv"),
        ("semicolon.tsv", table(_ROWS, ";").encode(), "csv"),
        ("CAPITALS.CSV", table(_ROWS).encode(), "csv"),
    )
    for name, content, format in found:
        yield ready(f"suffixes/{name}", content, _SHAPE, _FIRST, 4, format=format)
    for name in ("xlsx.csv", "xlsx.xls", "xlsx.jsonl", "xlsx.txt"):
        yield ready(f"suffixes/{name}", _SHEET, _SHAPE, _FIRST, 4, format="xlsx", encoding="")
    for name in ("parquet.csv", "parquet.jsonl", "parquet.xlsx"):
        yield ready(f"suffixes/{name}", parquet(_ROWS), _SHAPE, _FIRST, 4, format="parquet", encoding="")
    sheet = ods([("question", "answer"), *BOTH[:4]])
    yield ready("suffixes/libreoffice.ods", sheet, _SHAPE, _FIRST, 4, encoding="")
    yield ready("suffixes/single.jsonl", pretty(_ROWS[0]).encode(), _SHAPE, _FIRST, 1, format="json")
    yield refused("suffixes/csv.json", table(_ROWS).encode(), "No row of")
    yield too_bad("suffixes/csv.jsonl", table(_ROWS).encode(), 5, [(line, "JSON") for line in range(1, 6)])
    yield too_bad("suffixes/first_line_broken.json", lines[1:], 4, [(1, "JSON")], format=None)
    yield too_bad("suffixes/last_line_cut.json", lines[:-30], 4, [(4, "JSON")], format=None)
    yield from _unknown()


def _unknown() -> Iterator[Case]:
    """Kinds of files that no reader here knows. "Damaged" would send their owner to download them again."""
    said = "kind that cannot be read"
    document = zipped({"[Content_Types].xml": "<Types/>", "word/document.xml": "<w:document/>"})
    yield refused("unknown/letter.docx", document, said)
    yield refused("unknown/letter.hwp", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504), said)
    yield refused("unknown/letter.pdf", b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\n%%EOF\n", said)
    yield refused("unknown/picture.png", b"\x89PNG\r\n\x1a\n" + bytes(range(200)), said)
    yield refused("unknown/rows.zip", zipped({"rows.csv": table(_ROWS)}), "Unpack it first")
    yield refused("unknown/rows.7z", b"7z\xbc\xaf\x27\x1c" + bytes(100), "Unpack it first")
    yield refused("unknown/no_suffix", jsonl(_ROWS).encode(), said)
    yield refused("unknown/rows.jsonl.bak", jsonl(_ROWS).encode(), said)
    yield refused("unknown/model.safetensors", b"\x08\0\0\0\0\0\0\0{}      ", said)
