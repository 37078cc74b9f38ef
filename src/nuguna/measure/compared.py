"""Two models on the same questions: every metric with its interval, and whether the difference is more than
chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .bootstrap import Rows, Score, difference, is_real, scored
from .scores import signatures
from .words_of import Tokenization


@dataclass(frozen=True)
class Compared:
    """Metrics by their names; `change` is how much each grew from `before` to `after`, on the same
    questions.
    """

    before: Mapping[str, Score]
    after: Mapping[str, Score]
    change: Mapping[str, Score]
    tokenization: str
    signatures: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """`scores` in report.json."""
        change = {name: {**score.to_json(), "is_real": is_real(score)} for name, score in self.change.items()}
        before, after = (
            {name: score.to_json() for name, score in side.items()} for side in (self.before, self.after)
        )
        own = {"tokenization": self.tokenization, "signatures": dict(self.signatures)}
        return {**own, "before": before, "after": after, "change": change}


def all_scored(rows: Mapping[str, Rows]) -> dict[str, Score]:
    """Return every metric with its interval."""
    return {name: scored(one) for name, one in rows.items()}


def compared(before: Mapping[str, Rows], after: Mapping[str, Rows], tokenization: Tokenization) -> Compared:
    """Return both sides, measured on the same questions in the same order."""
    change = {name: difference(before[name], after[name]) for name in before if name in after}
    return Compared(
        all_scored(before), all_scored(after), change, tokenization.name, signatures(tokenization)
    )
