"""Rows of any accepted shape become conversations; `test_read` has the shapes, here is what they must not be mistaken for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from nuguna.data.conversation import Conversation, Dataset, Turn, describe, find_shape, to_conversations
from nuguna.data.read import Row, Table
from nuguna.errors import DataError


def table(*rows: Mapping[str, Any]) -> Table:
    return Table("f.csv", "csv", "utf-8", tuple(Row(values, "f.csv", line) for line, values in enumerate(rows, 2)))


@pytest.mark.parametrize(
    ("columns", "shape"),
    [
        (["id", "Question", "Answer"], "Question+Answer"),
        (["Q", "A", "label"], "Q+A"),
        (["질문", "답변"], "질문+답변"),
        (["질문", "답"], "질문+답"),
        (["prompt", "response"], "prompt+response"),
        (["input", "output"], "input+output"),
        (["instruction", "input", "output"], "instruction+output"),
        (["question", "answer", "messages"], "messages"),
    ],
)
def test_the_shape_is_found_from_the_names_of_the_columns(columns: list[str], shape: str) -> None:
    assert find_shape(table(dict.fromkeys(columns, "x"))) == shape


def test_unclear_columns_are_shown() -> None:
    with pytest.raises(DataError) as caught:
        find_shape(table({"Name": "Kim"}, {"나이": "3"}))
    assert "f.csv" in str(caught.value.what)
    assert "Name, 나이" in str(caught.value.seen)


def test_the_input_of_an_instruction_is_part_of_the_question_however_it_is_spelt() -> None:
    (made,) = to_conversations(table({"Instruction": "Translate.", "Input": "간", "Output": "liver"}))[1]
    assert made.turns == (Turn("user", "Translate.\n\n간"), Turn("assistant", "liver"))
    assert (made.prompt, made.answer) == (made.turns[:1], "liver")


@pytest.mark.parametrize("empty", ["", "  \n", None, 7])
def test_a_row_without_an_answer_is_left_out_and_named(empty: Any) -> None:
    _, good, bad = to_conversations(table({"question": "a", "answer": "b"}, {"question": "c", "answer": empty}))
    assert len(good) == 1
    assert [(row.line, str(row.problem)) for row in bad] == [(3, "answer is empty")]


def test_the_facts_count_the_characters_of_all_turns_of_the_trained_part() -> None:
    def asked(*contents: str) -> Conversation:
        return Conversation(tuple(Turn("user", content) for content in contents), "f", 1)

    dataset = Dataset("f", "messages", (asked("abc", "d"), asked("한글")), (asked("x" * 99),), (), ())
    facts = describe(dataset)
    assert (facts.source, facts.num_examples, facts.num_heldout) == ("f", 2, 1)
    assert (facts.mean_chars, facts.max_chars, facts.has_korean) == (3.0, 4, True)
