"""Conversations that break the rules of conversations, and judgements that say nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .case import Case, ready, refused, too_bad
from .conversations import messages
from .words import BOTH, KOREAN, WORSE, turns
from .write import jsonl, table

_SOUND: list[dict[str, Any]] = [{"messages": messages(turns(*pair))} for pair in BOTH[:4]]
_USER, _BOT = ({"role": role, "content": content} for role, content in turns(*BOTH[1]))
_PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def _content(content: Any, role: str = "assistant") -> list[dict[str, Any]]:
    """Return a conversation in which one turn has this content."""
    turn = {"role": role, "content": content}
    return [_USER, turn] if role == "assistant" else [turn, _BOT]


# what stands in the second of four rows, and a part of what must be said of it
_BROKEN: dict[str, tuple[Any, str]] = {
    "unknown_role": ([{"role": "narrator", "content": "It was night."}, _USER, _BOT], "role"),
    "role_null": ([{"role": None, "content": "hm"}, _USER, _BOT], "role"),
    "role_missing": ([_USER, {"content": "yes"}], "role"),
    "role_number": ([_USER, {"role": 1, "content": "yes"}], "role"),
    "role_list": ([_USER, {"role": ["assistant"], "content": "yes"}], "role"),
    "no_assistant": ([_USER], "no question with an answer"),
    "only_assistant": ([_BOT], "no question with an answer"),
    "only_system": ([{"role": "system", "content": "Be kind."}], "no question with an answer"),
    "system_in_the_middle": ([_USER, _BOT, {"role": "system", "content": "Be kind."}, _USER, _BOT], "system"),
    "user_empty": (_content("", "user"), "empty"),
    "assistant_empty": (_content(""), "empty"),
    "assistant_blank": (_content(" \n\u3000"), "empty"),
    "assistant_null": (_content(None), "empty"),
    "assistant_nan": (_content(float("nan")), ""),
    "assistant_true": (_content(True), "text was expected"),
    "assistant_object": (_content({"text": "yes"}), "text was expected"),
    "assistant_without_content": ([_USER, {"role": "assistant"}], "empty"),
    "parts_empty": (_content([]), "empty"),
    "parts_null": (_content([{"type": "text", "text": None}]), ""),
    "picture": (_content([{"type": "text", "text": "What is this?"}, _PICTURE], "user"), "other than text"),
    "only_picture": (_content([_PICTURE], "user"), "other than text"),
    "sound": (_content([{"type": "input_audio", "input_audio": {"data": "AAAA"}}], "user"), "other than text"),
    "turns_are_texts": (["How are you?", "Fine."], "not a list of turns"),
    "turns_are_pairs": ([["user", "How are you?"], ["assistant", "Fine."]], "not a list of turns"),
    "one_turn_is_text": ([_USER, "Fine."], "not a list of turns"),
    "one_turn_is_null": ([_USER, None, _BOT], "not a list of turns"),
    "messages_text": ("How are you?", "not a list of turns"),
    "messages_null": (None, "not a list of turns"),
    "messages_empty": ([], "not a list of turns"),
    "messages_object": ({"user": "How are you?"}, "not a list of turns"),
    "messages_number": (7, "not a list of turns"),
    "calls_text": ([_USER, {"role": "assistant", "content": "", "tool_calls": "find_drug"}], "JSON"),
    "calls_object": ([_USER, {"role": "assistant", "content": "", "tool_calls": {"name": "find_drug"}}], "not a list"),
    "call_broken": ([{"from": "human", "value": "?"}, {"from": "function_call", "value": "{broken"}, _BOT], "JSON"),
    "call_without_name": ([{"from": "human", "value": "?"}, {"from": "function_call", "value": "{}"}, _BOT], ""),
}
_Q, _A = KOREAN[0]
# conversations that are put in order instead: what stands there, what is made of it
_MENDED: dict[str, tuple[list[dict[str, Any]], list[tuple[str, str]]]] = {
    "assistant_first": (messages([("assistant", "안녕하세요."), ("user", _Q), ("assistant", _A)]), turns(_Q, _A)),
    "two_users": (messages([("user", "안녕하세요."), ("user", _Q), ("assistant", _A)]), turns(f"안녕하세요.\n\n{_Q}", _A)),
    "two_assistants": (
        messages([("user", _Q), ("assistant", _A), ("assistant", "또 있나요?")]),
        turns(_Q, f"{_A}\n\n또 있나요?"),
    ),
    "user_last": (messages([*turns(_Q, _A), ("user", "고맙습니다.")]), turns(_Q, _A)),
    "number_content": (messages([("user", _Q), ("assistant", "x")])[:1] + [{"role": "assistant", "content": 2}], turns(_Q, "2")),
    "names_and_weights": (
        [{"role": "user", "content": _Q, "name": "kim"}, {"role": "assistant", "content": _A, "weight": 1}],
        turns(_Q, _A),
    ),
    "texts_in_parts": (
        [
            {"role": "user", "content": [{"type": "text", "text": "첫째."}, {"type": "text", "text": "둘째?"}]},
            *messages([("assistant", _A)]),
        ],
        turns("첫째.\n둘째?", _A),
    ),
}


def cases() -> Iterator[Case]:
    for name, (value, says) in _BROKEN.items():
        rows = [_SOUND[0], {"messages": value}, *_SOUND[2:]]
        yield too_bad(f"damage/turns/{name}.jsonl", jsonl(rows).encode(), 4, [(2, says)])
    for name in ("unknown_role", "no_assistant", "assistant_empty", "messages_text"):
        value, says = _BROKEN[name]
        rows = [_SOUND[0], {"messages": value}, *_SOUND[2:]]
        yield too_bad(f"damage/turns/{name}.csv", table(rows).encode(), 4, [(3, says)])
    for name, (value, made) in _MENDED.items():
        content = jsonl([{"messages": value}, *_SOUND[1:]]).encode()
        yield ready(f"damage/turns/{name}.jsonl", content, "messages", made, 4)
    yield from _cells()
    yield from _first_row()
    yield from _judgements()
    yield from _templated()


def _cells() -> Iterator[Case]:
    """Conversations as JSON within a CSV: what a JSONL would be refused for is refused there too."""
    sound = [table([row]).splitlines()[1] for row in _SOUND]
    half = r'"[{""role"": ""user"", ""content"": ""pill \ud83d?""}, {""role"": ""assistant"", ""content"": ""yes""}]"'
    cut = '"[{""role"": ""user"", ""content"": ""pill"'
    deep = '"' + "[" * 4_000 + '"'
    for name, cell, says in (
        ("half_surrogate", half, ""),
        ("cut", cut, "not a list of turns"),
        ("deep", deep, "not a list of turns"),
    ):
        text = "\n".join(["messages", sound[0], cell, *sound[2:], ""])
        yield too_bad(f"damage/turns/cell_{name}.csv", text.encode(), 4, [(3, says)])
    tools = ["[]", "{broken", "", '"find_drug"']
    rows = [{**row, "tools": tool} for row, tool in zip(_SOUND, tools, strict=True)]
    yield too_bad("damage/turns/tools_broken.csv", table(rows).encode(), 4, [(3, "tools"), (5, "tools")])
    half_tools = [{**_SOUND[0], "tools": "[]"}, {**_SOUND[1], "tools": '[{"name": "\\ud83d"}]'}, *_SOUND[2:]]
    yield too_bad("damage/turns/tools_half_surrogate.csv", table(half_tools).encode(), 4, [(3, "tools")])


def _first_row() -> Iterator[Case]:
    """Yield the first row is broken: the shape is found all the same."""
    for column in ("messages", "conversations", "chat"):
        rows = [{column: []}, *({column: row["messages"]} for row in _SOUND[1:])]
        yield too_bad(f"damage/turns/first_empty_{column}.jsonl", jsonl(rows).encode(), 4, [(1, "not a list of turns")])
    history: list[dict[str, Any]] = [{"instruction": q, "input": "", "output": a, "history": []} for q, a in KOREAN[:4]]
    history[1]["history"] = [["only a question"]]
    history[2]["history"] = "earlier"
    yield too_bad("damage/turns/history_broken.jsonl", jsonl(history).encode(), 4, [(2, "history"), (3, "history")])


def _judgements() -> Iterator[Case]:
    rows: list[dict[str, Any]] = [{"prompt": q, "completion": a, "label": n % 2 == 0} for n, (q, a) in enumerate(KOREAN[:4])]
    none = [{**row, "label": False} for row in rows]
    yield refused("damage/turns/kto_all_bad.jsonl", jsonl(none).encode(), "labelled as bad", num_rows=4, num_unwanted=4)
    # without its label nobody knows whether an answer is good; the answers labelled as bad stay out all the
    # same
    rows[2]["label"] = None
    yield too_bad("damage/turns/kto_label_null.jsonl", jsonl(rows).encode(), 4, [(3, "label")], unwanted=2)
    yield too_bad("damage/turns/kto_label_null.csv", table(rows).encode(), 4, [(4, "label")], unwanted=2)
    pairs = [{"prompt": q, "chosen": a, "rejected": bad} for (q, a), bad in zip(KOREAN[:4], WORSE, strict=False)]
    pairs[1]["chosen"] = None  # type: ignore[assignment]
    yield too_bad("damage/turns/chosen_null.jsonl", jsonl(pairs).encode(), 4, [(2, "chosen is empty")])
    alone = [{"chosen": a, "rejected": bad} for (_, a), bad in zip(KOREAN[:4], WORSE, strict=False)]
    bad = [(line, "no question") for line in range(1, 5)]
    yield too_bad("damage/turns/chosen_without_question.jsonl", jsonl(alone).encode(), 4, bad)


def _templated() -> Iterator[Case]:
    """Yield one text in twelve breaks the template of the others."""
    texts = [f"<s>[INST] {q} [/INST] {a} </s>" for q, a in BOTH]
    texts[4] = f"<s>[INST] {BOTH[4][0]} [/INST]"
    rows = [{"text": text} for text in texts]
    yield too_bad("damage/turns/template_without_answer.jsonl", jsonl(rows).encode(), 12, [(5, "no answer")])
    texts[4] = "Nothing of a template."
    rows = [{"text": text} for text in texts]
    yield too_bad("damage/turns/template_missing.csv", table(rows).encode(), 12, [(6, "does not begin")])
