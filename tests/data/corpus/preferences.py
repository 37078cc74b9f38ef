"""Answers that somebody judged: chosen beside rejected, or labelled good or bad."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .conversations import messages
from .shape import Shape
from .words import ENGLISH, KOREAN, WORSE, turns

_THREE = [(q, a, bad) for (q, a), bad in zip(KOREAN, WORSE, strict=True)][:3]


def shapes() -> Iterator[Shape]:
    first = turns(*KOREAN[0])
    rows = [{"prompt": q, "chosen": a, "rejected": bad} for q, a, bad in _THREE]
    yield Shape("preference", rows, "prompt+chosen", first, kind="alpaca")
    rows = [{"질문": q, "Chosen": a, "Rejected": bad} for q, a, bad in _THREE]
    yield Shape("preference_korean", rows, "질문+Chosen", first)
    rows = [{"system": "짧게 답하세요.", "question": q, "chosen": a, "rejected": bad} for q, a, bad in _THREE]
    yield Shape("preference_system", rows, "system+question+chosen", [("system", "짧게 답하세요."), *first])
    lists = [{"chosen": messages(turns(q, a)), "rejected": messages(turns(q, bad))} for q, a, bad in _THREE]
    yield Shape("preference_lists", lists, "chosen", first, kind="nested")
    both = [{"prompt": q, **row, "score_chosen": 8.5} for (q, _, _), row in zip(_THREE, lists, strict=True)]
    yield Shape("preference_ultrafeedback", both, "prompt+chosen", first, kind="nested")
    apart = [
        {"prompt": messages([("user", q)]), "chosen": messages([("assistant", a)]), "rejected": messages([("assistant", bad)])}
        for q, a, bad in _THREE
    ]
    yield Shape("preference_trl", apart, "prompt+chosen", first, kind="nested")
    begins = "\n\nHuman: Hello.\n\nAssistant: Hello, how can I help?"
    hh = [
        {"chosen": f"{begins}\n\nHuman: {q}\n\nAssistant: {a}", "rejected": f"{begins}\n\nHuman: {q}\n\nAssistant: No idea."}
        for q, a in ENGLISH[:3]
    ]
    said = [*turns("Hello.", "Hello, how can I help?"), *turns(*ENGLISH[0])]
    yield Shape("preference_hh", hh, "chosen (human-assistant)", said, kind="alpaca")
    yield from _labelled()


def _labelled() -> Iterator[Shape]:
    """KTO: each row says whether its answer is good."""
    rows: list[dict[str, Any]] = []
    for question, good, bad in _THREE:
        rows += [{"prompt": question, "completion": good, "label": True}, {"prompt": question, "completion": bad, "label": False}]
    first = turns(*KOREAN[0])
    yield Shape("kto", rows, "prompt+completion", first, kind="alpaca", num_unwanted=3)
    words = [{**row, "label": str(row["label"]).lower()} for row in rows]
    yield Shape("kto_words", words, "prompt+completion", first, num_unwanted=3)
    lists = [
        {**row, "prompt": messages([("user", row["prompt"])]), "completion": messages([("assistant", row["completion"])])}
        for row in rows
    ]
    yield Shape("kto_lists", lists, "prompt+completion", first, kind="nested", num_unwanted=3)
