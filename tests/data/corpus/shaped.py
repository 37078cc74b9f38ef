"""Every shape of rows in the formats that can hold it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from . import choices, conversations, preferences, templates
from .case import Case, ready
from .parquet import parquet
from .shape import Shape
from .sheets import xlsx
from .words import BOTH, ENGLISH, KOREAN, PASSAGES, SYSTEM, numbered, turns
from .write import json_list, jsonl, pretty, table

# names of the two columns, as people write them
_NAMES = (
    ("question", "answer"),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("instruction", "output"),
    ("instruction", "response"),
    ("input", "output"),
    ("query", "response"),
    ("query", "answer"),
    ("question", "response"),
    ("user", "assistant"),
    ("Q", "A"),
    ("질문", "답변"),
    ("질문", "답"),
    ("질문", "대답"),
    ("질의", "응답"),
    ("문의", "답변"),
    ("지시", "출력"),
    ("지시문", "출력"),
    ("명령어", "응답"),
    ("입력", "출력"),
    ("문제", "정답"),
    ("문제", "풀이"),
    ("사용자", "챗봇"),
    ("고객", "상담사"),
    # no customary pair, but only one reading
    ("human", "bot"),
    ("question", "reply"),
    ("질문", "output"),
)


def _pairs() -> Iterator[Shape]:
    for number, (ask, reply) in enumerate(_NAMES):
        pairs = (KOREAN if number % 2 else ENGLISH)[:3]
        rows = [{ask: question, reply: answer} for question, answer in pairs]
        yield Shape(f"names{number:02d}", rows, f"{ask}+{reply}", turns(*pairs[0]), kind="pairs")
    capitals = [{"Question": question, "ANSWER": answer} for question, answer in ENGLISH[:3]]
    yield Shape("capitals", capitals, "Question+ANSWER", turns(*ENGLISH[0]))
    blanks = [{"질 문": question, "답 변": answer} for question, answer in KOREAN[:3]]
    yield Shape("blanks_in_names", blanks, "질 문+답 변", turns(*KOREAN[0]))
    underscores = [{"System_Prompt": SYSTEM, "question": q, "answer": a} for q, a in KOREAN[:3]]
    first = [("system", SYSTEM), *turns(*KOREAN[0])]
    yield Shape("system_prompt", underscores, "System_Prompt+question+answer", first)
    system = [{"system": SYSTEM if number else "", "prompt": q, "completion": a} for number, (q, a) in enumerate(KOREAN[:3])]
    yield Shape("system_first_empty", system, "system+prompt+completion", turns(*KOREAN[0]))


def _with_context() -> Iterator[Shape]:
    en = ("Summarise the note.", "The patient coughs at night.", "A nightly cough.")
    rows: list[dict[str, Any]] = [{"instruction": en[0], "input": en[1], "output": en[2]}]
    rows += [{"instruction": question, "input": "", "output": answer} for question, answer in ENGLISH[:3]]
    asked = f"{en[0]}\n\n{en[1]}"
    yield Shape("alpaca", rows, "instruction+input+output", turns(asked, en[2]), kind="alpaca")
    # the first row has no input, the others do
    yield Shape("alpaca_reversed", rows[::-1], "instruction+input+output", turns(*ENGLISH[2]))
    korean = [{"지시": "다음 글을 한 문장으로 줄이세요.", "입력": PASSAGES[0], "출력": "나루정의 약효는 열두 시간 이어진다."}]
    korean += [{"지시": question, "입력": "", "출력": answer} for question, answer in KOREAN[:3]]
    asked = f"다음 글을 한 문장으로 줄이세요.\n\n{PASSAGES[0]}"
    yield Shape("alpaca_korean", korean, "지시+입력+출력", turns(asked, "나루정의 약효는 열두 시간 이어진다."))
    with_passages = list(zip(KOREAN, PASSAGES, strict=True))[:4]
    rows = [{"question": q, "context": passage, "answer": a} for (q, a), passage in with_passages]
    asked = f"{KOREAN[0][0]}\n\n{PASSAGES[0]}"
    yield Shape("context", rows, "question+context+answer", turns(asked, KOREAN[0][1]))
    rows = [{"지문": passage, "질문": q, "답변": a} for (q, a), passage in with_passages]
    yield Shape("passage_korean", rows, "질문+지문+답변", turns(asked, KOREAN[0][1]))
    history = [[list(KOREAN[1]), list(KOREAN[2])], [], [list(KOREAN[0])]]
    rows = [
        {"system": SYSTEM, "instruction": q, "input": "", "output": a, "history": earlier}
        for (q, a), earlier in zip(KOREAN[3:], history, strict=True)
    ]
    said = [("system", SYSTEM), *turns(*KOREAN[1]), *turns(*KOREAN[2]), *turns(*KOREAN[3])]
    yield Shape("alpaca_history", rows, "system+instruction+input+output", said, kind="nested")


def _with_more_columns() -> Iterator[Shape]:
    """Columns that are no part of an example."""
    labels = [{"Q": q, "A": a, "label": number % 3} for number, (q, a) in enumerate(KOREAN[:5])]
    yield Shape("label_of_subject", labels, "Q+A", turns(*KOREAN[0]), kind="alpaca")
    rows = [{"id": number, "source": "수첩", "질문": q, "답변": a, "길이": len(a)} for number, (q, a) in enumerate(KOREAN[:3], 1)]
    yield Shape("many_columns", rows, "질문+답변", turns(*KOREAN[0]))
    terms = [{"question": q, "answer": a, "lang": "en", "terms": [a.split()[0]]} for q, a in ENGLISH[:3]]
    yield Shape("terms", terms, "question+answer", turns(*ENGLISH[0]), kind="nested")
    numbers = [{"문제": f"{n} 더하기 {n}은?", "정답": 2 * n} for n in range(1, 5)]
    yield Shape("number_as_answer", numbers, "문제+정답", turns("1 더하기 1은?", "2"), kind="alpaca")
    thoughts = [{"question": q, "answer": f"<think>약의 쓰임을 생각한다.</think>\n\n{a}"} for q, a in KOREAN[:3]]
    yield Shape("thoughts", thoughts, "question+answer", turns(*KOREAN[0]), more={"reasoning": "약의 쓰임을 생각한다."})


def _plain() -> Iterator[Shape]:
    for name in ("text", "content", "본문"):
        rows = [{name: passage} for passage in PASSAGES[:4]]
        yield Shape(f"plain_{len(name)}", rows, name, [("text", PASSAGES[0])])
    rows = [{"title": f"글 {n}", "text": passage} for n, passage in enumerate(PASSAGES[:4])]
    yield Shape("plain_with_title", rows, "text", [("text", PASSAGES[0])])
    commas = [{"text": f"{n}. Narudin, Mirisol, Gaonex: three drugs, one shelf"} for n in range(3)]
    yield Shape("plain_commas", commas, "text", [("text", commas[0]["text"])])


def all_shapes() -> list[Shape]:
    """Return every shape; `tests/data/test_random_damage.py` takes their rows too."""
    own = (_pairs(), _with_context(), _with_more_columns(), _plain())
    return [
        shape
        for part in (*own, conversations.shapes(), preferences.shapes(), choices.shapes(), templates.shapes())
        for shape in part
    ]


# kinds of shapes → formats in which they are written
_FORMATS = {
    "pairs": ("jsonl", "csv"),
    "flat": ("jsonl", "csv", "xlsx"),
    "alpaca": ("jsonl", "json", "csv", "tsv", "xlsx", "parquet"),
    "nested": ("jsonl", "json", "csv", "parquet"),
}


def cases() -> Iterator[Case]:
    for shape in all_shapes():
        for suffix in shape.formats or _FORMATS[shape.kind]:
            content = _written(shape.rows, suffix)
            binary = suffix in ("xlsx", "parquet")
            facts = {"encoding": "" if binary else "utf-8", "unwanted": shape.num_unwanted, **shape.more}
            yield ready(f"shapes/{shape.name}.{suffix}", content, shape.shown, shape.first, len(shape.rows), **facts)
    yield from _one_column_without_quotes()
    yield from _json_documents()
    yield from _sheets()


def _written(rows: Sequence[dict[str, Any]], suffix: str) -> bytes:
    if suffix == "parquet":
        return parquet(rows)
    if suffix == "xlsx":
        return xlsx([list(rows[0]), *(list(row.values()) for row in rows)])
    if suffix == "json":
        return (pretty(list(rows)) if len(rows) % 2 else json_list(rows)).encode()
    texts: dict[str, Callable[[Sequence[dict[str, Any]]], str]] = {
        "jsonl": jsonl,
        "csv": table,
        "tsv": lambda rows: table(rows, "\t"),
    }
    return texts[suffix](rows).encode()


def _one_column_without_quotes() -> Iterator[Case]:
    lines = [f"{n}. Take Narudin, then Mirisol, then rest" for n in range(1, 5)]
    text = "text\n" + "\n".join(lines) + "\n"
    yield ready("csv/one_column_without_quotes.csv", text.encode(), "text", [("text", lines[0])], 4)


def _json_documents() -> Iterator[Case]:
    """Objects that hold the list somewhere, as programs write them."""
    rows = [{"question": q, "answer": a} for q, a in BOTH[:4]]
    shape, first = "question+answer", turns(*BOTH[0])
    documents = {
        "deeper": {"status": "ok", "result": {"count": 4, "items": rows}},
        "other_lists": {"authors": ["Kim", "Lee"], "license": {"name": "CC0"}, "train": rows},
        "pandas_columns": {name: {str(n): row[name] for n, row in enumerate(rows)} for name in ("question", "answer")},
        "pandas_table": {"schema": {"fields": [{"name": "question"}, {"name": "answer"}]}, "data": rows},
        "two_lists": {"내과": rows[:2], "외과": rows[2:]},
    }
    for name, document in documents.items():
        yield ready(f"json/{name}.json", pretty(document).encode(), shape, first, 4)
    turn_list = [{"role": "user", "content": BOTH[0][0]}, {"role": "assistant", "content": BOTH[0][1]}]
    yield ready("json/single_conversation.json", pretty({"messages": turn_list}).encode(), "messages", first, 1)
    sharegpt = [{"from": "human", "value": BOTH[0][0]}, {"from": "gpt", "value": BOTH[0][1]}]
    document = {"id": "c1", "conversations": sharegpt}
    yield ready("json/single_sharegpt.json", pretty(document).encode(), "conversations", first, 1)
    yield ready("json/twice_the_same_key.json", b'{"data": 1, "data": ' + json_list(rows).encode() + b"}", shape, first, 4)


def _sheets() -> Iterator[Case]:
    """Yield what spreadsheets can do and a CSV cannot."""
    pairs = [list(pair) for pair in KOREAN[:3]]
    head, first, shape = ["질문", "답변"], turns(*KOREAN[0]), "질문+답변"
    facts: dict[str, Any] = {"encoding": ""}
    yield ready("xlsx/shared.xlsx", xlsx([head, *pairs]), shape, first, 3, **facts)
    yield ready("xlsx/inline.xlsx", xlsx([head, *pairs], shared=False), shape, first, 3, **facts)
    yield ready("xlsx/two_sheets.xlsx", xlsx([head, *pairs], [["메모"], ["비었음"]]), shape, first, 3, **facts)
    yield ready("xlsx/first_sheet_empty.xlsx", xlsx([], [head, *pairs], names=["표지", "자료"]), shape, first, 3, **facts)
    yield ready("xlsx/empty_rows.xlsx", xlsx([[], head, [], pairs[0], [None, None], *pairs[1:]]), shape, first, 3, **facts)
    yield ready("xlsx/empty_column.xlsx", xlsx([[None, *row] for row in (head, *pairs)]), shape, first, 3, **facts)
    numbers: list[list[Any]] = [
        ["문제", "정답"],
        ["한 알은 몇 밀리그램인가요?", 250],
        ["하루 양은 몇 그램인가요?", 0.75],
        ["몇 알인가요?", 3.0],
    ]
    yield ready("xlsx/numbers.xlsx", xlsx(numbers), "문제+정답", turns("한 알은 몇 밀리그램인가요?", "250"), 3, **facts)
    lines = [["질문", "답변"], ["어떻게 먹나요?", "1. 물을 따른다.\n2. 약을 삼킨다."], *pairs]
    yield ready("xlsx/lines_in_cells.xlsx", xlsx(lines), shape, turns(*lines[1]), 4, **facts)
    many = [["질문", "답변"], *map(list, numbered(120))]
    yield ready("xlsx/many.xlsx", xlsx(many), shape, turns(*numbered(1)[0]), 120, **facts)
