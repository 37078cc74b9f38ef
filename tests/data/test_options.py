"""Multiple choice: which columns hold options, which option an answer names, and that possible answers
survive all ways.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from nuguna.data.conversation_store import read_line, written_line
from nuguna.data.conversations.conversation import Conversation
from nuguna.data.conversations.shape import RowShape, find_shape
from nuguna.data.conversations.turns import to_conversation
from nuguna.data.dataset import read_all
from nuguna.data.doctor.mend import write_fixed
from nuguna.data.files.rows import BadRow, Row, Table
from nuguna.data.parallel import Chunk, Known, read_chunk
from nuguna.data.similar import content_key

FOUR = ["물", "불", "흙", "바람"]
ASKED = "무엇?\nA. 물\nB. 불\nC. 흙\nD. 바람"
Values = Mapping[str, Any]


def table(*rows: Values) -> Table:
    items = [Row(values, "f.jsonl", line) for line, values in enumerate(rows, 1)]
    return Table("f.jsonl", "jsonl", "utf-8", "", 0, lambda: iter(items))


def read(*rows: Values) -> tuple[RowShape, list[Conversation | BadRow]]:
    given = table(*rows)
    shape = find_shape(given)
    return shape, [to_conversation(item, shape) for item in given.items() if isinstance(item, Row)]


def answers(*rows: Values) -> list[str]:
    """Return the letter of each answer, and what is wrong with a row of which nothing can be made."""
    return [made.answer[0] if isinstance(made, Conversation) else str(made.problem) for made in read(*rows)[1]]


def listed(answer: object, **more: Any) -> dict[str, Any]:
    return {"question": "무엇?", "choices": FOUR, "answer": answer, **more}


def test_options_stand_below_the_question_and_the_answer_repeats_one() -> None:
    shape, (made,) = read({**listed(1), "subject": "x"})
    assert isinstance(made, Conversation) and shape.kind == "choices" and shape.name == "question+choices+answer"
    assert [(turn.role, turn.content) for turn in made.turns] == [("user", ASKED), ("assistant", "B. 불")]
    assert made.choices == ("A. 물", "B. 불", "C. 흙", "D. 바람")
    assert "not used: subject" in str(shape.notes[-1])


@pytest.mark.parametrize(
    ("given", "letters"),
    [
        ([0, 3], "AD"),  # a 0: counted from 0
        ([1, 4], "AD"),  # a 4 of four: counted from 1
        (["0", "3"], "AD"),  # as a CSV holds numbers
        ([1.0, 4.0], "AD"),  # as Excel does
        (["B", "d"], "BD"),
        (["(B)", "D."], "BD"),
        (["나", "라"], "BD"),
        (["②", "④"], "BD"),
        (["2번", "4번"], "BD"),
        (["불", " 바람 "], "BD"),
        (["B. 불", "4) 바람"], "BD"),
        (["C", "②", "물", "4번"], "CBAD"),  # all in one file
    ],
)
def test_an_answer_is_an_index_a_letter_a_korean_mark_or_the_text(given: list[object], letters: str) -> None:
    assert "".join(answers(*map(listed, given))) == letters


@pytest.mark.parametrize(
    "options",
    [
        FOUR,
        {"text": FOUR, "label": ["A", "B", "C", "D"]},
        [{"label": label, "text": text} for label, text in zip("ABCD", FOUR, strict=True)],
        dict(zip("ABCD", FOUR, strict=True)),
        json.dumps(FOUR, ensure_ascii=False),
        str(FOUR),  # as Python writes it
        "① 물 ② 불 ③ 흙 ④ 바람",
        "가. 물\n나. 불\n다. 흙\n라. 바람",
        "물\n불\n흙\n바람",
        ["A) 물", "B) 불", "C) 흙", "D) 바람"],
        [*FOUR, "", None],
    ],
    ids=str,
)
def test_options_are_read_from_lists_objects_and_texts(options: object) -> None:
    (made,) = read({"question": "무엇?", "보기": options, "정답": "B"})[1]
    assert isinstance(made, Conversation) and (made.turns[0].content, made.answer) == (ASKED, "B. 불")


@pytest.mark.parametrize(
    ("columns", "answer", "value"),
    [
        ("A B C D", "answer", 2),  # KMMLU
        ("opa opb opc opd", "cop", 1),  # MedMCQA
        ("ending0 ending1 ending2 ending3", "label", 1),  # SWAG
        ("option_a option_b option_c option_d", "answer", "B"),
        ("choice1 choice2 choice3 choice4", "answer", "2"),
        ("보기1 보기2 보기3 보기4", "정답", 2),
        ("① ② ③ ④", "정답", "②"),
        ("answerA answerB answerC answerD", "label", "2"),  # SIQA
    ],
)
def test_a_column_for_each_option(columns: str, answer: str, value: object) -> None:
    options = dict(zip(columns.split(), FOUR, strict=True))
    shape, (made,) = read({"question": "무엇?", **options, answer: value, "id": 7})
    assert isinstance(made, Conversation) and (made.turns[0].content, made.answer) == (ASKED, "B. 불")
    assert shape.columns == {"question", *options, answer}


def test_labels_of_the_hub_name_options_whatever_they_are() -> None:
    numbered = {"question": "무엇?", "choices": {"text": FOUR, "label": ["1", "2", "3", "4"]}, "answerKey": "2"}
    lettered = {"question": "무엇?", "choices": {"text": FOUR, "label": ["A", "B", "C", "D"]}, "answerKey": "D"}
    assert answers(numbered, lettered) == ["B", "D"]  # ARC has both in one column
    assert not read(numbered)[0].counts_by


def test_it_is_said_from_where_options_are_counted() -> None:
    def said(*rows: Values) -> str:
        return " ".join(str(note) for note in read(*rows)[0].notes)

    assert "answer counts the options from 0." in said(listed(0), listed(1))
    assert "answer counts the options from 1." in said(listed(4), listed(1))
    assert "assumed to count the options from 0; the first rows do not show it" in said(listed(2))
    printed = {"문제": "무엇?", "보기": FOUR, "정답": 2}
    assert "assumed to count the options from 1; the first rows do not show it" in said(printed)
    assert "count" not in said(listed("B"))


def test_a_table_that_does_not_tell_counts_as_the_others_of_its_dataset(tmp_path: Path) -> None:
    for name, numbers in (("train", [1, 2, 3, 4]), ("test", [2, 3])):
        lines = [json.dumps(listed(number, id=number), ensure_ascii=False) for number in numbers]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert [made.answer for made in read_all(str(tmp_path)).heldout] == ["B. 불", "C. 흙"]
    (tmp_path / "train.jsonl").write_text(json.dumps(listed(0)) + "\n")
    assert [made.answer for made in read_all(str(tmp_path)).heldout] == ["C. 흙", "D. 바람"]


@pytest.mark.parametrize("wrong", [4, "F", "⑤", "금", -1, ["B"], True])
def test_an_answer_that_names_no_option_is_a_broken_row(wrong: object) -> None:
    *_, made = read(listed(0), listed(3), listed("B"), listed(wrong))[1]
    assert isinstance(made, BadRow) and made.line == 4 and made.column == "answer"
    assert "does not match any of the 4 options" in str(made.problem) and "letter" in str(made.fix)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["물"], "fewer than two options"),
        ([], "fewer than two options"),
        (["물", "", "흙"], "one of the options is empty"),
        ([str(i) for i in range(27)], "more than 26 options"),
    ],
)
def test_options_that_are_none_are_a_broken_row(options: list[str], problem: str) -> None:
    *_, made = read(listed(0), listed(1), listed(0) | {"choices": options})[1]
    assert isinstance(made, BadRow) and problem in str(made.problem)


def test_numbers_that_are_the_options_are_no_places() -> None:
    rows: list[dict[str, Any]] = [
        {"question": "1+1", "choices": given, "answer": answer}
        for given, answer in (([3, 2, 5], 2), ([3, 2, 5], 5), ([9, 12], 9))
    ]
    assert answers(*rows) == ["B", "C", "A"]
    texts = [{**row, "choices": [str(option) for option in row["choices"]], "answer": str(row["answer"])} for row in rows]
    assert answers(*texts) == ["B", "C", "A"]


@pytest.mark.parametrize(
    "row",
    [
        {"question": "a", "answer": "a free answer", "choices": ["x", "y"]},
        {"question": "a", "answer": "a free answer", "choices": ["x", "y"], "label": 1},  # a label may be a subject
        {"question": "a", "answer": 7, "choices": ["x", "y"]},
        {"question": "a", "answer": "b", "options": {"temperature": "0.7", "seed": "1"}},
        {"question": "a", "answer": "b", "options": "none"},
        {"Q": "a", "A": "b", "B": "c"},
        {"question": "a", "answer": "free", "answer_1": "c", "answer_2": "d"},
    ],
)
def test_what_only_looks_like_it_is_read_as_before(row: Values) -> None:
    shape, (made,) = read(row)
    assert shape.kind == "pairs" and isinstance(made, Conversation) and made.choices == ()


def test_context_stands_above_and_system_before() -> None:
    (made,) = read({**listed("A"), "passage": "글이 있다.", "system": "짧게."})[1]
    assert isinstance(made, Conversation)
    assert [turn.content for turn in made.turns] == ["짧게.", f"글이 있다.\n\n{ASKED}", "A. 물"]


def test_choices_survive_the_shelf_and_old_lines_are_still_read() -> None:
    _, (made,) = read(listed("B"))
    assert isinstance(made, Conversation) and read_line(written_line(made)) == made
    plain = to_conversation(Row({"question": "a", "answer": "b"}, "f", 1), RowShape("pairs", "question", "answer"))
    assert isinstance(plain, Conversation) and len(json.loads(written_line(plain))) == 7
    assert read_line(written_line(plain)) == plain
    other = to_conversation(Row({"question": ASKED, "answer": "B. 불"}, "f", 1), RowShape("pairs", "question", "answer"))
    assert isinstance(other, Conversation) and content_key(other) != content_key(made)


def test_another_process_reads_the_same() -> None:
    rows = [listed(place) for place in (0, 3, 9)]
    shape, made = read(*rows)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    known = Known(RowShape.from_json(json.loads(json.dumps(shape.to_json()))), frozenset(rows[0]))
    assert known.shape == shape
    found = read_chunk(Chunk(text, "f.jsonl", 1), known)
    assert found is not None and [read_line(line) for line in found.lines.splitlines()] == made[:2]
    assert found.counts.bad_rows == made[2:]


def test_a_clean_copy_reads_back_the_same(tmp_path: Path) -> None:
    file, copy = tmp_path / "rows.jsonl", tmp_path / "clean.jsonl"
    rows = [*map(listed, ["A", "D"]), {**listed("C"), "question": "또 무엇?", "choices": [*FOUR, "쇠"]}]
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    dataset = read_all(str(file))
    write_fixed(dataset, copy, str)
    again = read_all(str(copy))
    assert again.shape == "messages" and not again.num_bad
    assert [(c.turns, c.choices) for c in again.train] == [(c.turns, c.choices) for c in dataset.train]
    assert again.content_keys == dataset.content_keys
    broken = json.loads(copy.read_text(encoding="utf-8").splitlines()[0])
    broken["choices"] = ["E. 쇠"]
    with copy.open("a", encoding="utf-8") as out:
        out.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in [{"messages": broken["messages"]}] * 100))
    longer = read_all(str(copy))
    assert (longer.num_bad, len(longer.train[2].choices), longer.train[-1].choices) == (0, 5, ())
    with copy.open("a", encoding="utf-8") as out:
        out.write(json.dumps(broken, ensure_ascii=False) + "\n")
    assert [str(row.problem) for row in read_all(str(copy)).bad_rows] == ["the answer is not one of those in choices"]
