"""Files packed with gzip and zstandard: whatever can be read can be read packed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .case import Case, ready, refused
from .parquet import parquet
from .sheets import xlsx
from .words import BOTH, KOREAN, PARAGRAPHS, turns
from .write import gz, json_list, jsonl, mark_le, table, zst

_ROWS = [{"question": q, "answer": a} for q, a in BOTH[:4]]
_SHAPE, _FIRST = "question+answer", turns(*BOTH[0])
_PACK = {"gz": gz, "zst": zst}


def cases() -> Iterator[Case]:
    plain = "\n\n".join(PARAGRAPHS)
    contents = {
        "rows.jsonl": jsonl(_ROWS).encode(),
        "rows.json": json_list(_ROWS).encode(),
        "rows.csv": table(_ROWS).encode(),
        "rows.tsv": table(_ROWS, "\t").encode(),
        "rows.parquet": parquet(_ROWS),
        "rows.xlsx": xlsx([["question", "answer"], *map(list, BOTH[:4])]),
    }
    for kind, pack in _PACK.items():
        for name, content in contents.items():
            facts: dict[str, Any] = {"encoding": "" if name.endswith(("parquet", "xlsx")) else "utf-8"}
            yield ready(f"packed/{name}.{kind}", pack(content), _SHAPE, _FIRST, 4, **facts)
        for suffix in ("txt", "md"):
            yield ready(f"packed/plain.{suffix}.{kind}", pack(plain.encode()), "text", [("text", plain)], 1)
        yield ready(f"packed/utf16.csv.{kind}", pack(mark_le(table(_ROWS))), _SHAPE, _FIRST, 4, encoding="utf-16")
        yield ready(f"packed/cp949.csv.{kind}", pack(table(_ROWS).encode("cp949")), _SHAPE, _FIRST, 4, encoding="cp949")
        halves = pack(jsonl(_ROWS[:2]).encode()) + pack(jsonl(_ROWS[2:]).encode())
        yield ready(f"packed/two_parts.jsonl.{kind}", halves, _SHAPE, _FIRST, 4)
        yield ready(f"packed/by_its_bytes_{kind}.jsonl", pack(jsonl(_ROWS).encode()), _SHAPE, _FIRST, 4)
        yield ready(f"packed/not_packed.jsonl.{kind}", jsonl(_ROWS).encode(), _SHAPE, _FIRST, 4)
        yield ready(f"packed/CAPITALS.JSONL.{kind.upper()}", pack(jsonl(_ROWS).encode()), _SHAPE, _FIRST, 4, format="jsonl")
        yield from _damaged(kind)


def _damaged(kind: str) -> Iterator[Case]:
    pack = _PACK[kind]
    text = jsonl([{"question": q, "answer": a} for q, a in KOREAN]).encode()
    whole = pack(text)
    yield refused(f"packed/cut.jsonl.{kind}", whole[: len(whole) * 2 // 3], "damaged")
    yield refused(f"packed/cut_at_once.jsonl.{kind}", whole[:7], "damaged")
    yield refused(f"packed/no_rows.jsonl.{kind}", pack(b""), "no rows")
    yield refused(f"packed/garbage.jsonl.{kind}", whole[:5] + bytes(range(250, 10, -1)), "damaged")
    yield refused(f"packed/kind_unknown.{kind}", whole, "kind that cannot be read")
    if kind == "gz":
        yield refused("packed/no_such_block.jsonl.gz", gz(text, block_type=3), "damaged")
        flipped = bytes(whole[:60]) + bytes([whole[60] ^ 1]) + whole[61:]
        yield refused("packed/wrong_sum.jsonl.gz", flipped, "damaged")
