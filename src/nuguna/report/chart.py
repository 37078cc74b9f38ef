"""The loss chart: lines and axis marks in the coordinates of its view box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..language import Translate
from ..message import say

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 320, 66, 18, 18, 58
MOST_POINTS = 500  # more than there are pixels to tell them apart


def loss_chart(losses: Sequence[tuple[int, float]], t: Translate) -> dict[str, Any] | None:
    """Lines and axis marks of the loss chart in the coordinates of its view box; None without a finite loss."""
    points = [(step, loss) for step, loss in losses if math.isfinite(loss)]
    if not points:
        return None
    window = max(1, len(points) // 40)
    smooth = _smooth(points, window)
    x_marks = _marks(0, max(step for step, _ in points), 5)
    y_marks = _marks(min(loss for _, loss in points), max(loss for _, loss in points), 5)

    def place(step: float, loss: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - RIGHT) * step / max(x_marks[-1], points[-1][0])
        return round(x, 1), round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (loss - y_marks[0]) / (y_marks[-1] - y_marks[0]), 1)

    def line(path: Sequence[tuple[int, float]]) -> str:
        stride = math.ceil(len(path) / MOST_POINTS)
        kept = [*path[:-1:stride], path[-1]]
        return " ".join(f"{x:g},{y:g}" for x, y in (place(*point) for point in kept))

    first, last = smooth[0], smooth[-1]
    description = say(
        "Smoothed, the training loss went from {first} at step {first_step} to {last} at step {last_step}.",
        first=f"{first[1]:.3f}",
        first_step=first[0],
        last=f"{last[1]:.3f}",
        last_step=last[0],
    )
    return {
        "box": (WIDTH, HEIGHT, LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM),
        "raw": line(points),
        "smooth": line(smooth),
        "end": place(*last),
        "x_marks": [(place(mark, y_marks[0])[0], f"{mark:,.0f}") for mark in x_marks],
        "y_marks": [(place(0, mark)[1], f"{mark:.6g}") for mark in y_marks],
        "description": t(description),
        "smoothed": t(say("mean of {count} steps", count=2 * window + 1)),
    }


def _smooth(points: Sequence[tuple[int, float]], window: int) -> list[tuple[int, float]]:
    """The mean of each point and up to `window` neighbours on either side."""
    sums = [0.0]
    for _, loss in points:
        sums.append(sums[-1] + loss)
    smooth = []
    for i, (step, _) in enumerate(points):
        low, high = max(0, i - window), min(len(points), i + window + 1)
        smooth.append((step, (sums[high] - sums[low]) / (high - low)))
    return smooth


def _marks(lowest: float, highest: float, count: int) -> list[float]:
    """About `count` round numbers that enclose a range: multiples of 1, 2 or 5 times a power of ten."""
    span = highest - lowest or max(abs(highest), 1.0)
    power = 10.0 ** math.floor(math.log10(span / count))
    size = next(power * factor for factor in (1, 2, 5, 10) if power * factor * count >= span * 0.999)
    first, last = math.floor(lowest / size), math.ceil(highest / size)
    return [round(size * i, 10) for i in range(first, max(last, first + 1) + 1)]
