"""Files as people have them: formats, encodings, broken lines with the place where they stand."""

from __future__ import annotations

from pathlib import Path

import pytest

import nuguna.data.read as reading
from nuguna.data.conversation import describe, load_dataset, to_conversations
from nuguna.data.read import open_dataset, read_file
from nuguna.errors import DataError

SHARED = Path(__file__).parents[2] / "shared" / "data"


def written(folder: Path, name: str, content: str | bytes) -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


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
    table = read_file(written(tmp_path, name, content.encode(encoding)))
    assert [dict(row.values) for row in table.rows] == [
        {"question": "가?", "answer": "나, 다"},
        {"question": "b?", "answer": "c"},
    ]
    assert not table.bad_rows


def test_rows_know_their_line_even_after_answers_over_several_lines(tmp_path: Path) -> None:
    table = read_file(written(tmp_path, "a.csv", 'question,answer\na,"one\ntwo, three"\nb,c\nonly one\nd,e\n'))
    assert [(row.values["question"], row.line) for row in table.rows] == [("a", 2), ("b", 4), ("d", 6)]
    assert [(bad.line, "1 columns" in str(bad.problem)) for bad in table.bad_rows] == [(5, True)]


def test_unusual_line_signs_inside_a_text_do_not_end_a_row(tmp_path: Path) -> None:
    answer = "one\u2028two\x85three\x0cfour"
    table = read_file(
        written(tmp_path, "a.jsonl", f'{{"question": "a", "answer": "{answer[:9]}"}}\n{{"question": "b", "answer": "c"}}')
    )
    assert [(row.line, row.values["answer"]) for row in table.rows] == [(1, answer[:9]), (2, "c")]


def test_broken_lines_are_named_and_the_others_used(tmp_path: Path) -> None:
    bad = ["{broken", "[1]", "[" * 100_000, "1" * 5000, '{"a": "\\ud800"}', '{"a": "\0"}']
    lines = ['{"question": "a", "answer": "b"}', *bad, '{"question": "c", "answer": "d"}']
    table = read_file(written(tmp_path, "a.jsonl", "\n".join(lines)))
    assert [row.line for row in table.rows] == [1, 8]
    assert [bad.line for bad in table.bad_rows] == [2, 3, 4, 5, 6, 7]
    assert all(str(bad.problem) and str(bad.fix) for bad in table.bad_rows)


@pytest.mark.parametrize(
    ("text", "lines", "bad"),
    [
        ('[{"a": 1}, {"a": "x\\ny"},\n\n  {"a": [[2],\n3]},\n7, {"a": 4}]\n', [1, 1, 3, 5], [5]),
        ('\n{"version": [1], "data":\n[\n{"a": 1},\n[{"a": 2}]]}', [], [2]),  # the first list is the table
        ('{"name": {"data": [0]},\n"data":\n[\n{"a": 1}\n,{"a": 2}] , "more": []}', [4, 5], []),
        ('{"data": 1,\n"data": [\n{"a": 1}]}', [3], []),
        ('\n\n{"messages": [{"role": "user"}]}', [3], []),  # one conversation, not a table of turns
        ('[{"a": 1}, "text"]', [1], [1]),
    ],
)
def test_entries_of_a_json_file_know_their_line(text: str, lines: list[int], bad: list[int], tmp_path: Path) -> None:
    file = written(tmp_path, "a.json", text)
    if lines:
        table = read_file(file)
        assert ([row.line for row in table.rows], [row.line for row in table.bad_rows]) == (lines, bad)
    else:
        with pytest.raises(DataError, match=f"Line {bad[0]}: a JSON int"):
            read_file(file)


def test_names_of_columns_are_trimmed_and_a_field_without_end_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_MAX_FIELD_CHARS", 50)
    table = read_file(written(tmp_path, "a.csv", f' question ,"answer "\na,"{"b" * 60}"\nc,d\n'))
    assert [(dict(row.values), row.line) for row in table.rows] == [({"question": "c", "answer": "d"}, 3)]
    assert [(bad.line, "field" in str(bad.problem)) for bad in table.bad_rows] == [(2, True)]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.jsonl", "", "empty"),
        ("empty.json", " ", "Line 1"),
        ("header.csv", "question,answer\n", "no rows"),
        ("scalar.json", '"text"', "a JSON str"),
        ("half.csv", b"\xff\xfea", "encoding"),
        ("broken.json", "[{", "Line 1"),
        ("table.xlsx", "PK", ".xlsx"),
        ("bytes.csv", b"\xff\x00\x81\x81\xff", "encoding"),
        ("columns.csv", "name,age\nKim,3\n", "age, name"),
        ("blank.csv", "question,answer\na,\n,b\n", "answer is empty"),
    ],
)
def test_a_file_without_anything_to_learn_is_refused_with_what_was_seen(
    name: str, content: str | bytes, said: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as caught:
        to_conversations(read_file(written(tmp_path, name, content)))
    assert said in str(caught.value)
    assert str(caught.value.fix)


def test_a_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    written(tmp_path, "pairs.csv", "question,answer\na,b\n")
    with pytest.raises(DataError) as caught:
        open_dataset(str(tmp_path / "pair.csv"))
    assert "pairs.csv" in str(caught.value.fix)
    for source in ("x" * 5000, "~nobody-of-this-name/pairs.csv", str(tmp_path)):
        with pytest.raises(DataError, match="There is no dataset file"):
            open_dataset(source)


@pytest.mark.parametrize(
    ("row", "turns"),
    [
        ('{"Q": "a", "A": "b", "label": 0}', ["user a", "assistant b"]),
        ('{"질문": "가", "답변": "나"}', ["user 가", "assistant 나"]),
        ('{"instruction": "a", "input": "x", "output": "b"}', ["user a\n\nx", "assistant b"]),
        ('{"instruction": "a", "input": "", "output": "b"}', ["user a", "assistant b"]),
        ('{"prompt": " a ", "completion": "b"}', ["user a", "assistant b"]),
        (
            '{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "a"},'
            ' {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]}',
            ["system s", "user a", "assistant b"],  # a question without an answer teaches nothing
        ),
    ],
)
def test_shapes_of_rows(row: str, turns: list[str], tmp_path: Path) -> None:
    _, conversations, bad = to_conversations(read_file(written(tmp_path, "a.jsonl", row)))
    assert [f"{t.role} {t.content}" for t in conversations[0].turns] == turns
    assert not bad


@pytest.mark.parametrize(
    "messages",
    [
        '"text"',
        "[]",
        '[{"role": "robot", "content": "a"}]',
        '[{"role": "user", "content": "a"}]',
        '[{"role": "user", "content": 3}]',
        "[7]",
    ],
)
def test_wrong_messages_are_left_out_with_a_reason(messages: str, tmp_path: Path) -> None:
    good = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}'
    _, conversations, bad = to_conversations(read_file(written(tmp_path, "a.jsonl", f'{good}\n{{"messages": {messages}}}')))
    assert len(conversations) == 1
    assert bad[0].line == 2 and str(bad[0].problem)


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
    assert len(dataset.train) == count and not dataset.bad_rows
    assert describe(dataset).has_korean == korean
