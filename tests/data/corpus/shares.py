"""Up to one row in a hundred may be broken; one more and the file is not what its owner thinks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .case import Case, ready, too_bad
from .parquet import parquet
from .sheets import xlsx
from .words import numbered, turns
from .write import json_list, jsonl, table


def _rows(count: int, *broken: int) -> list[dict[str, Any]]:
    """So many rows; those counted from 1 in `broken` have no answer."""
    return [{"question": q, "answer": None if n in broken else a} for n, (q, a) in enumerate(numbered(count), 1)]


def _written(rows: list[dict[str, Any]], suffix: str) -> bytes:
    if suffix == "parquet":
        return parquet(rows)
    if suffix == "xlsx":
        return xlsx([["question", "answer"], *([row["question"], row["answer"]] for row in rows)])
    texts: dict[str, Callable[[list[dict[str, Any]]], str]] = {
        "jsonl": jsonl,
        "json": json_list,
        "csv": table,
        "tsv": lambda some: table(some, "\t"),
    }
    return texts[suffix](rows).encode()


def cases() -> Iterator[Case]:
    first = turns(*numbered(1)[0])
    # format → how many lines stand before the first row
    for suffix, before in {"jsonl": 0, "json": 1, "csv": 1, "xlsx": 1, "parquet": 0}.items():
        facts: dict[str, Any] = {"encoding": "" if suffix in ("xlsx", "parquet") else "utf-8"}
        bad = [(50 + before, "answer is empty")]
        exact = _written(_rows(100, 50), suffix)
        yield ready(f"shares/1_of_100.{suffix}", exact, "question+answer", first, 100, bad=bad, **facts)
        yield too_bad(f"shares/1_of_99.{suffix}", _written(_rows(99, 50), suffix), 99, bad)
    bad = [(51, "answer is empty"), (121, "answer is empty")]
    yield ready("shares/2_of_200.tsv", _written(_rows(200, 50, 120), "tsv"), "question+answer", first, 200, bad=bad)
    yield too_bad("shares/2_of_199.tsv", _written(_rows(199, 50, 120), "tsv"), 199, bad)
    blank = jsonl(_rows(99, 50)).replace("\n", "\n\n")
    yield too_bad("shares/blank_lines_do_not_count.jsonl", blank.encode(), 99, [(99, "answer is empty")])
    yield from _labelled()
    yield from _halfway()


def _labelled() -> Iterator[Case]:
    """Yield answers labelled as bad are no broken rows."""
    rows = [{"prompt": q, "completion": a, "label": n % 2 == 0} for n, (q, a) in enumerate(numbered(120))]
    first = turns(*numbered(1)[0])
    content = jsonl(rows).encode()
    yield ready("shares/half_labelled_bad.jsonl", content, "prompt+completion", first, 120, unwanted=60)
    rows[2] = {**rows[2], "completion": ""}
    facts: dict[str, Any] = {"bad": [(3, "completion is empty")], "unwanted": 60}
    yield ready("shares/half_labelled_bad_one_broken.jsonl", jsonl(rows).encode(), "prompt+completion", first, 120, **facts)


def _halfway() -> Iterator[Case]:
    """Yield a file that becomes another one halfway."""
    first = [{"question": q, "answer": a} for q, a in numbered(120)]
    then = [{"prompt": q, "completion": a} for q, a in numbered(150)[120:]]
    bad = [(121, "question is missing"), (150, "question is missing")]
    yield too_bad("shares/other_names_halfway.jsonl", jsonl([*first, *then]).encode(), 150, bad, num_bad=30)
    lists = [{"question": q, "answer": [a]} for q, a in numbered(150)[120:]]
    bad = [(121, "text was expected"), (150, "text was expected")]
    yield too_bad("shares/lists_halfway.jsonl", jsonl([*first, *lists]).encode(), 150, bad, num_bad=30)
    wider = table(first) + "".join(f'{q},{a},"새 열"\n' for q, a in numbered(150)[120:])
    bad = [(122, "3 columns"), (151, "3 columns")]
    yield too_bad("shares/wider_halfway.csv", wider.encode(), 150, bad, num_bad=30)
