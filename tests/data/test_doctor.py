"""`nuguna data`: what is said about a dataset is true, private data is never shown, and a mended copy reads
back the same.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nuguna.data.dataset import load_dataset, read_all
from nuguna.errors import DataError, SettingError
from nuguna.jobs.inspect import Diagnosis, fix_data, inspect_data
from nuguna.plan.settings import Request

GOOD = [{"question": f"{i}번 약은 하루에 몇 번 먹나요?", "answer": f"{i}번 약은 하루에 두 번 먹습니다."} for i in range(20)]


def written(folder: Path, rows: list[dict[str, Any]], name: str = "rows.jsonl") -> str:
    path = folder / name
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def found(folder: Path, rows: list[dict[str, Any]], **wishes: Any) -> Diagnosis:
    return inspect_data(Request(data=written(folder, rows), **wishes))[0]


def test_the_document_has_what_was_promised(tmp_path: Path) -> None:
    document = found(tmp_path, GOOD).to_json()
    assert document["verdict"] == "ready" and document["reason"] is None
    assert (document["format"], document["encoding"], document["shape"]) == ("jsonl", "utf-8", "question+answer")
    assert (document["num_rows"], document["num_usable"], document["num_left_out"]) == (20, 20, 0)
    assert document["bad_rows"] == [] and document["findings"] == [] and document["languages"] == {"ko": 20}
    assert document["num_turns"] == 40 and len(document["examples"]) == 3
    assert json.loads(json.dumps(document)) == document


def test_trained_characters_are_those_of_the_answer_and_its_end(tmp_path: Path) -> None:
    for example in found(tmp_path, GOOD).examples:
        ((start, end),) = example.trained
        assert example.text[start:end].endswith("하루에 두 번 먹습니다.<|im_end|>")
        assert "몇 번 먹나요?" in example.text[:start]


def test_the_number_of_trained_tokens_is_that_of_the_training(tmp_path: Path) -> None:
    from nuguna.base_models.catalog import DEMO_FOLDER
    from nuguna.base_models.checked import check_tokenizer
    from nuguna.tokens.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(check_tokenizer(DEMO_FOLDER))
    ids = [tokenizer(row["answer"], add_special_tokens=False)["input_ids"] for row in GOOD]
    assert found(tmp_path, GOOD).lengths.num_trained == sum(len(answer) + 1 for answer in ids)


def test_each_kind_of_finding_is_found_and_private_data_is_not_shown(tmp_path: Path) -> None:
    rows = [
        *GOOD,
        GOOD[3],
        {"question": "4번 약을 하루에 몇 번 먹나요", "answer": "두 번입니다."},
        {"question": "연락처는?", "answer": "hong.gildong@example.kr 또는 010-1234-5678, 900101-1234567 입니다."},
        {"question": "깨진 글자?", "answer": "안녕하세요, 반갑습니다".encode().decode("latin-1")},
        {"question": "잃은 글자?", "answer": "이 약은 \ufffd\ufffd입니다."},
        {"question": "끝이 없는 답?", "answer": "이 약은 식사를 하고 나서 물과 함께 먹는 것이 좋고 " * 4 + "물은 많이,"},
    ]
    diagnosis = found(tmp_path, rows)
    findings = {finding.kind: finding for finding in diagnosis.findings}
    assert findings["duplicate"].places == [("rows.jsonl", 21)]
    assert findings["asked_again"].places == [("rows.jsonl", 22)]
    for kind, line in (("email", 23), ("phone", 23), ("resident_number", 23), ("mojibake", 24), ("lost_characters", 25)):
        assert (findings[kind].count, findings[kind].places) == (1, [("rows.jsonl", line)]), kind
    assert findings["abrupt_answer"].places == [("rows.jsonl", 26)]
    said = json.dumps([finding for finding in diagnosis.to_json()["findings"]], ensure_ascii=False)
    for secret in ("gildong", "1234-5678", "0101-12", "1234567"):
        assert secret not in said


def test_a_set_with_too_many_broken_rows_is_refused_and_all_are_named(tmp_path: Path) -> None:
    document = found(tmp_path, [*GOOD, {"question": "?"}, {"question": "?", "answer": 3.5}]).to_json()
    assert document["verdict"] == "refused" and "1 of 22 rows" in document["reason"]
    (row,) = document["bad_rows"]
    assert (row["file"], row["line"], row["problem"]) == ("rows.jsonl", 21, "answer is missing") and row["fix"]
    assert document["num_rows"] == document["num_usable"] + document["num_left_out"] + document["num_unwanted"]


def test_lengths_are_counted_and_cut_where_the_window_ends(tmp_path: Path) -> None:
    rows = [*GOOD, {"question": "긴 질문 " * 100, "answer": "짧은 답"}, {"question": "긴 답?", "answer": "아주 " * 300}]
    lengths = found(tmp_path, rows, max_seq_length=100).lengths
    assert (lengths.counts.num_cut, lengths.counts.num_too_long, lengths.num_usable) == (1, 1, 21)
    histogram = lengths.histogram()
    assert sum(count for _, _, count in histogram) == 21
    assert all(first <= last for first, last, _ in histogram) and histogram[-1][1] >= max(lengths.tokens)


def test_of_a_large_set_a_part_is_encoded_and_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = found(tmp_path, GOOD).lengths
    monkeypatch.setattr("nuguna.tokens.lengths.MAX_ENCODED", 10)
    part = found(tmp_path, GOOD).lengths
    assert part.is_sample and not whole.is_sample and part.num_usable == 20
    assert abs(part.num_trained - whole.num_trained) <= 2


def test_a_mended_copy_is_clean_reads_back_the_same_and_every_change_is_listed(tmp_path: Path) -> None:
    turns = [{"role": "assistant", "content": "네?"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    call = {"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}
    tool_turns = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "1", "name": "f"},
        {"role": "assistant", "content": "one", "reasoning_content": "x is 1"},
    ]
    rows: list[dict[str, Any]] = [
        {"messages": turns, "terms": ["b"]},
        {"messages": turns, "terms": ["b"]},
        {"messages": tool_turns, "tools": [{"type": "function", "function": {"name": "f"}}]},
        {
            "messages": [
                {"role": "user", "content": "깨진?"},
                {"role": "assistant", "content": "안녕하세요".encode().decode("latin-1")},
            ]
        },
        {"messages": "nothing"},
    ]
    diagnosis = found(tmp_path, rows)
    out = tmp_path / "clean.jsonl"
    mended = fix_data(diagnosis, out)
    changes = (tmp_path / "clean_changes.log").read_text(encoding="utf-8").splitlines()
    assert mended.num_rows == 3 and mended.num_changes == len(changes) == 4
    for line, words in ((5, "not a list of turns"), (2, "occurs earlier"), (1, "left out"), (4, "wrong encoding")):
        assert any(f"line {line}" in change and words in change for change in changes), (line, changes)
    again = load_dataset(str(out))
    before = [conversation.turns for conversation in diagnosis.dataset.train]
    assert [conversation.turns for conversation in again.train][:2] == [before[0], before[2]]
    assert again.train[2].answer == "안녕하세요" and again.train[0].terms == ("b",) and again.num_changed == 0
    assert again.train[1].tools == diagnosis.dataset.train[2].tools
    with pytest.raises(SettingError, match="already exists"):
        fix_data(diagnosis, out)


def test_nothing_is_written_where_nothing_is_left(tmp_path: Path) -> None:
    diagnosis = found(tmp_path, [{"question": "a"}, {"question": "b"}, {"answer": "c", "question": ""}])
    assert diagnosis.reason is not None
    with pytest.raises(DataError):
        fix_data(diagnosis, tmp_path / "clean.jsonl")
    assert not (tmp_path / "clean.jsonl").exists()


def test_plain_text_reads_back_the_same(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_text("첫 문단입니다.\n둘째 줄.\n\n" * 80, encoding="utf-8")
    diagnosis, _ = inspect_data(Request(data=str(path)))
    fix_data(diagnosis, tmp_path / "book.jsonl")
    texts = [conversation.turns for conversation in read_all(str(tmp_path / "book.jsonl")).train]
    assert texts == list(dict.fromkeys(conversation.turns for conversation in diagnosis.dataset.train))


def test_private_data_is_masked_wherever_words_of_the_data_are_shown(tmp_path: Path) -> None:
    rows = [{"question": "연락처는 010-1234-5678 맞나요?", "answer": "hong.gildong@example.kr 입니다."}] * 3
    said = json.dumps(found(tmp_path, rows).to_json(), ensure_ascii=False)
    assert "gildong" not in said and "1234-5678" not in said and "01*-****-****" in said


def test_a_mended_folder_keeps_its_kinds_and_its_part_for_measuring_apart(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    written(folder, GOOD[:5], "pairs.jsonl")
    written(folder, [{"text": "이 약은 물과 함께 먹습니다."}], "texts.jsonl")
    written(folder, GOOD[5:8], "test.jsonl")
    written(folder, [{"prompt": "a", "completion": "b", "label": flag} for flag in (True, False)], "votes.jsonl")
    diagnosis, _ = inspect_data(Request(data=str(folder)))
    out = tmp_path / "clean"
    out.mkdir()
    mended = fix_data(diagnosis, out / "all.jsonl")
    assert [path.name for path in mended.paths] == ["all.jsonl", "all_texts.jsonl", "all_test.jsonl"] and mended.num_rows == 10
    again = read_all(str(out))
    assert (len(again.train), len(again.heldout), again.num_bad) == (7, 3, 0)
    assert "1 answers labelled as bad" in (out / "all_changes.log").read_text(encoding="utf-8")
    with pytest.raises(SettingError, match="JSONL"):
        fix_data(diagnosis, out / "all.csv")


def test_an_answer_that_is_only_read_stays_so_in_the_mended_copy(tmp_path: Path) -> None:
    turns = [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
    row = {"messages": [{"role": r, "content": c, **({"weight": 0} if c == "b" else {})} for r, c in turns]}
    fix_data(found(tmp_path, [row]), tmp_path / "clean.jsonl")
    (again,) = read_all(str(tmp_path / "clean.jsonl")).train
    assert [turn.is_trained for turn in again.turns] == [True, False, True, True]
