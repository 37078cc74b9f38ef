"""The corpus: hundreds of small files as people have them, each with the verdict that its author wrote beside
it.

`tests/data/corpus` makes the files and what must be said of them; nothing of that comes from the code that is
tested here.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from nuguna.data.conversations.conversation import Conversation
from nuguna.data.dataset import Dataset, load_dataset, read_all
from nuguna.errors import UserError
from tests.data.corpus.all_cases import EXPECTED_FILE, all_cases, expected_json

EXPECTED: dict[str, dict[str, Any]] = json.loads(EXPECTED_FILE.read_bytes())
# words of programmers, which tell a user nothing
_JARGON = re.compile(r"NoneType|(?:Error|Exception)\b|Traceback|<class|object at 0x|\b(?:dict|str|bool|tuple|a bytes)\b")


def verdict(path: str, columns: list[str]) -> tuple[Dataset | None, UserError | None]:
    """Return what is read, as far as it can be, and why it is refused, if it is."""
    dataset, refusal = None, None
    try:
        dataset = read_all(path, columns)
    except UserError as error:
        refusal = error
    try:
        load_dataset(path, columns)
    except UserError as error:
        refusal = refusal or error
    else:
        assert refusal is None, "what cannot be read cannot be loaded"
    return dataset, refusal


@pytest.mark.parametrize("name", EXPECTED)
def test_the_verdict(name: str, corpus: Path) -> None:
    expected = EXPECTED[name]
    dataset, refusal = verdict(str(corpus / name), expected.get("columns", []))
    found = "ready" if refusal is None else f"refused: {refusal}"
    assert found.partition(":")[0] == expected["verdict"], found
    if refusal is not None:
        check_words(f"{refusal.what}\n{refusal.fix}")
        str(refusal).encode()
        assert expected["refusal"] in " ".join(str(part) for part in (refusal.what, refusal.seen, refusal.fix)), found
    if dataset is not None:
        check_counts(dataset)
        check_facts(dataset, expected)
    else:
        assert not expected.get("bad") and expected["verdict"] == "refused", found


def check_words(text: str) -> None:
    """A sentence for people, which every terminal can show."""
    assert text.strip() and not _JARGON.search(text), text
    text.encode()


def check_counts(dataset: Dataset) -> None:
    """No row is lost, and each that is left out is named with its place, the reason and the remedy."""
    assert dataset.num_rows == len(dataset.train) + dataset.num_bad + dataset.num_unwanted
    assert len(dataset.bad_rows) == dataset.num_bad
    for row in dataset.bad_rows:
        assert row.file and row.line >= 1
        check_words(str(row.problem))
        check_words(str(row.fix))
        assert row.value not in ("None", "True", "False", "nan"), "a value is shown as it stands in the file"
        json.dumps(row.to_json(), ensure_ascii=False).encode()
    for conversation in dataset.train:
        check_conversation(conversation)


def check_conversation(conversation: Conversation) -> None:
    """It ends with something to learn, and all of it is text."""
    last = conversation.turns[-1]
    assert last.role in ("assistant", "text") and (last.content.strip() or last.tool_calls)
    for turn in conversation.turns:
        f"{turn.content}{turn.reasoning}{turn.tool_calls}{conversation.tools}".encode()


def check_facts(dataset: Dataset, expected: dict[str, Any]) -> None:
    facts: dict[str, Any] = {
        "format": ", ".join(dict.fromkeys(table.format for table in dataset.tables)),
        "encoding": ", ".join(dict.fromkeys(table.encoding for table in dataset.tables if table.encoding)),
        "shape": dataset.shape,
        "num_rows": dataset.num_rows,
        "num_usable": len(dataset.train),
        "num_left_out": dataset.num_bad,
        "num_unwanted": dataset.num_unwanted,
        "num_heldout": len(dataset.heldout),
    }
    if dataset.train:
        facts |= facts_of_first(dataset.train[0])
    assert {key: facts.get(key) for key in expected if key in _COMPARED} == {k: v for k, v in expected.items() if k in _COMPARED}
    bad = [(row["line"], row["says"]) for row in expected.get("bad", [])]
    found = [(row.line, f"{row.problem}") for row in dataset.bad_rows]
    if len(bad) == dataset.num_bad:
        assert [line for line, _ in bad] == [line for line, _ in found], found
    for line, says in bad:
        assert any(line == row and says in problem for row, problem in found), (line, says, found)


_COMPARED = {
    *("format", "encoding", "shape", "num_rows", "num_usable", "num_left_out", "num_unwanted", "num_heldout"),
    *("first", "reasoning", "calls", "tools"),
}


def facts_of_first(conversation: Conversation) -> dict[str, Any]:
    return {
        "first": [[turn.role, turn.content] for turn in conversation.turns],
        "reasoning": conversation.turns[-1].reasoning,
        "calls": [json.loads(turn.tool_calls) for turn in conversation.turns if turn.tool_calls],
        "tools": json.loads(conversation.tools) if conversation.tools else [],
    }


def test_the_corpus_is_as_large_as_was_promised(corpus: Path) -> None:
    files = [path for path in corpus.rglob("*") if path.is_file()]
    assert len(files) >= 1_000 and len(EXPECTED) >= 1_000
    assert sum(path.stat().st_size for path in files) < 1_500_000
    named = {path for path in EXPECTED if (corpus / path).exists()}
    assert named == set(EXPECTED)


def test_the_verdicts_and_the_bytes_are_those_that_were_agreed_on() -> None:
    """Each file's digest stands beside its verdict, so that no case changes unseen."""
    made = expected_json(all_cases()).splitlines()
    kept = EXPECTED_FILE.read_text(encoding="utf-8").splitlines()
    changed = [new for old, new in zip_longest(kept, made) if old != new]
    assert changed == [], "python -m tests.data.corpus writes expected.json anew"
    assert sum("digest" in case for case in EXPECTED.values()) > 0.9 * len(EXPECTED)


@pytest.mark.parametrize(
    "name",
    [
        *("jsonl/pairs.utf-8.jsonl", "json/list.cp949.json", "csv/comma.utf-16.csv", "tsv/pairs.nul.tsv", "xlsx/shared.xlsx"),
        *("parquet/many.parquet", "text/paragraphs.utf-8.txt", "packed/rows.csv.gz", "packed/rows.jsonl.zst"),
    ],
)
def test_names_of_files_may_be_korean_and_hold_blanks(name: str, corpus: Path, tmp_path: Path) -> None:
    folder = tmp_path / "내 자료 (1)"
    folder.mkdir()
    file = folder / ("질문 답변 최종" + "".join(Path(name).suffixes[-2:]))
    shutil.copy(corpus / name, file)
    assert len(read_all(str(file)).train) == EXPECTED[name]["num_usable"]


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "txt"])
def test_a_line_of_two_million_bytes(suffix: str, tmp_path: Path) -> None:
    """An answer as long as a book is one row; a damaged one is named without being shown whole."""
    long = "약 " * 500_000
    row = json.dumps({"question": "a", "answer": long + "x"}, ensure_ascii=False)
    texts = {"jsonl": row + "\n", "json": f"[{row}]", "csv": f'question,answer\na,"{long}x"\n', "txt": long + "x"}
    file = tmp_path / f"long.{suffix}"
    file.write_text(texts[suffix], encoding="utf-8")
    (made,) = read_all(str(file)).train
    assert made.answer == long + "x"
    file.write_bytes(texts[suffix].encode()[:-3] + b"\xff")
    try:
        said = [str(row.to_json()) for row in read_all(str(file)).bad_rows]
    except UserError as error:
        said = [str(error)]
    assert all(len(text) < 2_000 for text in said)


def test_a_list_of_nothing_but_broken_entries_is_read_in_time(tmp_path: Path) -> None:
    """The time for each broken entry must not grow with its place in the file."""
    file = tmp_path / "rows.json"
    entry = "{'question': 'What is drug 1 for?', 'answer': 'For pain.'}"  # Python's quotes
    file.write_text("[\n" + ",\n".join([entry] * 20_000) + "\n]")
    began = time.perf_counter()
    dataset = read_all(str(file))
    assert time.perf_counter() - began < 3
    assert dataset.num_rows == dataset.num_bad == 20_000
