"""What each question adds to the metrics that rank runs: with it two runs are compared on the same
questions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..data.conversations.conversation import Conversation
from .bootstrap import Rows, Score, difference, ratio_of
from .metric_table import METRICS, metric_named

MARK_CHARS = 16  # hexadecimal: two of a million questions have the same with a chance of 3 in 100 million
Sums = tuple[float, float]
_RANKING = tuple(metric.name for metric in METRICS if metric.ranks_runs)


@dataclass(frozen=True)
class EachQuestion:
    """`marks` name the questions by what they say; `sums` are (sum, count) of each of them, for each metric
    that ranks runs.
    """

    marks: tuple[str, ...]
    sums: Mapping[str, tuple[Sums, ...]]

    def to_json(self) -> dict[str, Any]:
        """`each_question` in report.json."""
        return {
            "marks": list(self.marks),
            "sums": {name: [list(pair) for pair in pairs] for name, pairs in self.sums.items()},
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> EachQuestion:
        """Return what `to_json` made. Raises `ValueError`, `KeyError` or `TypeError` for anything else."""
        sums = {
            name: tuple((float(a), float(b)) for a, b in document["sums"][name])
            for name in _RANKING
            if name in document["sums"]
        }
        marks = tuple(map(str, document["marks"]))
        if any(len(pairs) != len(marks) for pairs in sums.values()):
            raise ValueError("not as many sums as questions")
        return cls(marks, sums)

    def rows(self, name: str, marks: Sequence[str]) -> Rows:
        """These questions alone, in this order."""
        place = {mark: i for i, mark in enumerate(self.marks)}
        return ratio_of(
            [self.sums[name][place[mark]] for mark in marks], metric_named(name).percent_of or 1.0
        )


def each_question(asked: Sequence[Conversation], rows: Mapping[str, Rows]) -> EachQuestion:
    """Return of the questions that were asked and of what was measured on them."""
    kept = {
        name: rows[name].values for name in _RANKING if name in rows and len(rows[name].values) == len(asked)
    }
    sums = {name: tuple((round(float(a), 6), float(b)) for a, b in values) for name, values in kept.items()}
    return EachQuestion(tuple(map(_mark, asked)), sums)


def _mark(conversation: Conversation) -> str:
    """Return the same for the same words, whatever file they stand in."""
    words = [conversation.tools, *((turn.role, turn.content) for turn in conversation.turns)]
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:MARK_CHARS]


def shared_marks(sides: Sequence[EachQuestion]) -> list[str]:
    """Return the questions that all were asked, in the order of the first."""
    others = [set(side.marks) for side in sides[1:]]
    return [mark for mark in dict.fromkeys(sides[0].marks) if all(mark in other for other in others)]


def paired(one: EachQuestion, other: EachQuestion, name: str, marks: Sequence[str]) -> Score:
    """Return how much more `other` has of a metric than `one`, on these questions."""
    return difference(one.rows(name, marks), other.rows(name, marks))
