"""The outcome of a run as values, and as the document of report.json."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ..measure.bootstrap import Score
from ..measure.compared import Compared
from ..measure.paired import EachQuestion
from ..train.step_log import LoggedStep

if TYPE_CHECKING:  # checks needs torch, a report does not
    from ..prove.check import Check


class Training(Protocol):
    """The whole training in numbers, as `train.Trained` has them."""

    @property
    def steps(self) -> int: ...
    @property
    def tokens(self) -> int: ...
    @property
    def seconds(self) -> float: ...
    @property
    def peak_memory_bytes(self) -> int: ...
    @property
    def skipped_steps(self) -> int: ...


NUM_FIRST = 12  # held-out questions that are shown as they come, and as many of the worst answered


@dataclass(frozen=True)
class Sample:
    """A held-out question, its right answer, and what the model said before and after training.

    `number` counts the held-out questions from 1. `rouge_l_before` and `rouge_l_after` are of this question
    alone, 0 to 100.
    """

    question: str
    reference: str
    before: str
    after: str
    number: int = 0
    rouge_l_before: float | None = None
    rouge_l_after: float | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """The outcome of a run. `before` and `after` are metrics by their names in report.json; `unseen` has
    both, with their intervals, on subjects that training did not contain, and is None where the data has no
    such part.
    """

    status: str  # succeeded, failed
    model: str
    data: str
    before: Mapping[str, float]
    after: Mapping[str, float]
    unseen: Compared | None
    train: Training
    checks: tuple[Check, ...]
    samples: tuple[Sample, ...]
    scores: Compared | None = None  # `before` and `after` with their intervals; None without a measurement
    each: EachQuestion | None = None  # the same of the trained model, question by question
    system: str = ""  # a system prompt that stood in every conversation
    num_heldout: int = 0  # questions that `before` and `after` were measured on

    def to_json(self) -> dict[str, Any]:
        """Return the document of report.json. A metric that is not a finite number is null, since JSON has no
        such numbers.
        """
        return {
            "status": self.status,
            "model": self.model,
            "data": self.data,
            "before": _finite(self.before),
            "after": _finite(self.after),
            "train": {
                "steps": self.train.steps,
                "tokens": self.train.tokens,
                "seconds": round(self.train.seconds, 3),
                "tokens_per_second": round(tokens_per_second(self.train), 1),
                "peak_memory_bytes": self.train.peak_memory_bytes,
                "skipped_steps": self.train.skipped_steps,
            },
            "checks": [check.to_json() for check in self.checks],
            "unseen": None
            if self.unseen is None
            else {"before": _values(self.unseen.before), "after": _values(self.unseen.after)},
            "scores": None if self.scores is None else self.scores.to_json(),
            "unseen_scores": None if self.unseen is None else self.unseen.to_json(),
            "each_question": None if self.each is None else self.each.to_json(),
            "system_prompt": self.system,
            "num_heldout": self.num_heldout,
            "samples": [asdict(sample) for sample in self.samples],
        }


def _finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def _values(scores: Mapping[str, Score]) -> dict[str, float | None]:
    """Scores without their intervals."""
    return _finite({name: round(score.value, 6) for name, score in scores.items()})


def loss_curve(steps: Sequence[LoggedStep]) -> list[tuple[int, float]]:
    """Return (step, training loss) of every step that was not skipped."""
    return [(step.step, step.loss) for step in steps if step.loss is not None]


def tokens_per_second(train: Training) -> float:
    """Over the whole training; 0 where no time was taken."""
    return train.tokens / train.seconds if train.seconds > 0 else 0.0
