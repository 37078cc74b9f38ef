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
from ..files.rows import NO_TEXT, BadRow, Row, kind_of, shown
from .conversation import ROLES, TEXT, Conversation, Turn, answer_turn
from .options import Option, lettered, options_of, place_of
from .shape import Shape, turns_of
from .templated import parse_turns

ROLE_NAMES = {
    **{name: "user" for name in ("user", "human", "prompter", "customer", "사용자", "질문자", "고객", "유저")},
    **{
        name: "assistant"
        for name in ("assistant", "gpt", "bot", "chatgpt", "model", "ai", "bing", "챗봇", "상담사", "어시스턴트")
    },
    **{name: "system" for name in ("system", "developer", "시스템")},
    **{name: "tool" for name in ("tool", "function", "observation", "function_response", "tool_response", "ipython")},
}
_INVISIBLE = " \t\r\n\u00a0\u200b\u200c\u200d\u2060\ufeff\u3000"  # of these alone nothing is learned
_CALLS = ("function_call", "tool_call")  # ShareGPT writes a call as a turn of its own


class _Unusable(Exception):
    """Why a row cannot be used; within this file alone."""

    def __init__(
        self, problem: Message, fix: Message, column: str = "", value: object = "", *, is_unwanted: bool = False
    ) -> None:
        self.problem, self.fix, self.column, self.value, self.is_unwanted = problem, fix, column, shown(value), is_unwanted


def to_conversation(row: Row, shape: Shape) -> Conversation | BadRow:
    """What one row teaches. What had to be changed for it stands in `changes`."""
    changes: list[Message] = []
    try:
        turns = _KINDS[shape.kind](row, shape)
        turns = _in_order(turns, changes) if shape.kind != "text" else turns
        tools = _as_json(row.values.get(shape.tools), shape.tools) if shape.tools else ""
        choices = _possible(row, shape, turns[-1].content) if shape.options else ()
    except _Unusable as found:
        return BadRow(row.file, row.line, found.problem, found.fix, found.column, found.value, found.is_unwanted)
    terms, lang = _texts(row.values.get("terms")), str(row.values.get("lang") or "")
    return Conversation(tuple(turns), row.file, row.line, terms, lang, tools, choices, tuple(changes))


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, Iterable) and not isinstance(value, (str, Mapping)) else ()


def _cell(row: Row, column: str, *, may_be_empty: bool = False) -> str:
    """The text of a cell. Raises `_Unusable` for an empty one, unless it may be, and for what is no text."""
    value = row.values.get(column)
    if isinstance(value, (int, float)) and value == value:  # a number, a truth value; not NaN, which is how pandas says "nothing"
        return str(value)
    if isinstance(value, str) and (value.strip(_INVISIBLE) or may_be_empty):
        return _text(value, column)
    if value is None or isinstance(value, (str, float)):
        if may_be_empty:
            return ""
        empty = say("{column} is empty", column=column) if column in row.values else say("{column} is missing", column=column)
        raise _Unusable(empty, say("Fill it in or delete the row."), column)
    problem = say("{column} is {kind} where text was expected", column=column, kind=kind_of(value))
    raise _Unusable(problem, say("Write it as one text."), column, value)


def _text(value: str, column: str) -> str:
    if not value.isascii() and NO_TEXT.search(value):
        problem = say("{column} holds half of a character", column=column)
        raise _Unusable(problem, say("Write the character anew, or delete the row."), column, value)
    return value.strip()


def _pairs(row: Row, shape: Shape) -> list[Turn]:
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
    for pair in value if isinstance(value, list) else [value] if value not in (None, "") and value == value else ():
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(x, str) and x.strip() for x in pair)):
            raise _Unusable(
                say("history is not a list of pairs"), say('Write it as [["question", "answer"], …].'), "history", value
            )
        turns += [Turn("user", pair[0].strip()), Turn("assistant", pair[1].strip())]
    return turns


def _preferred(row: Row, shape: Shape) -> list[Turn]:
    chosen = turns_of(row.values.get(shape.answer))
    if chosen is not None and any(_role(turn) == "user" for turn in chosen):
        return _from_list(chosen, shape.answer)  # the question is part of it
    if shape.question:
        return _pairs(row, shape)
    if shape.template:
        return _parsed(row, shape)
    raise _Unusable(
        say("there is no question to the chosen answer"), say("Add a column prompt."), shape.answer, row.values.get(shape.answer)
    )


def _labelled(row: Row, shape: Shape) -> list[Turn]:
    label = row.values.get(shape.label)
    if label in (None, ""):
        raise _Unusable(say("{column} is empty", column=shape.label), say("Fill it in or delete the row."), shape.label)
    if str(label).strip().lower() not in ("true", "1", "good"):
        raise _Unusable(say("the answer is labelled as bad"), say("Nothing is wrong: it is not trained."), is_unwanted=True)
    return _pairs(row, shape)


def _chosen(row: Row, shape: Shape) -> list[Turn]:
    """Context and question, the options below, and the right one. What is cut of a long text is its beginning, so they stay."""
    question, context = _cell(row, shape.question), _cell(row, shape.context, may_be_empty=True) if shape.context else ""
    answers = _lettered(row, shape)
    value = row.values.get(shape.answer)
    if value in (None, "") or value != value:
        raise _Unusable(say("{column} is empty", column=shape.answer), say("Fill it in or delete the row."), shape.answer)
    place = place_of(value, _options(row, shape), counts_from=shape.counts_from, is_text_first=shape.is_text_first)
    if place is None:
        problem = say("{column} names none of the {count} options", column=shape.answer, count=len(answers))
        raise _Unusable(problem, say("Write the letter of the right option (A, B, …) or its text."), shape.answer, value)
    system = _cell(row, shape.system, may_be_empty=True) if shape.system else ""
    asked = "\n".join([question, *answers])
    turns = [Turn("user", f"{context}\n\n{asked}" if context else asked), Turn("assistant", answers[place])]
    return [Turn("system", system), *turns] if system else turns


def _options(row: Row, shape: Shape) -> tuple[Option, ...]:
    found = options_of(row.values, shape.options)
    if isinstance(found, Message):
        raise _Unusable(found, say("Write every option, or delete the row."), shape.options[0], row.values.get(shape.options[0]))
    return found


def _lettered(row: Row, shape: Shape) -> tuple[str, ...]:
    return lettered(_text(option.text, shape.options[0]) for option in _options(row, shape))


def _possible(row: Row, shape: Shape, answer: str) -> tuple[str, ...]:
    """All answers that a row allows, in the words in which the right one is learned."""
    if shape.kind == "choices":
        return _lettered(row, shape)
    column = shape.options[0]
    choices = _texts(row.values.get(column))
    if choices and answer not in choices:
        problem = say("the answer is none of those in {column}", column=column)
        raise _Unusable(problem, say("Write the answer as it stands there."), column, row.values.get(column))
    return choices


def _plain_text(row: Row, shape: Shape) -> list[Turn]:
    return [Turn(TEXT, _cell(row, shape.answer))]


def _parsed(row: Row, shape: Shape) -> list[Turn]:
    text = _cell(row, shape.answer)
    turns = parse_turns(text, shape.template)
    if isinstance(turns, Message):
        raise _Unusable(turns, say("Write it like the other rows, or delete it."), shape.answer, text)
    return list(turns)


def _messages(row: Row, shape: Shape) -> list[Turn]:
    value = row.values.get(shape.answer)
    turns = turns_of(value)
    if turns is None:
        fix = say('Write a list: [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]')
        raise _Unusable(say("{column} is not a list of turns", column=shape.answer), fix, shape.answer, value)
    made = _from_list(turns, shape.answer)
    if shape.system and made[0].role != "system" and (system := _cell(row, shape.system, may_be_empty=True)):
        made.insert(0, Turn("system", system))
    return made


_KINDS: Mapping[str, Callable[[Row, Shape], list[Turn]]] = {
    "messages": _messages,
    "pairs": _pairs,
    "preference": _preferred,
    "labelled": _labelled,
    "choices": _chosen,
    "text": _plain_text,
    "templated": _parsed,
}


def _role(turn: Mapping[str, Any]) -> str:
    named = next((turn[key] for key in ROLE_KEYS if key in turn), None)
    return ROLE_NAMES.get(str(named).strip().lower(), "assistant" if named in _CALLS else "")


def _from_list(turns: list[Any], column: str) -> list[Turn]:
    return [_turn(turn, column) for turn in turns]


def _turn(turn: Mapping[str, Any], column: str) -> Turn:
    role = _role(turn)
    if role not in ROLES:
        named = next((turn[key] for key in ROLE_KEYS if key in turn), None)
        problem = say("a turn has the role {role}", role=repr(shown(named)))
        raise _Unusable(problem, say("Use the roles {roles}.", roles=", ".join(ROLES)), column, turn)
    content = _content(next((turn[key] for key in CONTENT_KEYS if key in turn), None), role, column)
    calls = _as_json(turn.get("tool_calls"), "tool_calls")
    if not calls and isinstance(turn.get("function_call"), dict):  # OpenAI's older way
        calls = _as_json([{"type": "function", "function": turn["function_call"]}], "function_call")
    if content and any(turn.get(key) in _CALLS for key in ROLE_KEYS):
        content, calls = "", _as_json([_call(content, column)], "tool_calls")
    if not content and not calls:
        raise _Unusable(say("a turn of the {role} is empty", role=role), say("Fill it in or delete the row."), column, turn)
    reasoning = next((turn[key] for key in ("reasoning_content", "reasoning", "thinking") if isinstance(turn.get(key), str)), "")
    if role == "assistant" and not reasoning:
        made = answer_turn(content, calls)
    else:
        made = Turn(role, content, reasoning.strip(), calls, _word(turn, "name"), _word(turn, "tool_call_id"))
    return replace(made, is_trained=False) if role == "assistant" and _is_only_read(turn) else made


def _word(turn: Mapping[str, Any], key: str) -> str:
    return value if isinstance(value := turn.get(key), str) else ""


def _is_only_read(turn: Mapping[str, Any]) -> bool:
    """Whether a turn says of itself that it is not to be learned: OpenAI's weight, ms-swift's loss, Axolotl's train(ing)."""
    said = (turn.get(key) for key in ("weight", "loss", "train", "training"))
    return any(
        str(value).strip().lower() in ("0", "0.0", "false") for value in said if isinstance(value, (bool, int, float, str))
    )


def _content(value: object, role: str, column: str) -> str:
    """Text, or the text parts of a list of parts."""
    if isinstance(value, list):
        parts = [part.get("text") if isinstance(part, dict) and part.get("type", "text") == "text" else None for part in value]
        if not all(isinstance(part, str) for part in parts):
            problem = say("a turn of the {role} holds something other than text (pictures, sound, files)", role=role)
            raise _Unusable(problem, say("Only text can be trained: delete the row."), column, value)
        value = "\n".join(str(part) for part in parts)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value) if value == value else None  # not NaN
    if value is not None and not isinstance(value, str):
        problem = say("a turn of the {role} is {kind} where text was expected", role=role, kind=kind_of(value))
        raise _Unusable(problem, say("Write it as one text."), column, value)
    value = _text(value or "", column)
    return value if value.strip(_INVISIBLE) else ""


def _call(content: str, column: str) -> dict[str, Any]:
    """ShareGPT's call of a function as the hub's libraries write it."""
    try:
        made = load_json(content)
        return {"type": "function", "function": {"name": made["name"], "arguments": made.get("arguments", {})}}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        fix = say('Write it as {"name": "…", "arguments": {…}}.')
        raise _Unusable(say("a call of a function is not valid JSON"), fix, column, content) from None


def _as_json(value: object, column: str) -> str:
    """A list of functions or calls as JSON, "" for none."""
    if isinstance(value, str) and value.strip():
        try:
            value = load_json(value)
        except (ValueError, RecursionError):
            raise _Unusable(
                say("{column} is not valid JSON", column=column), say("Correct it or leave it out."), column, value
            ) from None
    if not value:
        return ""
    if not isinstance(value, list):
        raise _Unusable(say("{column} is not a list", column=column), say("Write it as a JSON list."), column, value)
    return json.dumps([_with_arguments(_function(item)) for item in value], ensure_ascii=False, default=str)


def _function(item: object) -> Any:
    """A function or call as the hub's libraries write it, with a word before it on what it is."""
    is_bare = isinstance(item, dict) and isinstance(item.get("name"), str) and "function" not in item and "type" not in item
    return {"type": "function", "function": item} if is_bare else item


def _with_arguments(item: Any) -> Any:
    """A call with its arguments as an object; OpenAI writes them as a JSON text, which templates would write as a text again."""
    function = item.get("function") if isinstance(item, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
        return item
    with suppress(ValueError, RecursionError):
        arguments = load_json(function["arguments"])
        if isinstance(arguments, dict):
            return {**item, "function": {**function, "arguments": arguments}}
    return item


def _in_order(turns: list[Turn], changes: list[Message]) -> list[Turn]:
    """Turns as templates want them: the system first, then question and answer by turns, an answer last."""
    if len(turns) == 2 and turns[0].role == "user" and turns[1].role == "assistant" and turns[1].is_trained:
        return turns  # nearly all there are
    made: list[Turn] = []
    for turn in turns:
        last = made[-1] if made else None
        if turn.role == "system" and made:
            fix = say("Put it at the beginning, or make it part of a question.")
            raise _Unusable(say("a system turn stands after the beginning"), fix, value=turn.content)
        if turn.role == "assistant" and (last is None or last.role == "system"):
            changes.append(say("what the assistant said before the first question was left out"))
        elif last is not None and turn.role == last.role == "user":
            made[-1] = Turn("user", f"{last.content}\n\n{turn.content}")
            changes.append(say("questions in a row were joined"))
        elif last is not None and turn.role == last.role == "assistant" and not (turn.tool_calls or last.tool_calls):
            if last.is_trained != turn.is_trained:  # two answers, of which one is to be learned
                made[-1] = last if last.is_trained else turn
                changes.append(say("of two answers the one that is not to be learned was left out"))
                continue
            thought = last.reasoning or turn.reasoning
            made[-1] = replace(last, content=f"{last.content}\n\n{turn.content}", reasoning=thought)
            changes.append(say("answers in a row were joined"))
        else:
            made.append(turn)
    _end_with_answer(made, changes)
    if not made or "user" not in [turn.role for turn in made]:
        fix = say("Add a user turn and an assistant turn.")
        raise _Unusable(say("there is no question with an answer"), fix, value=turns[0].content if turns else "")
    return _with_names(made)


def _end_with_answer(turns: list[Turn], changes: list[Message]) -> None:
    """Leave out what stands behind the last answer that is learned: it teaches nothing."""
    answers = [i for i, turn in enumerate(turns) if turn.role == "assistant"]
    learned = [i for i in answers if turns[i].is_trained]
    if answers and not learned:
        raise _Unusable(say("no answer is to be learned"), say("Nothing is wrong: it is not trained."), is_unwanted=True)
    end = learned[-1] + 1 if learned else 0
    if 0 < end < len(turns):
        changes.append(say("the end without an answer was left out"))
    del turns[end:]


def _with_names(turns: list[Turn]) -> list[Turn]:
    """Results of functions with the function's name, where they only name the call: some templates want one, some the other."""
    if not any(turn.call_id and not turn.name for turn in turns):
        return turns
    calls = [call for turn in turns if turn.tool_calls for call in json.loads(turn.tool_calls)]
    names: dict[object, str] = {}
    for call in calls:
        if isinstance(call, dict) and isinstance(call.get("function"), dict):
            names[str(call.get("id"))] = str(call["function"].get("name", ""))
    return [replace(turn, name=names.get(turn.call_id, "")) if turn.call_id and not turn.name else turn for turn in turns]
