"""Lists of turns: OpenAI's messages, ShareGPT's conversations, and what else people call them; tools;
thoughts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from .case import Said
from .shape import Shape
from .words import BOTH, ENGLISH, KOREAN, PASSAGES, SYSTEM, SYSTEM_EN, turns


def messages(said: Said) -> list[dict[str, Any]]:
    """Turns as OpenAI writes them."""
    return [{"role": role, "content": content} for role, content in said]


def sharegpt(said: Said) -> list[dict[str, Any]]:
    names = {"user": "human", "assistant": "gpt"}
    return [{"from": names.get(role, role), "value": content} for role, content in said]


def _each(pairs: Sequence[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    return [turns(*pair) for pair in pairs]


def shapes() -> Iterator[Shape]:
    yield from _openai()
    yield from _sharegpt()
    yield from _other_names()
    yield from _of_lists()
    yield from _tools()


def _openai() -> Iterator[Shape]:
    other_name = [{"id": number, "log": messages(said)} for number, said in enumerate(_each(KOREAN[:3]))]
    yield Shape("other_name", other_name, "log", turns(*KOREAN[0]), kind="nested")
    said = _each(BOTH[:4])
    yield Shape("messages", [{"messages": messages(one)} for one in said], "messages", said[0], kind="nested")
    longer = [[("system", SYSTEM), *turns(*a), *turns(*b)] for a, b in zip(KOREAN[:3], KOREAN[3:], strict=True)]
    yield Shape("messages_longer", [{"messages": messages(one)} for one in longer], "messages", longer[0], kind="nested")
    developer = [{"messages": [{"role": "developer", "content": SYSTEM_EN}, *messages(turns(*pair))]} for pair in ENGLISH[:3]]
    first = [("system", SYSTEM_EN), *turns(*ENGLISH[0])]
    yield Shape("messages_developer", developer, "messages", first, formats=("jsonl",))
    parts = [
        {"messages": [{"role": r, "content": [{"type": "text", "text": c}]} for r, c in turns(*pair)]} for pair in ENGLISH[:3]
    ]
    yield Shape("messages_parts", parts, "messages", turns(*ENGLISH[0]), formats=("jsonl", "csv", "parquet"))
    thought = [
        {"messages": [*messages(turns(q, a))[:1], {"role": "assistant", "reasoning_content": "약을 떠올린다.", "content": a}]}
        for q, a in KOREAN[:3]
    ]
    facts = {"reasoning": "약을 떠올린다."}
    yield Shape("messages_reasoning", thought, "messages", turns(*KOREAN[0]), kind="nested", more=facts)
    tagged = [{"messages": messages(turns(q, f"<think>\n약을 떠올린다.\n</think>\n{a}"))} for q, a in KOREAN[:3]]
    yield Shape("messages_think", tagged, "messages", turns(*KOREAN[0]), formats=("jsonl", "csv"), more=facts)
    with_more = [{"id": n, "messages": messages(one), "question": "?", "answer": "?"} for n, one in enumerate(said)]
    yield Shape("messages_beside_pairs", with_more, "messages", said[0], formats=("jsonl", "parquet"))


def _sharegpt() -> Iterator[Shape]:
    said = [[*turns(*a), *turns(*b)] for a, b in zip(BOTH[:3], BOTH[3:6], strict=True)]
    rows = [{"id": f"c{n}", "conversations": sharegpt(one)} for n, one in enumerate(said)]
    yield Shape("sharegpt", rows, "conversations", said[0], kind="nested")
    rows = [{"system": SYSTEM, "conversations": sharegpt(one)} for one in said]
    first = [("system", SYSTEM), *said[0]]
    yield Shape("sharegpt_system", rows, "conversations", first, formats=("jsonl", "csv", "parquet"))
    calls = []
    for (question, answer), passage in list(zip(KOREAN, PASSAGES, strict=True))[:3]:
        call = json.dumps({"name": "find_drug", "arguments": {"question": question}}, ensure_ascii=False)
        told = [("human", question), ("function_call", call), ("observation", passage), ("gpt", answer)]
        calls.append({"conversations": [{"from": name, "value": value} for name, value in told]})
    first = [("user", KOREAN[0][0]), ("assistant", ""), ("tool", PASSAGES[0]), ("assistant", KOREAN[0][1])]
    called = [[{"type": "function", "function": {"name": "find_drug", "arguments": {"question": KOREAN[0][0]}}}]]
    yield Shape("sharegpt_tools", calls, "conversations", first, formats=("jsonl", "csv", "parquet"), more={"calls": called})


def _other_names() -> Iterator[Shape]:
    for column in ("conversation", "dialogue", "dialog", "chat", "turns", "대화"):
        rows = [{column: messages(one)} for one in _each(KOREAN[:3])]
        name = "korean" if column == "대화" else column
        yield Shape(f"turns_as_{name}", rows, column, turns(*KOREAN[0]), formats=("jsonl", "csv"))
    roles = {"user": "사용자", "assistant": "챗봇"}
    rows = [{"대화": [{"speaker": roles[r], "utterance": c} for r, c in one]} for one in _each(KOREAN[:3])]
    yield Shape("turns_of_speakers", rows, "대화", turns(*KOREAN[0]), formats=("jsonl", "csv", "parquet"))
    roles = {"user": "Human", "assistant": "ChatGPT"}
    rows = [{"conversations": [{"from": roles[r], "value": c} for r, c in one]} for one in _each(ENGLISH[:3])]
    yield Shape("turns_of_capitals", rows, "conversations", turns(*ENGLISH[0]), formats=("jsonl",))


def _of_lists() -> Iterator[Shape]:
    """TRL's conversational form: the question is a list, and so is the answer."""
    said = [(messages([("system", SYSTEM), ("user", q)]), messages([("assistant", a)])) for q, a in KOREAN[:3]]
    rows = [{"prompt": prompt, "completion": completion} for prompt, completion in said]
    first = [("system", SYSTEM), *turns(*KOREAN[0])]
    yield Shape("trl_prompt_completion", rows, "prompt+completion", first, kind="nested")


_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "find_drug",
            "description": "Looks a drug up.",
            "parameters": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
        },
    }
]


def _asked(question: str, arguments: Any, found: str, answer: str) -> list[dict[str, Any]]:
    call = {"id": "call_1", "type": "function", "function": {"name": "find_drug", "arguments": arguments}}
    return [
        {"role": "user", "content": question},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "name": "find_drug", "content": found},
        {"role": "assistant", "content": answer},
    ]


def _tools() -> Iterator[Shape]:
    three = [(*pair, passage) for pair, passage in zip(KOREAN, PASSAGES, strict=True)][:3]
    first = [("user", KOREAN[0][0]), ("assistant", ""), ("tool", PASSAGES[0]), ("assistant", KOREAN[0][1])]
    arguments = json.dumps({"name": "나루정"}, ensure_ascii=False)
    rows: list[dict[str, Any]] = [{"messages": _asked(q, arguments, passage, a), "tools": _TOOLS} for q, a, passage in three]
    # A template writes arguments itself: as a text of JSON they would be written as a text within a text.
    call = {"id": "call_1", "type": "function", "function": {"name": "find_drug", "arguments": {"name": "나루정"}}}
    facts = {"calls": [[call]], "tools": _TOOLS}
    yield Shape("tools", rows, "messages", first, kind="nested", more=facts)
    # The arguments of each call have other names. Parquet fills the missing ones with nulls, which nobody
    # wrote.
    names = ("name", "maker", "dose")
    rows = [
        {"messages": _asked(q, {name: "나루정"}, passage, a), "tools": _TOOLS}
        for (q, a, passage), name in zip(three, names, strict=True)
    ]
    call = {"id": "call_1", "type": "function", "function": {"name": "find_drug", "arguments": {"name": "나루정"}}}
    facts = {"calls": [[call]], "tools": _TOOLS}
    yield Shape("tools_objects", rows, "messages", first, formats=("jsonl", "parquet"), more=facts)
    rows = [{"messages": _asked(q, arguments, passage, a), "tools": json.dumps(_TOOLS)} for q, a, passage in three]
    facts = {"tools": _TOOLS}
    yield Shape("tools_as_text", rows, "messages", first, formats=("jsonl", "parquet"), more=facts)
