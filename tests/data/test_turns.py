"""Rows of any accepted shape become conversations, or are named with what is wrong."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from nuguna.data.conversations.conversation import Conversation, Turn, as_message
from nuguna.data.conversations.shape import UnclearColumnsError, find_shape
from nuguna.data.conversations.turns import to_conversation
from nuguna.data.files.columns import split_columns
from nuguna.data.files.rows import BadRow, Row, Table, shown_cell
from nuguna.errors import DataError


def table(*rows: Mapping[str, Any]) -> Table:
    items = [Row(values, "f.csv", line) for line, values in enumerate(rows, 2)]
    return Table("f.csv", "csv", "utf-8", "", 0, lambda: iter(items))


def made(*rows: Mapping[str, Any], wish: Sequence[str] = ()) -> list[Conversation | BadRow]:
    given = table(*rows)
    shape = find_shape(given, wish)
    return [to_conversation(item, shape) for item in given.items() if isinstance(item, Row)]


def said(found: Conversation | BadRow) -> list[str]:
    assert isinstance(found, Conversation), str(found.problem)
    return [f"{turn.role} {turn.content}" for turn in found.turns]


@pytest.mark.parametrize(
    ("columns", "shape"),
    [
        (["id", "Question", "Answer"], "Question+Answer"),
        (["Q", "A", "label"], "Q+A"),
        (["질문", "답변"], "질문+답변"),
        (["질문", "답"], "질문+답"),
        (["질의", "응답"], "질의+응답"),
        (["문제", "정답"], "문제+정답"),
        (["지시", "입력", "출력"], "지시+입력+출력"),
        (["prompt", "response"], "prompt+response"),
        (["input", "output"], "input+output"),
        (["instruction", "input", "output"], "instruction+input+output"),
        (["system", "instruction", "input", "output"], "system+instruction+input+output"),
        (["instruction", "context", "response"], "instruction+context+response"),
        (["prompt", "chosen", "rejected"], "prompt+chosen"),
        (["text"], "text"),
        (["id", "text"], "text"),
        (["question", "Answers", "reply"], "question+reply"),
    ],
)
def test_the_shape_is_found_from_the_names_of_the_columns(columns: list[str], shape: str) -> None:
    row = {**dict.fromkeys(columns, "x"), "id": 7} if "id" in columns else dict.fromkeys(columns, "x")
    assert find_shape(table(row)).name == shape


def test_unclear_columns_are_shown_and_can_be_named() -> None:
    rows = ({"제목": "고혈압", "내용": "혈압이 높다", "나이": "3"}, {"제목": "당뇨", "내용": "혈당이 높다", "나이": "4"})
    with pytest.raises(UnclearColumnsError) as caught:
        made(*rows)
    assert "f.csv" in str(caught.value.what) and "나이, 내용, 제목" in str(caught.value.seen)
    assert "DATA_COLUMNS=" in str(caught.value.fix) and caught.value.columns["제목"] == "고혈압"
    assert said(made(*rows, wish=["제목", "내용"])[1]) == ["user 당뇨", "assistant 혈당이 높다"]
    assert said(made(*rows, wish=["내용"])[0]) == ["text 혈압이 높다"]
    with pytest.raises(DataError, match="no column 'x'"):
        made(*rows, wish=["x", "내용"])


@pytest.mark.parametrize(
    ("row", "turns"),
    [
        ({"Q": "a", "A": "b", "label": 0}, ["user a", "assistant b"]),
        ({"question": "2+2?", "answer": 4}, ["user 2+2?", "assistant 4"]),
        ({"Instruction": "Translate.", "Input": "간", "Output": "liver"}, ["user Translate.\n\n간", "assistant liver"]),
        ({"instruction": "a", "input": "", "output": "b"}, ["user a", "assistant b"]),
        ({"instruction": "a", "input": None, "output": "b"}, ["user a", "assistant b"]),
        ({"prompt": " a ", "completion": "b"}, ["user a", "assistant b"]),
        (
            {"instruction": "c", "output": "d", "history": [["a", "b"]], "system": "s"},
            ["system s", "user a", "assistant b", "user c", "assistant d"],
        ),
        (
            {"conversations": [{"from": "system", "value": "s"}, {"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
            ["system s", "user a", "assistant b"],
        ),
        ({"messages": '[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]'}, ["user a", "assistant b"]),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}, {"role": "assistant", "content": "b"}]},
            ["user a", "assistant b"],
        ),
        (
            {"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "b"}]},
            ["user a", "assistant b"],
        ),
        ({"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"}, ["user a", "assistant b"]),
        ({"text": "<s>[INST] a [/INST] b </s>"}, ["user a", "assistant b"]),
    ],
)
def test_shapes_of_rows(row: Mapping[str, Any], turns: list[str]) -> None:
    (found,) = made(row)
    assert said(found) == turns


def test_what_was_thought_and_what_was_called_is_kept() -> None:
    call = {"type": "function", "function": {"name": "dose", "arguments": {"kg": 20}}}
    turns = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "5 ml", "name": "dose"},
        {"role": "assistant", "content": "<think>\n20 kg\n</think>\n\n5 ml."},
    ]
    (found,) = made({"messages": turns, "tools": [{"type": "function", "function": {"name": "dose"}}]})
    assert isinstance(found, Conversation)
    assert '"dose"' in found.turns[1].tool_calls and '"dose"' in found.tools
    assert found.turns[2] == Turn("tool", "5 ml", name="dose")
    assert found.turns[3] == Turn("assistant", "5 ml.", reasoning="20 kg")
    sharegpt = [{"from": "human", "value": "a"}, {"from": "function_call", "value": '{"name": "f", "arguments": {}}'}]
    sharegpt += [{"from": "observation", "value": "1"}, {"from": "gpt", "value": "b"}]
    (found,) = made({"conversations": sharegpt})
    assert isinstance(found, Conversation) and [t.role for t in found.turns] == ["user", "assistant", "tool", "assistant"]


def test_turns_are_put_in_order_and_that_is_said() -> None:
    def conversation(*turns: tuple[str, str]) -> Mapping[str, Any]:
        return {"messages": [{"role": role, "content": content} for role, content in turns]}

    first, joined, ended = made(
        conversation(("assistant", "Hello!"), ("user", "a"), ("assistant", "b")),
        conversation(("user", "a"), ("user", "b"), ("assistant", "c"), ("assistant", "d")),
        conversation(("user", "a"), ("assistant", "b"), ("user", "c")),
    )
    assert said(first) == ["user a", "assistant b"]
    assert said(joined) == ["user a\n\nb", "assistant c\n\nd"]
    assert said(ended) == ["user a", "assistant b"]
    assert all(isinstance(found, Conversation) and found.changes for found in (first, joined, ended))


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ("text", "not a list of turns"),
        ([], "not a list of turns"),
        ([{"role": "robot", "content": "a"}], "has an unknown role: 'robot'"),
        ([{"role": "user", "content": "a"}], "no question with an answer"),
        ([{"role": "user", "content": {}}], "is an object where text"),
        ([{"role": "user", "content": " "}, {"role": "assistant", "content": "b"}], "of the user is empty"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "other than text"),
        (
            [{"role": "user", "content": "a"}, {"role": "system", "content": "s"}, {"role": "assistant", "content": "b"}],
            "system turn is not at",
        ),
        ([7], "not a list of turns"),
    ],
)
def test_wrong_messages_are_named(messages: Any, problem: str) -> None:
    good = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    _, bad = made(good, {"messages": messages})
    assert isinstance(bad, BadRow) and problem in str(bad.problem) and str(bad.fix) and bad.line == 3


@pytest.mark.parametrize(("value", "problem"), [("", "is empty"), ("  \n", "is empty"), (None, "is empty"), ([1], "is a list")])
def test_a_row_without_an_answer_is_named(value: Any, problem: str) -> None:
    good, bad = made({"question": "a", "answer": "b"}, {"question": "c", "answer": value})
    assert isinstance(good, Conversation)
    assert isinstance(bad, BadRow) and problem in str(bad.problem) and (bad.line, bad.column) == (3, "answer")
    (other,) = made({"question": "c", "answer": float("nan")})
    assert isinstance(other, BadRow)


def test_only_answers_labelled_good_are_trained_and_a_column_of_numbers_is_no_label() -> None:
    rows = [{"prompt": "a", "completion": "b", "label": label} for label in (True, False)]
    good, bad = made(*rows)
    assert isinstance(good, Conversation) and isinstance(bad, BadRow) and bad.is_unwanted
    by_number = made(*({**row, "label": number} for row, number in zip(rows, (1, 0), strict=True)))
    assert isinstance(by_number[0], Conversation) and isinstance(by_number[1], BadRow)
    kinds = made(*({"Q": "a", "A": "b", "label": number} for number in (0, 1, 2)))
    assert all(isinstance(found, Conversation) for found in kinds)
    assert all(isinstance(found, Conversation) for found in made(*({**row, "label": 2} for row in rows)))


def test_an_answer_that_says_it_is_not_to_be_learned_is_only_read() -> None:
    turns = [("user", "a", {}), ("assistant", "b", {"weight": 0}), ("user", "c", {}), ("assistant", "d", {"weight": 1})]
    rows = [{"role": role, "content": content, **more} for role, content, more in turns]
    (found,) = made({"messages": rows})
    assert isinstance(found, Conversation) and [turn.is_trained for turn in found.turns] == [True, False, True, True]
    (found,) = made({"messages": [*rows, {"role": "user", "content": "e"}, {"role": "assistant", "content": "f", "loss": False}]})
    assert isinstance(found, Conversation) and found.answer == "d" and "was left out" in str(found.changes[0])
    (found,) = made({"messages": rows[:2]})
    assert isinstance(found, BadRow) and found.is_unwanted


def test_calls_are_understood_in_all_ways_that_people_write_them() -> None:
    function = {"name": "dose", "parameters": {"type": "object", "properties": {}}}
    old = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": None, "function_call": {"name": "dose", "arguments": '{"kg": 20}'}},
        {"role": "function", "name": "dose", "content": "5 ml"},
        {"role": "assistant", "content": "5 ml."},
    ]
    (found,) = made({"messages": old, "functions": [function]})
    assert isinstance(found, Conversation) and json.loads(found.tools) == [{"type": "function", "function": function}]
    assert json.loads(found.turns[1].tool_calls) == [{"type": "function", "function": {"name": "dose", "arguments": {"kg": 20}}}]
    call = {"id": "call_1234", "type": "function", "function": {"name": "dose", "arguments": "{}"}}
    new = [old[0], {"role": "assistant", "content": "", "tool_calls": [call]}]
    new += [{"role": "tool", "tool_call_id": "call_1234", "content": "5 ml"}, old[3]]
    (found,) = made({"messages": new})
    assert isinstance(found, Conversation) and (found.turns[2].call_id, found.turns[2].name) == ("call_1234", "dose")
    assert (
        as_message(found.turns[2])["tool_call_id"] == "call_1234"
        and json.loads(found.turns[1].tool_calls)[0]["id"] == "call_1234"
    )


def test_columns_that_are_not_used_are_named() -> None:
    shape = find_shape(table({"question": "a", "answer": 2, "sources": ["x", "y"], "subject": "z", "terms": ["t"]}))
    assert "sources, subject" in str(shape.notes[-1]) and not find_shape(table({"question": "a", "answer": "b"})).notes


def test_of_two_answers_the_one_to_be_learned_stays_whole() -> None:
    good, bad = ({"role": "assistant", "content": "good"}, {"role": "assistant", "content": "bad", "weight": "0"})
    for turns in ([good, bad], [bad, good]):
        (found,) = made({"messages": [{"role": "user", "content": "a"}, *turns]})
        assert said(found) == ["user a", "assistant good"]


def test_a_call_as_a_turn_is_a_call_whatever_names_its_role() -> None:
    call = {"role": "tool_call", "content": '{"name": "clock", "arguments": {}}'}
    result, answer = ({"role": "tool_response", "content": "noon"}, {"role": "assistant", "content": "It is noon."})
    (found,) = made({"messages": [{"role": "user", "content": "Time?"}, call, result, answer]})
    assert isinstance(found, Conversation) and json.loads(found.turns[1].tool_calls)[0]["function"]["name"] == "clock"


def test_naming_the_two_columns_keeps_what_belongs_to_them() -> None:
    (found,) = made({"instruction": "번역하세요", "input": "간", "output": "liver"}, wish=["instruction", "output"])
    assert said(found) == ["user 번역하세요\n\n간", "assistant liver"]


def test_columns_whose_names_hold_a_comma_can_be_named() -> None:
    rows = {"질문, 고객": "고혈압이 뭐예요?", "말, 상담": "혈압이 높은 병이에요.", "순": "1"}
    with pytest.raises(UnclearColumnsError) as caught:
        made(rows)
    (setting,) = shlex.split(str(caught.value.fix).partition("DATA_COLUMNS=")[2].partition(" (")[0])
    assert split_columns(setting) == ["질문, 고객", "말, 상담"]


@pytest.mark.parametrize("columns", [("FAQ 질문", "FAQ 답변"), ("고객 질문", "상담 답변"), ("Question", "Answers")])
def test_names_with_a_word_before_them_are_likely(columns: tuple[str, str]) -> None:
    shape = find_shape(table(dict.fromkeys(columns, "x")))
    assert (shape.question, shape.answer, shape.is_certain) == (*columns, False)


def test_private_data_is_masked_before_it_is_cut() -> None:
    row = {"question": "환자 이름과 연락처를 알려 주세요. 지금 바로 전화하려고 합니다 010-1234-5678 로 할게요", "answer": None}
    (found,) = made({"question": "a", "answer": "b"}, row)[1:]
    assert isinstance(found, BadRow)
    assert "1234-56" not in shown_cell(row["question"]) and "minsu" not in shown_cell("x" * 40 + " minsu.kim@naver.com")
    with pytest.raises(UnclearColumnsError) as caught:
        made({"010-1234-5670": "x", "minsu0@naver.com": "y"})
    assert "1234-5670" not in str(caught.value) and "minsu0" not in str(caught.value)
