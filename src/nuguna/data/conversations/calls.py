"""The parts of a turn in the forms that datasets write them: whose, whether learned, what it calls."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ...message import Message, say
from ..files.columns import ROLE_KEYS
from ..files.json_list import load_json
from ..files.rows import NO_TEXT, shown_cell

ROLE_NAMES = {
    **{
        name: "user" for name in ("user", "human", "prompter", "customer", "사용자", "질문자", "고객", "유저")
    },
    **{
        name: "assistant"
        for name in (
            "assistant",
            "gpt",
            "bot",
            "chatgpt",
            "model",
            "ai",
            "bing",
            "챗봇",
            "상담사",
            "어시스턴트",
        )
    },
    **{name: "system" for name in ("system", "developer", "시스템")},
    **{
        name: "tool"
        for name in ("tool", "function", "observation", "function_response", "tool_response", "ipython")
    },
}
CALL_KEYS = ("function_call", "tool_call")  # ShareGPT writes a call as a turn of its own
INVISIBLE = " \t\r\n\u00a0\u200b\u200c\u200d\u2060\ufeff\u3000"  # of these alone nothing is learned


def parse_call(content: str, column: str) -> dict[str, Any]:
    """ShareGPT's call of a function as the hub's libraries write it."""
    try:
        made = load_json(content)
        return {
            "type": "function",
            "function": {"name": made["name"], "arguments": made.get("arguments", {})},
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        fix = say('Write it as {"name": "…", "arguments": {…}}.')
        raise Unusable(say("a function call is not valid JSON"), fix, column, content) from None


def as_json(value: object, column: str) -> str:
    """Return a list of functions or calls as JSON, "" for none."""
    if isinstance(value, str) and value.strip():
        try:
            value = load_json(value)
        except (ValueError, RecursionError):
            raise Unusable(
                say("{column} is not valid JSON", column=column),
                say("Correct it or leave it out."),
                column,
                value,
            ) from None
    if not value:
        return ""
    if not isinstance(value, list):
        raise Unusable(
            say("{column} is not a list", column=column), say("Write it as a JSON list."), column, value
        )
    return json.dumps([_with_arguments(_function(item)) for item in value], ensure_ascii=False, default=str)


def _function(item: object) -> Any:
    """Return a function or call as the hub's libraries write it, with a word before it on what it is."""
    is_bare = (
        isinstance(item, dict)
        and isinstance(item.get("name"), str)
        and "function" not in item
        and "type" not in item
    )
    return {"type": "function", "function": item} if is_bare else item


def _with_arguments(item: Any) -> Any:
    """Return a call with its arguments as an object; OpenAI writes them as a JSON text, which templates would
    write as a text again.
    """
    function = item.get("function") if isinstance(item, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
        return item
    with suppress(ValueError, RecursionError):
        arguments = load_json(function["arguments"])
        if isinstance(arguments, dict):
            return {**item, "function": {**function, "arguments": arguments}}
    return item


class Unusable(Exception):
    """Why a row cannot be used; within this file alone."""

    def __init__(
        self,
        problem: Message,
        fix: Message,
        column: str = "",
        value: object = "",
        *,
        is_unwanted: bool = False,
    ) -> None:
        self.problem, self.fix, self.column, self.value, self.is_unwanted = (
            problem,
            fix,
            column,
            shown_cell(value),
            is_unwanted,
        )


def text_of(value: str, column: str) -> str:
    if not value.isascii() and NO_TEXT.search(value):
        problem = say("{column} contains half of a character", column=column)
        raise Unusable(problem, say("Type the character again, or delete the row."), column, value)
    return value.strip()


def role_of(turn: Mapping[str, Any]) -> str:
    named = next((turn[key] for key in ROLE_KEYS if key in turn), None)
    return ROLE_NAMES.get(str(named).strip().lower(), "assistant" if named in CALL_KEYS else "")


def is_only_read(turn: Mapping[str, Any]) -> bool:
    """Return whether a turn says of itself that it is not to be learned: OpenAI's weight, ms-swift's loss,
    Axolotl's train(ing).
    """
    said = (turn.get(key) for key in ("weight", "loss", "train", "training"))
    return any(
        str(value).strip().lower() in ("0", "0.0", "false")
        for value in said
        if isinstance(value, (bool, int, float, str))
    )
