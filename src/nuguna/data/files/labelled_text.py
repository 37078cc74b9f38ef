"""Questions and answers one below the other (질문: … 답변: …, Q: … A: …, Alpaca blocks) become rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ...message import Message, say
from .rows import BadRow, Row, shown_cell

_NAMES = {
    "question": "질문|문제|문의|물음|지시|명령어|Question|Instruction|Q",
    "context": "입력|지문|Input|Context",
    "answer": "답변|정답|대답|응답|출력|답|Answer|Response|Output|A",
}
_LABEL = re.compile(
    r"[ \t\ufeff]*(?:\#{1,6}[ \t]*|[-*+][ \t]+)?(?:\*\*|\[)?"
    + "(?:"
    + "|".join(f"(?P<{part}>{names})" for part, names in _NAMES.items())
    + ")"
    + r"(?:[ \t]*[:：]|[ \t]*\d+[ \t]*[.:：)]|\][ \t]*:?|\.(?=[ \t]))(?:\*\*)?[ \t]*",
    re.IGNORECASE,
)
_BETWEEN = re.compile(r"\s*(?:[-=*_]{3,}\s*)?$")  # lines that only set pairs apart
_PREAMBLE = re.compile(
    r"\s*(?:Below is an instruction|아래는 작업을 설명하는|Write a response that appropriately)"
)
MIN_PAIRS, MIN_REGULAR = 2, 0.8  # the latter: share of all labels that stand in pairs


def is_asked(start: str) -> bool:
    """Return whether a text begins with questions and answers by turns, each under its label."""
    parts = [found.lastgroup for line in start.splitlines() if (found := _LABEL.match(line))]
    order = "".join("c" if part == "context" else "q" if part == "question" else "a" for part in parts)
    pairs = re.findall("qc?a", order)
    return len(pairs) >= MIN_PAIRS and len("".join(pairs)) >= MIN_REGULAR * len(order)


@dataclass
class _Pair:
    """A question on its way: the lines of each of its parts."""

    line: int
    parts: dict[str, list[str]] = field(default_factory=dict)

    def row(self, file: str) -> Row | BadRow:
        texts = {part: _joined(lines) for part, lines in self.parts.items()}
        if not texts.get("question"):
            return BadRow(
                file, self.line, say("the question is empty"), say("Write the question after its label.")
            )
        if not texts.get("answer"):
            problem = say("the question has no answer")
            return BadRow(
                file,
                self.line,
                problem,
                say("Write the answer below it."),
                value=shown_cell(texts["question"]),
            )
        return Row({part: text for part, text in texts.items() if text}, file, self.line)


def _joined(lines: list[str]) -> str:
    while lines and _BETWEEN.match(lines[-1]):
        lines.pop()
    return "".join(line for line in lines if not _PREAMBLE.match(line)).strip()


def parse_asked(lines: Iterable[str], file: str) -> Iterator[Row | BadRow | Message]:
    """Yield a row for each question with its answer; `line` is that of the question."""
    pair: _Pair | None = None
    before: list[str] = []  # what stands above the first question
    held: list[str] = before  # the lines of the part that is being read
    for number, line in enumerate(lines, 1):
        label = _LABEL.match(line)
        part = label.lastgroup if label else None
        rest = line[label.end() :] if label else line
        if part == "question" or (part and pair is None):
            if pair is not None:
                yield pair.row(file)
            elif title := _joined(before):
                yield say(
                    "In {file}, the text above the first question is not read: {text}",
                    file=file,
                    text=shown_cell(title),
                )
            pair = _Pair(number)
        elif part and pair is not None and part in pair.parts:
            problem = say("a second {part} for one question", part=part)
            yield BadRow(
                file,
                number,
                problem,
                say("Write its question above it, or delete it."),
                value=shown_cell(rest),
            )
            held = []
            continue
        if part and pair is not None:
            held = pair.parts[part] = []
        held.append(rest)
    if pair is not None:
        yield pair.row(file)
