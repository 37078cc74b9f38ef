"""Intervals: in which range a number would lie if other questions of the same kind had been asked (Efron,
bootstrap, 1979).

Every metric is a function of sums over questions: a mean is a sum over a count, BLEU a function of summed
matches. So one set of resampled sums serves all of them, and a difference is measured on the same resampled
questions (Koehn, EMNLP 2004).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
LEVEL = 0.95
SEED = 42
MAX_DRAWN = 2**24  # numbers in memory at once
LEAST = 5  # questions; fewer say nothing of others


@dataclass(frozen=True)
class Rows:
    """What each question adds to a metric, (questions, quantities), and how the metric follows from their
    sums.
    """

    values: NDArray[np.float64]
    metric: Callable[[NDArray[np.float64]], float]

    @property
    def value(self) -> float:
        """The metric over all questions."""
        return self.metric(self.values.sum(0))


@dataclass(frozen=True)
class Score:
    """A number and the 95 % interval around it; the interval is None where too few questions were asked."""

    value: float
    low: float | None = None
    high: float | None = None

    def to_json(self) -> dict[str, float | None]:
        """{"value", "low", "high"}, rounded."""
        return {name: None if number is None else round(number, 6) for name, number in vars(self).items()}


def mean_of(values: Sequence[float], scale: float = 1.0) -> Rows:
    """Return a metric that is the mean of one number a question."""
    return ratio_of([(value, 1.0) for value in values], scale)


def ratio_of(pairs: Sequence[tuple[float, float]], scale: float = 1.0) -> Rows:
    """Return a metric that is a sum over a sum, such as a loss over tokens."""
    return Rows(
        np.array(pairs, dtype=np.float64).reshape(-1, 2),
        lambda sums: scale * float(sums[0] / sums[1]) if sums[1] else 0.0,
    )


def scored(rows: Rows) -> Score:
    """Return the metric with its interval."""
    return _around(rows.value, _resampled(rows))


def difference(before: Rows, after: Rows) -> Score:
    """Return how much the metric grew, over the same questions. Raises `ValueError` when these are not
    equally many.
    """
    if len(before.values) != len(after.values):
        raise ValueError(f"{len(before.values)} questions before, {len(after.values)} after")
    return _around(after.value - before.value, _resampled(after) - _resampled(before))


def is_real(change: Score) -> bool | None:
    """Return whether a difference is more than chance: its interval does not hold 0. None where there is no
    interval.
    """
    if change.low is None or change.high is None:
        return None
    return not change.low <= 0 <= change.high


def _resampled(rows: Rows) -> NDArray[np.float64]:
    """Return the metric of `RESAMPLES` sets of as many questions, drawn with replacement; the same draws for
    every metric.
    """
    count = len(rows.values)
    if count < LEAST:
        return np.empty(0)
    random, fair = np.random.default_rng(SEED), np.full(count, 1 / count)
    at_once = max(1, MAX_DRAWN // count)
    found: list[float] = []
    while len(found) < RESAMPLES:
        # (resamples, questions)
        draws = random.multinomial(count, fair, min(at_once, RESAMPLES - len(found)))
        found += [rows.metric(sums) for sums in draws @ rows.values]
    return np.array(found)


def _around(value: float, resampled: NDArray[np.float64]) -> Score:
    if not len(resampled) or not math.isfinite(value) or not np.isfinite(resampled).all():
        return Score(value)
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Score(value, float(low), float(high))
