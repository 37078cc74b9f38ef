"""One row of a known shape → a conversation, or the reason why not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ...message import Message, say
from ..files.columns import CONTENT_KEYS, ROLE_KEYS
from ..files.json_list import load_json
from ..files.rows import BadRow, Row, kind_of, shown_cell
from .calls import CALL_KEYS, INVISIBLE, Unusable, as_json, is_only_read, parse_call, role_of, text_of
from .conversation import ROLES, TEXT, Conversation, Turn, answer_turn
from .options import Option, lettered, options_of, place_of
from .shape import RowShape, turns_of
from .templated import parse_turns


def to_conversation(row: Row, shape: RowShape) -> Conversation | BadRow:
    """Return what one row teaches. What had to be changed for it stands in `changes`."""
    changes: list[Message] = []
    try:
        turns = _KINDS[shape.kind](row, shape)
        turns = _in_order(turns, changes) if shape.kind != "text" else turns
        tools = as_json(row.values.get(shape.tools), shape.tools) if shape.tools else ""
        choices = _possible(row, shape, turns[-1].content) if shape.options else ()
    except Unusable as found:
        return BadRow(
            row.file, row.line, found.problem, found.fix, found.column, found.value, found.is_unwanted
        )
    terms, lang = _texts(row.values.get("terms")), str(row.values.get("lang") or "")
    return Conversation(tuple(turns), row.file, row.line, terms, lang, tools, choices, tuple(changes))


def _texts(value: object) -> tuple[str, ...]:
    return (
        tuple(str(item) for item in value)
        if isinstance(value, Iterable) and not isinstance(value, (str, Mapping))
        else ()
    )


def _cell(row: Row, column: str, *, may_be_empty: bool = False) -> str:
    """Return the text of a cell. Raises `Unusable` for an empty one, unless it may be, and for what is no
    text.
    """
    value = row.values.get(column)
    # a number, a truth value; not NaN, which is how pandas says "nothing"
    if isinstance(value, (int, float)) and value == value:
        return str(value)
    if isinstance(value, str) and (value.strip(INVISIBLE) or may_be_empty):
        return text_of(value, column)
    if value is None or isinstance(value, (str, float)):
        if may_be_empty:
            return ""
        empty = (
            say("{column} is empty", column=column)
            if column in row.values
            else say("{column} is missing", column=column)
        )
        raise Unusable(empty, say("Fill it in or delete the row."), column)
    problem = say("{column} is {kind} where text was expected", column=column, kind=kind_of(value))
    raise Unusable(problem, say("Write it as a single text."), column, value)


def _pairs(row: Row, shape: RowShape) -> list[Turn]:
    turns = []
    if shape.system and (system := _cell(row, shape.system, may_be_empty=True)):
        turns.append(Turn("system", system))
    turns += _history(row.values.get(shape.history)) if shape.history else []
    if (asked := turns_of(row.values.get(shape.question))) is not None:  # TRL's conversational form
        turns += _from_list(asked, shape.question)
    else:
        question = _cell(row, shape.question)
        context = _cell(row, shape.context, may_be_empty=True) if shape.context else ""
        turns.append(Turn("user", f"{question}\n\n{context}" if context else question))
    if (replied := turns_of(row.values.get(shape.answer))) is not None:
        return turns + _from_list(replied, shape.answer)
    return [*turns, answer_turn(_cell(row, shape.answer))]


def _history(value: object) -> list[Turn]:
    """Alpaca's earlier rounds: [[question, answer], …]."""
    turns: list[Turn] = []
    if isinstance(value, str) and value.strip():
        with suppress(ValueError, RecursionError):
            value = load_json(value)
    for pair in (
        value if isinstance(value, list) else [value] if value not in (None, "") and value == value else ()
    ):
        if not (
            isinstance(pair, list) and len(pair) == 2 and all(isinstance(x, str) and x.strip() for x in pair)
        ):
            raise Unusable(
                say("history is not a list of pairs"),
                say('Write it as [["question", "answer"], …].'),
                "history",
                value,
            )
        turns += [Turn("user", pair[0].strip()), Turn("assistant", pair[1].strip())]
    return turns


def _preferred(row: Row, shape: RowShape) -> list[Turn]:
    chosen = turns_of(row.values.get(shape.answer))
    if chosen is not None and any(role_of(turn) == "user" for turn in chosen):
        return _from_list(chosen, shape.answer)  # the question is part of it
    if shape.question:
        return _pairs(row, shape)
    if shape.template:
        return _parsed(row, shape)
    raise Unusable(
        say("the chosen answer has no question"),
        say("Add a prompt column."),
        shape.answer,
        row.values.get(shape.answer),
    )


def _labelled(row: Row, shape: RowShape) -> list[Turn]:
    label = row.values.get(shape.label)
    if label in (None, ""):
        raise Unusable(
            say("{column} is empty", column=shape.label), say("Fill it in or delete the row."), shape.label
        )
    if str(label).strip().lower() not in ("true", "1", "good"):
        raise Unusable(
            say("the answer is labelled as bad"),
            say("Nothing is wrong: it is just not trained on."),
            is_unwanted=True,
        )
    return _pairs(row, shape)


def _chosen(row: Row, shape: RowShape) -> list[Turn]:
    """Context and question, the options below, and the right one. What is cut of a long text is its
    beginning, so they stay.
    """
    question, context = (
        _cell(row, shape.question),
        _cell(row, shape.context, may_be_empty=True) if shape.context else "",
    )
    answers = _lettered(row, shape)
    value = row.values.get(shape.answer)
    if value in (None, "") or value != value:
        raise Unusable(
            say("{column} is empty", column=shape.answer), say("Fill it in or delete the row."), shape.answer
        )
    place = place_of(
        value, _options(row, shape), counts_from=shape.counts_from, is_text_first=shape.is_text_first
    )
    if place is None:
        problem = say(
            "{column} does not match any of the {count} options", column=shape.answer, count=len(answers)
        )
        raise Unusable(
            problem, say("Write the letter of the right option (A, B, …) or its text."), shape.answer, value
        )
    system = _cell(row, shape.system, may_be_empty=True) if shape.system else ""
    asked = "\n".join([question, *answers])
    turns = [Turn("user", f"{context}\n\n{asked}" if context else asked), Turn("assistant", answers[place])]
    return [Turn("system", system), *turns] if system else turns


def _options(row: Row, shape: RowShape) -> tuple[Option, ...]:
    found = options_of(row.values, shape.options)
    if isinstance(found, Message):
        raise Unusable(
            found,
            say("Write every option, or delete the row."),
            shape.options[0],
            row.values.get(shape.options[0]),
        )
    return found


def _lettered(row: Row, shape: RowShape) -> tuple[str, ...]:
    return lettered(text_of(option.text, shape.options[0]) for option in _options(row, shape))


def _possible(row: Row, shape: RowShape, answer: str) -> tuple[str, ...]:
    """Return all answers that a row allows, in the words in which the right one is learned."""
    if shape.kind == "choices":
        return _lettered(row, shape)
    column = shape.options[0]
    choices = _texts(row.values.get(column))
    if choices and answer not in choices:
        problem = say("the answer is not one of those in {column}", column=column)
        raise Unusable(
            problem, say("Write the answer exactly as it is there."), column, row.values.get(column)
        )
    return choices


def _plain_text(row: Row, shape: RowShape) -> list[Turn]:
    return [Turn(TEXT, _cell(row, shape.answer))]


def _parsed(row: Row, shape: RowShape) -> list[Turn]:
    text = _cell(row, shape.answer)
    turns = parse_turns(text, shape.template)
    if isinstance(turns, Message):
        raise Unusable(turns, say("Write it like the other rows, or delete it."), shape.answer, text)
    return list(turns)


def _messages(row: Row, shape: RowShape) -> list[Turn]:
    value = row.values.get(shape.answer)
    turns = turns_of(value)
    if turns is None:
        fix = say('Write a list: [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]')
        raise Unusable(say("{column} is not a list of turns", column=shape.answer), fix, shape.answer, value)
    made = _from_list(turns, shape.answer)
    if shape.system and made[0].role != "system" and (system := _cell(row, shape.system, may_be_empty=True)):
        made.insert(0, Turn("system", system))
    return made


_KINDS: Mapping[str, Callable[[Row, RowShape], list[Turn]]] = {
    "messages": _messages,
    "pairs": _pairs,
    "preference": _preferred,
    "labelled": _labelled,
    "choices": _chosen,
    "text": _plain_text,
    "templated": _parsed,
}


def _from_list(turns: list[Any], column: str) -> list[Turn]:
    return [_turn(turn, column) for turn in turns]


def _turn(turn: Mapping[str, Any], column: str) -> Turn:
    role = role_of(turn)
    if role not in ROLES:
        named = next((turn[key] for key in ROLE_KEYS if key in turn), None)
        problem = say("a turn has an unknown role: {role}", role=repr(shown_cell(named)))
        raise Unusable(problem, say("Use the roles {roles}.", roles=", ".join(ROLES)), column, turn)
    content = _content(next((turn[key] for key in CONTENT_KEYS if key in turn), None), role, column)
    calls = as_json(turn.get("tool_calls"), "tool_calls")
    if not calls and isinstance(turn.get("function_call"), dict):  # OpenAI's older way
        calls = as_json([{"type": "function", "function": turn["function_call"]}], "function_call")
    if content and any(turn.get(key) in CALL_KEYS for key in ROLE_KEYS):
        content, calls = "", as_json([parse_call(content, column)], "tool_calls")
    if not content and not calls:
        raise Unusable(
            say("a turn of the {role} is empty", role=role),
            say("Fill it in or delete the row."),
            column,
            turn,
        )
    reasoning = next(
        (
            turn[key]
            for key in ("reasoning_content", "reasoning", "thinking")
            if isinstance(turn.get(key), str)
        ),
        "",
    )
    if role == "assistant" and not reasoning:
        made = answer_turn(content, calls)
    else:
        made = Turn(role, content, reasoning.strip(), calls, _word(turn, "name"), _word(turn, "tool_call_id"))
    return replace(made, is_trained=False) if role == "assistant" and is_only_read(turn) else made


def _word(turn: Mapping[str, Any], key: str) -> str:
    return value if isinstance(value := turn.get(key), str) else ""


def _content(value: object, role: str, column: str) -> str:
    """Text, or the text parts of a list of parts."""
    if isinstance(value, list):
        parts = [
            part.get("text") if isinstance(part, dict) and part.get("type", "text") == "text" else None
            for part in value
        ]
        if not all(isinstance(part, str) for part in parts):
            problem = say(
                "a turn of the {role} holds something other than text (pictures, sound, files)", role=role
            )
            raise Unusable(problem, say("Only text can be trained on: delete the row."), column, value)
        value = "\n".join(str(part) for part in parts)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value) if value == value else None  # not NaN
    if value is not None and not isinstance(value, str):
        problem = say(
            "a turn of the {role} is {kind} where text was expected", role=role, kind=kind_of(value)
        )
        raise Unusable(problem, say("Write it as a single text."), column, value)
    value = text_of(value or "", column)
    return value if value.strip(INVISIBLE) else ""


def _in_order(turns: list[Turn], changes: list[Message]) -> list[Turn]:
    """Turns as templates want them: the system first, then question and answer by turns, an answer last."""
    if len(turns) == 2 and turns[0].role == "user" and turns[1].role == "assistant" and turns[1].is_trained:
        return turns  # nearly all there are
    made: list[Turn] = []
    for turn in turns:
        last = made[-1] if made else None
        if turn.role == "system" and made:
            fix = say("Put it at the beginning, or make it part of a question.")
            raise Unusable(say("a system turn is not at the beginning"), fix, value=turn.content)
        if turn.role == "assistant" and (last is None or last.role == "system"):
            changes.append(say("what the assistant said before the first question was left out"))
        elif last is not None and turn.role == last.role == "user":
            made[-1] = Turn("user", f"{last.content}\n\n{turn.content}")
            changes.append(say("questions in a row were joined"))
        elif (
            last is not None
            and turn.role == last.role == "assistant"
            and not (turn.tool_calls or last.tool_calls)
        ):
            if last.is_trained != turn.is_trained:  # two answers, of which one is to be learned
                made[-1] = last if last.is_trained else turn
                changes.append(say("of two answers, the one that is not to be learned was left out"))
                continue
            thought = last.reasoning or turn.reasoning
            made[-1] = replace(last, content=f"{last.content}\n\n{turn.content}", reasoning=thought)
            changes.append(say("answers in a row were joined"))
        else:
            made.append(turn)
    _end_with_answer(made, changes)
    if not made or "user" not in [turn.role for turn in made]:
        fix = say("Add a user turn and an assistant turn.")
        raise Unusable(
            say("there is no question with an answer"), fix, value=turns[0].content if turns else ""
        )
    return _with_names(made)


def _end_with_answer(turns: list[Turn], changes: list[Message]) -> None:
    """Leave out what stands behind the last answer that is learned: it teaches nothing."""
    answers = [i for i, turn in enumerate(turns) if turn.role == "assistant"]
    learned = [i for i in answers if turns[i].is_trained]
    if answers and not learned:
        raise Unusable(
            say("there is no answer to learn"),
            say("Nothing is wrong: it is just not trained on."),
            is_unwanted=True,
        )
    end = learned[-1] + 1 if learned else 0
    if 0 < end < len(turns):
        changes.append(say("the unanswered end was left out"))
    del turns[end:]


def _with_names(turns: list[Turn]) -> list[Turn]:
    """Results of functions with the function's name, where they only name the call: some templates want one,
    some the other.
    """
    if not any(turn.call_id and not turn.name for turn in turns):
        return turns
    calls = [call for turn in turns if turn.tool_calls for call in json.loads(turn.tool_calls)]
    names: dict[object, str] = {}
    for call in calls:
        if isinstance(call, dict) and isinstance(call.get("function"), dict):
            names[str(call.get("id"))] = str(call["function"].get("name", ""))
    return [
        replace(turn, name=names.get(turn.call_id, "")) if turn.call_id and not turn.name else turn
        for turn in turns
    ]
