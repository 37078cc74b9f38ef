"""Text files with questions and answers one below the other, as people write them down."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .case import Case, ready
from .words import ENGLISH, KOREAN, turns

_PREAMBLE = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
# how a pair is written, and which words
_WAYS: dict[str, tuple[str, Sequence[tuple[str, str]]]] = {
    "korean": ("질문: {q}\n답변: {a}\n\n", KOREAN),
    "short": ("Q: {q}\nA: {a}\n", ENGLISH),
    "numbered": ("Q{n}. {q}\nA{n}. {a}\n", ENGLISH),
    "numbered_korean": ("문제 {n}) {q}\n정답 {n}) {a}\n---\n", KOREAN),
    "brackets": ("[질문] {q}\n[답] {a}\n\n", KOREAN),
    "bold": ("**Question:** {q}\n\n**Answer:** {a}\n\n", ENGLISH),
    "own_lines": ("질문:\n{q}\n\n답변:\n{a}\n\n", KOREAN),
    "alpaca": ("### Instruction:\n{q}\n\n### Response:\n{a}\n\n", ENGLISH),
}


def cases() -> Iterator[Case]:
    for name, (way, pairs) in _WAYS.items():
        content = "".join(way.format(n=n, q=q, a=a) for n, (q, a) in enumerate(pairs[:4], 1))
        yield ready(f"asked/{name}.txt", content.encode(), "question+answer", turns(*pairs[0]), 4, format="text")
    pairs = KOREAN[:4]
    body = "".join(f"질문: {q}\n답변: {a}\n" for q, a in pairs)
    first = turns(*pairs[0])
    yield ready("asked/title.md", f"# 우리 병원\n\n{body}".encode(), "question+answer", first, 4, format="text")
    yield ready("asked/cp949.txt", body.encode("cp949"), "question+answer", first, 4, format="text", encoding="cp949")
    yield ready(
        "asked/two_lines.txt",
        f"질문: {pairs[0][0]}\n답변: {pairs[0][1]}\n하루에 세 번이에요.\n{body}".encode(),
        "question+answer",
        turns(pairs[0][0], f"{pairs[0][1]}\n하루에 세 번이에요."),
        5,
        format="text",
    )
    many = "".join(f"질문: {n}번 약은 무슨 색인가요?\n답변: {n}번 약은 빨강이에요.\n" for n in range(200))
    broken = "질문: 이 약은요?\n질문: 그러면 저 약은요?\n"
    yield ready(
        "asked/no_answer.txt",
        (many + broken).encode(),
        "question+answer",
        turns("0번 약은 무슨 색인가요?", "0번 약은 빨강이에요."),
        202,
        format="text",
        bad=[(401, "no answer"), (402, "no answer")],
    )
    blocks = "".join(f"{_PREAMBLE}\n\n### Instruction:\n{q}\n\n### Input:\n-\n\n### Response:\n{a}\n\n" for q, a in pairs)
    context = turns(f"{pairs[0][0]}\n\n-", pairs[0][1])
    yield ready("asked/alpaca_with_input.txt", blocks.encode(), "question+context+answer", context, 4, format="text")
    told = "옛날에 한 의사가 살았다.\n질문: 그는 누구였을까?\n아무도 몰랐다. 답은 아직 없다.\n" * 3
    yield ready("asked/a_story.txt", told.encode(), "text", None, None, format="text")
