"""Files as people have them: formats, encodings, broken lines with the place where they stand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nuguna.data.dataset import BadRowsError, describe, load_dataset, read_all
from nuguna.data.files import sheets, text
from nuguna.data.files import tables as table_rows
from nuguna.data.files.read import open_dataset, open_table
from nuguna.data.files.rows import BadRow, Row
from nuguna.errors import DataError

SHARED = Path(__file__).parents[3] / "shared" / "data"


def written(folder: Path, name: str, content: str | bytes) -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def rows_of(path: Path) -> tuple[list[Row], list[BadRow]]:
    items = list(open_table(path).items())
    return [item for item in items if isinstance(item, Row)], [item for item in items if isinstance(item, BadRow)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"question": "가?", "answer": "나, 다"}\n\n{"question": "b?", "answer": "c"}\n'),
        ("a.json", '[{"question": "가?", "answer": "나, 다"}, {"question": "b?", "answer": "c"}]'),
        ("a.json", '{"data": [{"question": "가?", "answer": "나, 다"}, {"question": "b?", "answer": "c"}]}'),
        ("a.csv", 'question,answer\n가?,"나, 다"\nb?,c\n'),
        ("a.tsv", "question\tanswer\r\n가?\t나, 다\r\n\r\nb?\tc\r\n"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp949"])
def test_every_format_in_every_encoding_gives_the_same_rows(name: str, content: str, encoding: str, tmp_path: Path) -> None:
    rows, bad = rows_of(written(tmp_path, name, content.encode(encoding)))
    assert [dict(row.values) for row in rows] == [{"question": "가?", "answer": "나, 다"}, {"question": "b?", "answer": "c"}]
    assert not bad


def test_rows_know_their_line_even_after_answers_over_several_lines(tmp_path: Path) -> None:
    rows, bad = rows_of(written(tmp_path, "a.csv", 'question,answer\na,"one\ntwo, three"\nb,c\nonly one\nd,e\n'))
    assert [(row.values["question"], row.line) for row in rows] == [("a", 2), ("b", 4), ("d", 6)]
    assert [(row.line, "1 columns" in str(row.problem), row.value) for row in bad] == [(5, True, "only one")]


def test_unusual_line_signs_inside_a_text_do_not_end_a_row(tmp_path: Path) -> None:
    answer = "one\u2028two\x85three\x0cfour"
    rows, _ = rows_of(
        written(tmp_path, "a.jsonl", f'{{"question": "a", "answer": "{answer[:9]}"}}\n{{"question": "b", "answer": "c"}}')
    )
    assert [(row.line, row.values["answer"]) for row in rows] == [(1, answer[:9]), (2, "c")]


def test_broken_lines_are_named_and_the_others_used(tmp_path: Path) -> None:
    broken = ["{broken", "[1]", "[" * 100_000, "1" * 5000, '{"a": "\\ud800"}', '{"a": "\x01"}']
    lines = ['{"question": "a", "answer": "b"}', *broken, '{"question": "c", "answer": "d"}']
    rows, bad = rows_of(written(tmp_path, "a.jsonl", "\n".join(lines)))
    assert [row.line for row in rows] == [1, 8]
    assert [row.line for row in bad] == [2, 3, 4, 5, 6, 7]
    assert all(str(row.problem) and str(row.fix) and row.value for row in bad)


@pytest.mark.parametrize(
    ("content", "lines", "bad"),
    [
        ('[{"a": 1}, {"a": "x\\ny"},\n\n  {"a": [[2],\n3]},\n7, {"a": 4}]\n', [1, 1, 3, 5], [5]),
        ('\n{"version": [1], "data":\n[\n{"a": 1},\n[{"a": 2}]]}', [4], [5]),  # the first list of objects is the table
        ('{"name": {"data": [0]},\n"data":\n[\n{"a": 1}\n,{"a": 2}] , "more": []}', [4, 5], []),
        ('{"data": 1,\n"data": [\n{"a": 1}]}', [3], []),
        ('\n\n{"messages": [{"role": "user"}]}', [3], []),  # one conversation, not a table of turns
        ('[{"a": 1}, "text"]', [1], [1]),
        ('[\n{"a": 1},\n{"a": 2},\n]', [2, 3], []),  # a comma too many
        ('[\n{"a": 1},\n{"a": bad},\n{"a": 3}]', [2, 4], [3]),
        ('[\n{"a": 1},\n{"a": ', [2], [3]),  # cut off within an entry
        ('{"data": [\n{"a": 1},\n{"a": 2}', [2, 3], [3]),
        ('{"a": ["x", "y"], "b": ["z", "w"]}', [1, 1], []),  # columns
        ('{"0": {"a": 1}, "1": {"a": 2}}', [1, 1], []),
    ],
)
def test_entries_of_a_json_file_know_their_line(content: str, lines: list[int], bad: list[int], tmp_path: Path) -> None:
    rows, broken = rows_of(written(tmp_path, "a.json", content))
    assert ([row.line for row in rows], [row.line for row in broken]) == (lines, bad)


def test_names_of_columns_are_trimmed_and_a_field_without_end_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_rows, "MAX_FIELD_CHARS", 50)
    rows, bad = rows_of(written(tmp_path, "a.csv", f' question ,"answer "\na,"{"b" * 60}"\nc,d\n'))
    assert [(dict(row.values), row.line) for row in rows] == [({"question": "c", "answer": "d"}, 3)]
    assert [(row.line, "field" in str(row.problem)) for row in bad] == [(2, True)]


def test_a_line_without_end_costs_no_more_than_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "MAX_LINE_BYTES", 100)
    monkeypatch.setattr("nuguna.data.files.json_rows.MAX_LINE_BYTES", 100)
    good = '{"question": "a", "answer": "b"}'
    rows, bad = rows_of(written(tmp_path, "a.jsonl", "\n".join([good, '{"question": "' + "x" * 1000 + '"}', good])))
    assert [row.line for row in rows] == [1, 3]
    assert [(row.line, "longer than" in str(row.problem)) for row in bad] == [(2, True)]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.jsonl", "", "nothing to train on"),
        ("empty.json", " ", "nothing to train on"),
        ("header.csv", "question,answer\n", "nothing to train on"),
        ("scalar.json", '"text"', ": text where"),
        ("broken.json", "[{", "line 1"),
        ("table.xlsx", "PK\x03\x04", "damaged"),
        ("table.parquet", "PAR1", "damaged"),
        ("table.docx", "x", ".docx"),
        ("bytes.csv", b"\xff\x00\x81\x81\xff", "encoding"),
        ("columns.csv", "name,age\nKim,3\n", "age, name"),
        ("blank.csv", "question,answer\na,\n,b\n", "answer is empty"),
    ],
)
def test_a_file_without_anything_to_learn_is_refused_with_what_was_seen(
    name: str, content: str | bytes, said: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as caught:
        load_dataset(str(written(tmp_path, name, content)))
    assert said in str(caught.value)
    assert str(caught.value.fix)


def test_a_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    written(tmp_path, "pairs.csv", "question,answer\na,b\n")
    with pytest.raises(DataError) as caught:
        open_dataset(str(tmp_path / "pair.csv"))
    assert "pairs.csv" in str(caught.value.fix)
    for source in ("x" * 5000, "~nobody-of-this-name/pairs.csv"):
        with pytest.raises(DataError, match="There is no dataset file"):
            open_dataset(source)


def test_up_to_one_row_in_a_hundred_may_be_broken(tmp_path: Path) -> None:
    good = [f'{{"question": "{i}?", "answer": "{i}"}}' for i in range(99)]
    dataset = load_dataset(str(written(tmp_path, "a.jsonl", "\n".join([*good, "{"]))))
    assert (len(dataset.train), dataset.num_rows, dataset.num_bad) == (99, 100, 1)
    path = written(tmp_path, "b.jsonl", "\n".join([*good, "{", '{"question": "x", "answer": null}']))
    with pytest.raises(BadRowsError) as caught:
        load_dataset(str(path))
    assert "2 of 101 rows" in str(caught.value.what)
    assert str(caught.value.seen).splitlines()[1] == "b.jsonl, line 101: answer is empty. Fill it in or delete the row."
    assert "--fix" in str(caught.value.fix)
    assert len(read_all(str(path)).train) == 99


def test_a_folder_is_read_as_one_and_parts_for_measuring_are_known_by_name(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    written(tmp_path, "train_1.jsonl", '{"question": "a", "answer": "b"}')
    written(tmp_path / "more", "pairs.csv", "Q,A\nc,d\n")
    written(tmp_path, "test.jsonl", '{"question": "e", "answer": "f"}')
    written(tmp_path, "latest.jsonl", '{"question": "g", "answer": "h"}')  # no test, although it ends so
    written(tmp_path, "README.md", "what this is")
    dataset = load_dataset(str(tmp_path))
    assert sorted(c.answer for c in dataset.train) == ["b", "d", "h"]
    assert [c.answer for c in dataset.heldout] == ["f"]
    assert dataset.shape == "question+answer, Q+A" or dataset.shape == "Q+A, question+answer"
    assert {"3 files" in str(note) for note in dataset.notes} == {True, False}
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="contains no dataset"):
        load_dataset(str(tmp_path / "empty"))


def test_the_medical_set_brings_its_own_held_out_parts() -> None:
    dataset = load_dataset("demo")
    facts = describe(dataset)
    assert (len(dataset.train), len(dataset.heldout), len(dataset.unseen)) == (4088, 2044, 224)
    assert facts.has_korean and facts.num_heldout == 2044 and facts.max_chars < 400
    assert all(c.terms for c in dataset.heldout)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "count", "korean"), [("medquad_cancer_ninds.csv", 1817, False), ("chatbot_ko.csv", 11823, True)]
)
def test_real_files(name: str, count: int, korean: bool) -> None:
    if not (SHARED / name).is_file():
        pytest.skip("the real datasets are not beside the project")
    dataset = load_dataset(str(SHARED / name))
    assert len(dataset.train) == dataset.num_rows == count and not dataset.bad_rows
    assert describe(dataset).has_korean == korean


def test_a_json_file_in_one_long_line_is_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "MAX_LINE_BYTES", 200)
    rows = ", ".join(f'{{"question": "{i}?", "answer": "{i}"}}' for i in range(50))
    assert len(load_dataset(str(written(tmp_path, "a.json", f"[{rows}]"))).train) == 50


def test_columns_that_begin_further_down_are_told(tmp_path: Path) -> None:
    late = '{"question": "x", "answer": "y", "colour": "z"}'
    rows = [f'{{"question": "{i}?", "answer": "{i}"}}' for i in range(150)] + [late] * 2
    notes = [str(note) for note in load_dataset(str(written(tmp_path, "a.jsonl", "\n".join(rows)))).notes]
    assert notes == ["From line 151 of a.jsonl onwards there are other columns, which are not used: colour"]


def test_the_broken_rows_of_a_part_for_measuring_are_told(tmp_path: Path) -> None:
    written(tmp_path, "train.jsonl", '{"question": "a", "answer": "b"}')
    written(tmp_path, "test.jsonl", '{"question": "c", "answer": "d"}\n{broken')
    assert any("1 broken rows of the part used for measuring" in str(note) for note in load_dataset(str(tmp_path)).notes)


def test_what_a_folder_holds_beside_its_data_is_named(tmp_path: Path) -> None:
    written(tmp_path, "rows.csv", "question,answer\na,b\n")
    for name in ("notes.txt", "picture.png", "README.md", ".hidden"):
        written(tmp_path, name, "x")
    (tmp_path / "again.csv").symlink_to(tmp_path / "rows.csv")
    (tmp_path / "closed").mkdir(mode=0o000)
    tables = open_dataset(str(tmp_path))
    said = " ".join(map(str, tables.notes))
    assert [table.name for table in tables.train] == ["rows.csv"]
    assert "notes.txt" in said and "picture.png" in said and "README" not in said and "hidden" not in said
    assert "closed" in said or os.geteuid() == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no such files")
def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(DataError, match="neither a file nor a folder"):
        open_dataset(str(tmp_path / "pipe.jsonl"))
    written(tmp_path, "rows.csv", "question,answer\na,b\n")
    assert len(open_dataset(str(tmp_path)).train) == 1


@pytest.mark.parametrize(
    ("first", "is_row"),
    [
        ("천식은 어떤 병인가요?,기도에 생기는 병입니다.", True),
        ("1,What is asthma?,It is a disease of the airways.", True),
        ("질문,답변", False),
        ("타임스탬프,증상이 무엇인가요?", False),  # of a form that people filled in
        ("0,1", False),  # as pandas names columns
        ("question (required),answer", False),
        ("궁금한 점을 자세히 적어 주세요.,답변을 적어 주세요.", False),
        ("What is your question?,How should we answer?", False),
    ],
)
def test_a_first_line_that_is_an_example_is_not_lost(first: str, is_row: bool, tmp_path: Path) -> None:
    width = first.count(",") + 1
    path = written(tmp_path, "a.csv", f"{first}\n" + ",".join(["네 그렇습니다."] * width) + "\n")
    rows, _ = rows_of(path)
    assert len(rows) == (2 if is_row else 1) and ("column 1" in rows[0].values) == is_row
    assert any("looks like an example" in str(note) for note in open_table(path).notes) == is_row


@pytest.mark.parametrize(
    ("name", "is_apart"),
    [
        *((name, True) for name in ("test.csv", "my_test.csv", "test-00000-of-00002.csv", "validation/a.csv", "dev_small.csv")),
        *((name, True) for name in ("검증.csv", "테스트_데이터.csv")),
        *((name, False) for name in ("sat_test_prep.csv", "covid-test-faq.csv", "latest.csv", "고객평가모음.csv")),
        ("test_results.csv", False),
    ],
)
def test_a_name_says_that_a_file_is_kept_for_measuring_or_only_seems_to(name: str, is_apart: bool, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    for file in (name, "rows.csv"):
        written(tmp_path, file, "question,answer\na,b\n")
    assert len(open_dataset(str(tmp_path)).heldout) == is_apart


def test_a_title_above_a_sheet_is_no_header() -> None:
    cells = [["2024년 고객 문의 목록", "", ""], ["", "", ""], ["번호", "질문", "답변"], ["1", "뭐예요?", "약이에요."]]
    rows, title = table_rows.without_title(cells)
    (row,) = sheets.parse_cells(rows, "f.xlsx")
    assert title == "2024년 고객 문의 목록" and isinstance(row, Row) and row.values["답변"] == "약이에요." and row.line == 4


@pytest.mark.parametrize(
    ("title", "read"),
    [("우리 병원 FAQ\n", 2), ("우리 병원 FAQ,,\n\n", 2), ("\ufeff약 목록\r\n", 2), ("text\n", 3), ("질문, 답변 모음\n", 3)],
)
def test_a_title_above_a_table_of_text_is_no_header(title: str, read: int, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"{title}질문,답변\n천식이 뭐예요?,병이에요.\n위험한가요?,그래요.\n", encoding="utf-8")
    table = open_table(path, "rows.csv")
    assert len(list(table.items())) == read
    assert any("is taken as a title" in str(note) for note in table.notes) == (read == 2)


def test_a_column_of_turns_may_have_any_name(tmp_path: Path) -> None:
    turns = '[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]'
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"log": {turns}, "old": {turns}, "system": "s"}}\n', encoding="utf-8")
    with pytest.raises(DataError, match="not clear"):
        load_dataset(str(path))
    dataset = load_dataset(str(path), ["log"])
    assert [turn.role for turn in dataset.train[0].turns] == ["system", "user", "assistant"]


def test_a_refusal_says_what_can_still_be_done(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"question": "a", "answer": null}\n', encoding="utf-8")
    with pytest.raises(BadRowsError, match="See what is in the file") as none:
        load_dataset(str(path))
    assert "--fix" not in str(none.value)
    path.write_text('{"question": "a", "answer": null}\n{"question": "a", "answer": "b"}\n', encoding="utf-8")
    with pytest.raises(BadRowsError, match="--fix clean.jsonl"):
        load_dataset(str(path))
