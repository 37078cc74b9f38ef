"""The tables of metrics and checks in docs/: `python -m tools.tables` writes them between their markers, in
both languages.

They are made of the program's own tables and of its translation catalogue. `--check` writes nothing and names
what is not up to date (exit 1).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from nuguna.measure.metric_table import METRICS, Metric
from nuguna.message import Message
from nuguna.prove.check import AFTER_TRAINING, BEFORE_TRAINING
from nuguna.text.language import Translate, translator

DOCS = Path(__file__).parents[1] / "docs"
Rows = Iterator[tuple[str, ...]]
METRIC_HEADS = {
    "en": ("name in `report.json`", "number", "from … to", "what it means", "take care"),
    "ko": ("`report.json`의 이름", "점수", "범위", "뜻", "조심할 점"),
}
CHECK_HEADS = {"en": ("check", "when", "what it proves"), "ko": ("확인", "언제", "무엇을 증명하나요")}
TIMES = {"en": ("before training", "after training"), "ko": ("학습 전", "학습 후")}


def metrics(lang: str) -> Rows:
    """Yield all that is said of every metric, a head first."""
    t = translator(lang)
    yield METRIC_HEADS[lang]
    for metric in METRICS:
        meaning = _sentences(t, metric.meaning, metric.direction, metric.only_for)
        yield f"`{metric.name}`", t(metric.label), _range(metric), meaning, _sentences(t, metric.caution)


def metrics_in_short(lang: str) -> Rows:
    """Yield name, range and meaning of every metric, a head first."""
    for name, _, span, meaning, _ in metrics(lang):
        yield name, span, meaning


def checks(lang: str) -> Rows:
    """Yield name, time and sense of every check, a head first."""
    t = translator(lang)
    yield CHECK_HEADS[lang]
    before, after = TIMES[lang]
    yield from ((f"`{row.name}`", before, t(row.proves)) for row in BEFORE_TRAINING)
    yield from ((f"`{row.name}`", after, t(row.proves)) for row in AFTER_TRAINING)


def checks_in_report(lang: str) -> Rows:
    """Yield name and sense of every check in report.json, a head first."""
    head, *rows = checks(lang)
    for name, _, proves in (head, *rows[len(BEFORE_TRAINING) :]):
        yield name, proves


def _range(metric: Metric) -> str:
    return "0 …" if metric.percent_of is None else f"0 … {metric.percent_of:g}"


def _sentences(t: Translate, *messages: Message | None) -> str:
    return " ".join(t(message) for message in messages if message is not None)


# file in docs/ without its ending → markers → rows in a language
TABLES: dict[str, dict[str, Callable[[str], Rows]]] = {
    "evaluation": {"metrics": metrics},
    "reliability": {"checks": checks},
    "results": {"metrics": metrics_in_short, "checks": checks_in_report},
}


def as_markdown(rows: Rows) -> str:
    """Return the rows as a table, the first as its head."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * (lines[0].count(" | ") + 1), *lines[1:]]) + "\n"


def filled(text: str, name: str, table: str) -> str:
    """Return a document with another table between its markers. Raise `ValueError` where it does not have
    them once.
    """
    begin, end = (f"<!-- {name}:{place} -->\n" for place in ("begin", "end"))
    found, count = re.subn(
        f"({begin}).*?({end})", lambda match: match[1] + table + match[2], text, flags=re.DOTALL
    )
    if count != 1:
        raise ValueError(f"{count} places for the table {name} instead of one")
    return found


def documents() -> Iterator[tuple[Path, str]]:
    """Yield every document that has such a table, and what should stand in it."""
    for stem, tables in TABLES.items():
        for lang, ending in (("en", ".md"), ("ko", ".ko.md")):
            path = DOCS / (stem + ending)
            text = path.read_text(encoding="utf-8")
            for name, rows in tables.items():
                text = filled(text, name, as_markdown(rows(lang)))
            yield path, text


def main() -> int:
    """Write what is not up to date, or only name it."""
    old = [(path, text) for path, text in documents() if path.read_text(encoding="utf-8") != text]
    if "--check" not in sys.argv:
        for path, text in old:
            path.write_text(text, encoding="utf-8")
    print("\n".join(f"docs/{path.name}" for path, _ in old) or "all up to date")
    return 1 if old and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
