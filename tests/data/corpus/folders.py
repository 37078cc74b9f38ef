"""Folders: several files as one dataset."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .case import Case, ready, refused
from .parquet import parquet
from .sheets import xlsx
from .words import BOTH, ENGLISH, KOREAN, PARAGRAPHS, turns
from .write import gz, json_list, jsonl, mark_le, table, zst

_ENGLISH = [{"question": q, "answer": a} for q, a in ENGLISH]
_KOREAN = [{"질문": q, "답변": a} for q, a in KOREAN]
_PICTURE = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_PLAIN = "\n\n".join(PARAGRAPHS).encode()
_NONE = "contains no dataset"


def cases() -> Iterator[Case]:
    yield from _many()
    yield from _heldout()
    yield from _without()
    yield from _damaged()


def _many() -> Iterator[Case]:
    """Yield the files are read in the order of their names; `first` is of the first of them."""
    three = {"a.jsonl": jsonl(_ENGLISH[:3]).encode(), "b.csv": table(_KOREAN[:3]).encode("cp949")}
    three["c.xlsx"] = xlsx([["Q", "A"], *map(list, BOTH[:2])])
    facts: dict[str, Any] = {"format": "jsonl, csv, xlsx", "encoding": "utf-8, cp949"}
    shape = "question+answer, 질문+답변, Q+A"
    yield ready("folders/mixed", three, shape, turns(*ENGLISH[0]), 8, **facts)
    packed = {
        "1.jsonl.gz": gz(jsonl(_ENGLISH[:2]).encode()),
        "2.csv.zst": zst(table(_ENGLISH[2:4]).encode()),
        "3.parquet": parquet(_ENGLISH[4:]),
        "4.json": json_list(_ENGLISH[:1]).encode(),
        "5.tsv": mark_le(table(_ENGLISH[1:2], "\t")),
    }
    facts = {"format": "jsonl, csv, parquet, json, tsv", "encoding": "utf-8, utf-16"}
    yield ready("folders/packed", packed, "question+answer", turns(*ENGLISH[0]), 8, **facts)
    deep = {f"{year}/{month}/rows.jsonl": jsonl(_ENGLISH[month : month + 1]).encode() for year in (1, 2) for month in (1, 2)}
    yield ready("folders/deep", deep, "question+answer", turns(*ENGLISH[1]), 4, format="jsonl")
    notes = {"README.md": b"# Read me\n", "notes.txt": _PLAIN, "LICENSE.txt": b"CC0", "rows.csv": table(_KOREAN).encode()}
    yield ready("folders/notes_beside", notes, "질문+답변", turns(*KOREAN[0]), 6, format="csv")
    hidden = {".backup.jsonl": b"{", "~$rows.xlsx": b"x", "picture.png": _PICTURE, "rows.jsonl": jsonl(_ENGLISH).encode()}
    hidden[".hidden/rows.jsonl"] = b"{"
    yield ready("folders/hidden_beside", hidden, "question+answer", turns(*ENGLISH[0]), 6, format="jsonl")
    texts = {"a.txt": _PLAIN, "b.md": _PLAIN, "README.md": b"# Read me\n"}
    yield ready("folders/texts", texts, "text", [("text", _PLAIN.decode())], 2, format="text")
    one_empty = {"a.jsonl": b"", "b.jsonl": jsonl(_ENGLISH).encode()}
    yield ready("folders/one_empty", one_empty, "question+answer", turns(*ENGLISH[0]), 6, format="jsonl")
    again = {"a.jsonl": jsonl(_ENGLISH).encode(), "b.jsonl": jsonl(_ENGLISH).encode()}
    yield ready("folders/duplicates", again, "question+answer", turns(*ENGLISH[0]), 12, format="jsonl")


def _heldout() -> Iterator[Case]:
    """Yield what a folder keeps for measuring is not trained."""
    for name, names in {
        "train_test": ("train.jsonl", "test.jsonl"),
        "by_folder": ("train/rows.jsonl", "validation/rows.jsonl"),
    }.items():
        files = dict(zip(names, (jsonl(_ENGLISH[:4]).encode(), jsonl(_ENGLISH[4:]).encode()), strict=True))
        facts: dict[str, Any] = {"format": "jsonl", "num_heldout": 2}
        yield ready(f"folders/{name}", files, "question+answer", turns(*ENGLISH[0]), 4, **facts)
    only = {"test.jsonl": jsonl(_ENGLISH).encode()}
    yield ready("folders/only_test", only, "question+answer", turns(*ENGLISH[0]), 6, format="jsonl", num_heldout=0)
    words = {"latest.jsonl": jsonl(_ENGLISH[:3]).encode(), "contest.jsonl": jsonl(_ENGLISH[3:]).encode()}
    yield ready("folders/names_that_contain_test", words, "question+answer", turns(*ENGLISH[3]), 6, format="jsonl", num_heldout=0)


def _without() -> Iterator[Case]:
    yield refused("folders/empty", {".gitkeep": b""}, _NONE)
    yield refused("folders/pictures", {"a.png": _PICTURE, "b.jpg": b"\xff\xd8\xff\xe0"}, _NONE)
    yield refused("folders/only_readme", {"README.md": b"# Read me\n", "LICENSE": b"CC0"}, _NONE)
    yield refused("folders/unknown_kinds", {"a.docx": b"PK\x03\x04", "b.pdf": b"%PDF"}, _NONE)
    yield refused("folders/all_empty", {"a.jsonl": b"", "b.csv": b"question,answer\n"}, "no rows")


def _damaged() -> Iterator[Case]:
    good = jsonl(_ENGLISH).encode()
    broken = jsonl(_ENGLISH[:2]).encode() + b"{broken\n"
    refusal = "1 of 9 rows of"
    bad = [{"line": 3, "says": "JSON"}]
    facts: dict[str, Any] = {"num_rows": 9, "num_usable": 8, "num_left_out": 1, "bad": bad}
    yield refused("folders/one_row_broken", {"a.jsonl": good, "b.jsonl": broken}, refusal, **facts)
    yield refused("folders/one_file_cut", {"a.jsonl": good, "b.jsonl.gz": gz(good)[:100]}, "damaged")
    yield refused("folders/one_file_unclear", {"a.jsonl": good, "b.csv": b"age,weight\n3,14\n"}, "not clear")
