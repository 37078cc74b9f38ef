"""JSON and JSONL in every state of decay. A broken entry costs that entry and no other."""

from __future__ import annotations

import json
from collections.abc import Iterator

from .case import Case, ready, refused, too_bad
from .conversations import messages
from .words import BOTH, numbered, turns
from .write import json_list, jsonl, pretty

_PAIRS = BOTH[:4]
_ROWS = [{"question": q, "answer": a} for q, a in _PAIRS]
_LINES = jsonl(_ROWS).splitlines()
_SHAPE, _FIRST = "question+answer", turns(*_PAIRS[0])
_QUESTION = json.dumps(_PAIRS[1][0])

# the second of four lines is replaced by one of these: what it is, and a part of what must be said of it
_BROKEN = {
    "words": ("Here begins the second part.", "JSON"),
    "cut": (_LINES[1][:50], "JSON"),
    "no_comma": (_LINES[1].replace('", "', '" "'), "JSON"),
    "single_quotes": (str(_ROWS[1]), "JSON"),
    "no_quotes": ('{question: "a", answer: "b"}', "JSON"),
    "comment": ("// the second row", "JSON"),
    "two_objects": (_LINES[1] + _LINES[2], "JSON"),
    "wrong_escape": (f'{{"question": {_QUESTION}, "answer": "C:\\x41"}}', "JSON"),
    "raw_tab": (f'{{"question": {_QUESTION}, "answer": "one\ttwo"}}', "JSON"),
    "half_surrogate": (f'{{"question": {_QUESTION}, "answer": "pill \\ud83d"}}', "JSON"),
    "half_surrogate_low": (f'{{"question": {_QUESTION}, "answer": "pill \\uDC8A!"}}', "JSON"),
    "half_surrogate_in_name": (f'{{"question": {_QUESTION}, "answer": "pill", "\\ud83d": 1}}', "JSON"),
    "deep": (f'{{"question": {_QUESTION}, "answer": {"[" * 4_000}{"]" * 4_000}}}', ""),
    "deep_open": ("[" * 4_000, "JSON"),
    "deep_objects": ('{"answer":' * 2_000 + "1" + "}" * 2_000, ""),
    "deep_to_show": (f'{{"question": {_QUESTION}, "answer": {"[" * 400}{"]" * 400}}}', "text was expected"),
    "many_digits": (f'{{"question": {_QUESTION}, "answer": {"7" * 5_000}}}', "JSON"),
    "null": ("null", "object was expected"),
    "number": ("42", "object was expected"),
    "text": ('"question and answer"', "object was expected"),
    "list": ('["question", "answer"]', "object was expected"),
    "answer_null": (f'{{"question": {_QUESTION}, "answer": null}}', "answer is empty"),
    "answer_nan": (f'{{"question": {_QUESTION}, "answer": NaN}}', "answer is empty"),
    "answer_empty": (f'{{"question": {_QUESTION}, "answer": ""}}', "answer is empty"),
    "answer_blank": (f'{{"question": {_QUESTION}, "answer": " \\n\\t\\u3000"}}', "answer is empty"),
    "answer_invisible": (f'{{"question": {_QUESTION}, "answer": "\\u200b\\ufeff"}}', "answer is empty"),
    "answer_missing": (f'{{"question": {_QUESTION}}}', "answer is missing"),
    "answer_misspelt": (f'{{"question": {_QUESTION}, "anwser": "yes"}}', "answer is missing"),
    "answer_list": (f'{{"question": {_QUESTION}, "answer": ["yes", "no"]}}', "text was expected"),
    "answer_object": (f'{{"question": {_QUESTION}, "answer": {{"text": "yes"}}}}', "text was expected"),
    "question_null": ('{"question": null, "answer": "yes"}', "question is empty"),
    "question_list": ('{"question": ["a", "b"], "answer": "yes"}', "text was expected"),
    "empty_object": ("{}", "is missing"),
}


def cases() -> Iterator[Case]:
    yield from _entries()
    yield from _cut_lists()
    yield from _broken_entries()
    yield from _whole_documents()
    yield from _lenient()


def _entries() -> Iterator[Case]:
    """Yield the second of four rows is broken, in lines and in a list."""
    for name, (broken, says) in _BROKEN.items():
        lines = [_LINES[0], broken, *_LINES[2:]]
        yield too_bad(f"damage/jsonl/{name}.jsonl", "\n".join(lines).encode(), 4, [(2, says)])
    for name in (
        "words",
        "no_comma",
        "single_quotes",
        "half_surrogate",
        "null",
        "list",
        "answer_null",
        "answer_object",
        "answer_nan",
    ):
        broken, says = _BROKEN[name]
        text = "[\n" + ",\n".join([_LINES[0], broken, *_LINES[2:]]) + "\n]"
        yield too_bad(f"damage/json/{name}.json", text.encode(), 4, [(3, says)])
    torn = "\n".join([_LINES[0], _LINES[1].replace("twice ", "twice\n"), *_LINES[2:]])
    yield too_bad("damage/jsonl/torn_in_two.jsonl", torn.encode(), 5, [(2, "JSON"), (3, "JSON")])
    yield too_bad("damage/jsonl/last_line_cut.jsonl", "\n".join(_LINES)[:-20].encode(), 4, [(4, "JSON")])
    many = jsonl([{"question": q, "answer": a} for q, a in numbered(110)])
    cut = many[:-12].encode()
    first = turns(*numbered(1)[0])
    yield ready("damage/jsonl/long_and_last_line_cut.jsonl", cut, _SHAPE, first, 110, bad=[(110, "JSON")])


def _cut_lists() -> Iterator[Case]:
    """Yield a download that stopped: the object in which it stopped is one bad row, and so is a missing
    end.
    """
    text = json_list(_ROWS)
    in_fourth = text[: text.index(_PAIRS[3][1]) + 9]
    yield too_bad("damage/json/cut_in_object.json", in_fourth.encode(), 4, [(5, "")])
    between = text[: text.index(_LINES[3])]
    yield too_bad("damage/json/cut_between_objects.json", between.encode(), 4, [(5, "cut off")])
    no_end = text.rstrip().removesuffix("]")
    yield too_bad("damage/json/not_closed.json", no_end.encode(), 5, [(6, "not closed")])
    inner = '{"version": 2, "data": ' + in_fourth
    yield too_bad("damage/json/cut_in_inner_object.json", inner.encode(), 4, [(5, "")])
    outer = '{"version": 2, "data": ' + text.rstrip()
    yield ready("damage/json/outer_object_not_closed.json", outer.encode(), _SHAPE, _FIRST, 4)
    single = json.dumps(_ROWS[0], ensure_ascii=False)[:-8]
    yield too_bad("damage/json/single_cut.json", single.encode(), 1, [(1, "JSON")])
    many = json_list([{"question": q, "answer": a} for q, a in numbered(120)])
    cut = many[: many.rindex("하루에")].encode()
    yield ready("damage/json/long_and_cut.json", cut, _SHAPE, turns(*numbered(1)[0]), 120, bad=[(121, "")])


def _broken_entries() -> Iterator[Case]:
    """After a broken entry the next one is found, however the list is laid out."""
    last = "[\n" + ",\n".join([*_LINES[:3], _LINES[3].replace('", "', '" "')]) + "\n]\n"
    yield too_bad("damage/json/last_entry_broken.json", last.encode(), 4, [(5, "JSON")])
    compact = "[" + ", ".join([_LINES[0], _LINES[1].replace('", "', '" "'), *_LINES[2:]]) + "]"
    yield too_bad("damage/json/compact_entry_broken.json", compact.encode(), 4, [(1, "JSON")])
    conversation = [{"messages": messages(turns(*pair))} for pair in _PAIRS]
    text = pretty(conversation)
    broken = text.replace(f'"content": "{_PAIRS[1][0]}"', f'"content": "{_PAIRS[1][0]}', 1)
    line = 1 + text[: text.index(_PAIRS[1][0])].count("\n") - 4  # the entry begins four lines above the first content
    yield too_bad("damage/json/conversation_broken.json", broken.encode(), 4, [(line, "JSON")])
    text = pretty(_ROWS)
    broken = text.replace('"answer": "' + _PAIRS[1][1] + '"', '"answer": ' + _PAIRS[1][1], 1)
    yield too_bad("damage/json/pretty_entry_broken.json", broken.encode(), 4, [(6, "JSON")])
    bytes_in_second = json_list(_ROWS).encode().replace(b"Narudin", b"Naru\xffdin", 1)
    yield too_bad("damage/json/bad_bytes.json", bytes_in_second, 4, [(3, "")])
    lines = jsonl(_ROWS).encode().replace(b"Narudin", b"Naru\xffdin", 1)
    yield too_bad("damage/jsonl/bad_bytes.jsonl", lines, 4, [(2, "")])
    yield too_bad("damage/jsonl/bad_bytes.cr.jsonl", lines.replace(b"\n", b"\r"), 4, [(2, "")])
    yield too_bad("damage/jsonl/bad_bytes.crlf.jsonl", lines.replace(b"\n", b"\r\n"), 4, [(2, "")])


def _whole_documents() -> Iterator[Case]:
    """JSON that is sound and holds no rows."""
    for name, text in {"null": "null", "number": "42", "text": '"a text"'}.items():
        yield too_bad(f"damage/json/document_{name}.json", text.encode(), 1, [(1, "object was expected")])
    yield refused("damage/json/empty_list.json", b"[]", "no rows")
    yield refused("damage/json/empty_list_in_object.json", b'{"data": []}', "")
    yield refused("damage/json/empty_object.json", b"{}", "")
    yield refused("damage/jsonl/empty_objects.jsonl", b"{}\n{}\n{}\n", "not clear")
    lists = [list(pair) for pair in _PAIRS]
    bad = [(line, "object was expected") for line in range(2, 6)]
    yield too_bad("damage/json/list_of_lists.json", json_list(lists).encode(), 4, bad)
    uneven = {"question": [q for q, _ in _PAIRS], "answer": [a for _, a in _PAIRS[:3]]}
    yield refused("damage/json/uneven_columns.json", pretty(uneven).encode(), "")
    squad = {
        "data": [{"title": "약", "paragraphs": [{"context": "나루정은 약이다.", "qas": [{"question": "?", "answers": []}]}]}]
    }
    yield refused("damage/json/squad.json", pretty(squad).encode(), "not clear")
    schema = {"type": "object", "properties": {"question": {"type": "string"}, "answer": {"type": "string"}}}
    yield refused("damage/json/schema.json", pretty(schema).encode(), "")


def _lenient() -> Iterator[Case]:
    """Damage that costs no row."""
    both = json_list(_ROWS[:2]) + json_list(_ROWS[2:])
    yield ready("damage/json/two_documents.json", both.encode(), _SHAPE, _FIRST, 4)
    same = [_ROWS[0], _ROWS[1], _ROWS[0], _ROWS[0]]
    yield ready("damage/jsonl/duplicates.jsonl", jsonl(same).encode(), _SHAPE, _FIRST, 4)
    extra = [*_LINES[:2], json.dumps({**_ROWS[2], "note": {"by": ["Kim"], "at": None}}), _LINES[3]]
    yield ready("damage/jsonl/extra_key_in_one_row.jsonl", "\n".join(extra).encode(), _SHAPE, _FIRST, 4)
    pair = [*_LINES[:3], '{"question": "What is \\ud83d\\udc8a?", "answer": "A pill."}']
    yield ready("damage/jsonl/whole_surrogates.jsonl", "\n".join(pair).encode(), _SHAPE, _FIRST, 4)
    numbers = [{"instruction": "맥박이 이만하면 괜찮나요?", "input": 60 + n, "output": "네, 괜찮습니다."} for n in range(3)]
    first = turns("맥박이 이만하면 괜찮나요?\n\n60", "네, 괜찮습니다.")
    yield ready("damage/jsonl/number_as_context.jsonl", jsonl(numbers).encode(), "instruction+input+output", first, 3)
    late = [{"instruction": q, "input": None, "output": a} for q, a in _PAIRS[:3]]
    late.append({"instruction": "줄이세요.", "input": "긴 글", "output": "글"})
    yield ready("damage/jsonl/context_mostly_null.jsonl", jsonl(late).encode(), "instruction+input+output", _FIRST, 4)
