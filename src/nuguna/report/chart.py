"""Charts of one training or several: lines, marks and axes in the coordinates of their view boxes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..message import Message, say
from ..text.language import Translate
from ..train.step_log import LoggedStep

MAX_POINTS = 500  # more than there are pixels to tell them apart
Points = Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Frame:
    """A view box and the field for lines within it."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int


LARGE = Frame(760, 320, 56, 742, 20, 262)
SMALL = Frame(360, 212, 52, 346, 14, 158)
SEVERAL = Frame(760, 320, 56, 708, 20, 262)  # with room for a name behind each line
NAME_HEIGHT = 26  # of names at the ends of lines, as large as a phone shows them


@dataclass(frozen=True)
class Mark:
    """One measurement beside the lines."""

    x: float
    y: float
    label: str
    is_after: bool


@dataclass(frozen=True)
class Chart:
    """One chart, ready to be drawn: `raw` and `smooth` are points of polylines, marks on axes are (place,
    label).
    """

    name: str
    title: str
    description: str
    frame: Frame
    raw: str
    smooth: str
    end: tuple[float, float]
    x_marks: tuple[tuple[float, str], ...]
    y_marks: tuple[tuple[float, str], ...]
    marks: tuple[Mark, ...] = ()
    smoothed: str = ""


@dataclass(frozen=True)
class Curve:
    """The loss of one of several runs: points of a polyline, its end, the height of its name, first and last
    value in words.
    """

    points: str
    end: tuple[float, float]
    label: str
    label_y: float
    summary: str


@dataclass(frozen=True)
class Curves:
    """Losses of several runs in one chart; None in the place of a run that recorded none."""

    name: str
    title: str
    description: str
    frame: Frame
    curves: tuple[Curve | None, ...]
    x_marks: tuple[tuple[float, str], ...]
    y_marks: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class _Scale:
    """Steps and values → places in a frame; the marks enclose them."""

    frame: Frame
    x_marks: list[float]
    y_marks: list[float]
    last_step: int

    def place(self, step: float, value: float) -> tuple[float, float]:
        frame = self.frame
        x = frame.left + (frame.right - frame.left) * step / max(self.x_marks[-1], self.last_step)
        share = (value - self.y_marks[0]) / (self.y_marks[-1] - self.y_marks[0])
        return round(x, 1), round(frame.bottom - (frame.bottom - frame.top) * share, 1)

    def line(self, points: Points) -> str:
        stride = math.ceil(len(points) / MAX_POINTS)
        kept = [*points[:-1:stride], points[-1]]
        return " ".join(f"{x:g},{y:g}" for x, y in (self.place(*point) for point in kept))

    def x_labels(self) -> tuple[tuple[float, str], ...]:
        return tuple(
            (self.place(mark, self.y_marks[0])[0], f"{mark:,.0f}")
            for mark in self.x_marks
            if mark == round(mark)
        )

    def y_labels(self) -> tuple[tuple[float, str], ...]:
        return tuple((self.place(0, mark)[1], _label(mark)) for mark in self.y_marks)


def _scale(frame: Frame, last_step: int, lowest: float, highest: float) -> _Scale:
    count = 3 if frame is SMALL else 5
    return _Scale(frame, _marks(0, last_step, count), _marks(lowest, highest, count), last_step)


def loss_curves(runs: Sequence[tuple[str, Sequence[LoggedStep]]], t: Translate) -> Curves | None:
    """Return the smoothed training losses of (name, steps), each with its name at its end; None where no run
    recorded one.
    """
    found = [(name, _points(steps, lambda step: step.loss)) for name, steps in runs]
    smooth = [(name, _smooth(points, _window(points)) if points else []) for name, points in found]
    drawn = [points for _, points in smooth if points]
    if not drawn:
        return None
    values = [value for points in drawn for _, value in points]
    scale = _scale(SEVERAL, max(points[-1][0] for points in drawn), min(values), max(values))
    ends = [scale.place(*points[-1]) if points else None for _, points in smooth]
    heights = iter(_apart([end[1] for end in ends if end is not None], SEVERAL))
    sentences: list[str] = []
    curves: list[Curve | None] = []
    for (name, points), end in zip(smooth, ends, strict=True):
        if end is None:
            curves.append(None)
            continue
        first, last = points[0], points[-1]
        summary = f"{first[1]:.2f} → {last[1]:.2f}"
        sentences.append(
            t(
                say(
                    "{name}: {first} at step {first_step}, {last} at step {last_step}.",
                    name=name,
                    first=f"{first[1]:.2f}",
                    first_step=first[0],
                    last=f"{last[1]:.2f}",
                    last_step=last[0],
                )
            )
        )
        curves.append(Curve(scale.line(points), end, name, next(heights), summary))
    title = t(say("Training loss, smoothed"))
    return Curves(
        "losses", title, " ".join(sentences), SEVERAL, tuple(curves), scale.x_labels(), scale.y_labels()
    )


def _apart(heights: Sequence[float], frame: Frame) -> list[float]:
    """Heights moved as little as need be for names to stand clear of each other, within the frame as far as
    there is room.
    """
    gap = min(NAME_HEIGHT, (frame.bottom - frame.top) / max(1, len(heights) - 1))
    order = sorted(range(len(heights)), key=heights.__getitem__)
    moved = list(heights)
    for above, below in zip(order, order[1:], strict=False):
        moved[below] = max(moved[below], moved[above] + gap)
    limit = float(frame.bottom)
    for i in reversed(order):
        moved[i] = min(moved[i], limit)
        limit = moved[i] - gap
    return [round(height, 1) for height in moved]


def loss_chart(
    steps: Sequence[LoggedStep], heldout: tuple[float | None, float | None], t: Translate
) -> Chart | None:
    """Return the training loss over the steps, and the held-out loss before and after them; None without a
    finite loss.
    """
    points = _points(steps, lambda step: step.loss)
    if not points:
        return None
    smooth = _smooth(points, _window(points))
    first, last = smooth[0], smooth[-1]
    description = say(
        "Smoothed, the training loss went from {first} at step {first_step} to {last} at step {last_step}.",
        first=f"{first[1]:.3f}",
        first_step=first[0],
        last=f"{last[1]:.3f}",
        last_step=last[0],
    )
    measured = [
        (step, loss, is_after)
        for step, loss, is_after in ((0, heldout[0], False), (points[-1][0], heldout[1], True))
        if loss is not None and math.isfinite(loss)
    ]
    levels = [loss for _, loss, _ in measured]
    return _chart(
        LARGE, "loss", say("Training loss"), description, points, t, levels=levels, measured=measured
    )


def small_charts(steps: Sequence[LoggedStep], t: Translate) -> list[Chart]:
    """Learning rate, speed and memory over the steps; what was never anything but 0 was not measured and is
    left out.
    """
    most = max((step.memory_bytes for step in steps), default=0)
    unit, size = ("GiB", 2**30) if most >= 2**30 else ("MiB", 2**20)
    kinds: list[tuple[str, Message, Points]] = [
        ("rate", say("Learning rate"), _points(steps, lambda step: step.learning_rate)),
        ("speed", say("Tokens per second"), _points(steps, lambda step: step.tokens_per_second)),
        ("memory", say("Memory ({unit})", unit=unit), _points(steps, lambda step: step.memory_bytes / size)),
    ]
    charts = []
    for name, title, points in kinds:
        highest = max((value for _, value in points), default=0.0)
        if highest <= 0:
            continue
        description = say(
            "{title}: {highest} at most, {last} at the end.",
            title=title,
            highest=f"{highest:,.4g}",
            last=f"{points[-1][1]:,.4g}",
        )
        charts.append(_chart(SMALL, name, title, description, points, t, levels=[0.0]))
    return charts


def _points(
    steps: Sequence[LoggedStep], value: Callable[[LoggedStep], float | None]
) -> list[tuple[int, float]]:
    pairs = ((step.step, value(step)) for step in steps)
    return [(step, found) for step, found in pairs if found is not None and math.isfinite(found)]


def _chart(
    frame: Frame,
    name: str,
    title: Message,
    description: Message,
    points: Points,
    t: Translate,
    *,
    levels: Sequence[float],
    measured: Sequence[tuple[int, float, bool]] = (),
) -> Chart:
    """`levels` are values that the axis must hold too."""
    values = [value for _, value in points] + list(levels)
    window = _window(points) if name != "rate" else 0  # nothing to smooth in a schedule
    smooth = _smooth(points, window)
    scale = _scale(frame, points[-1][0], min(values), max(values))
    return Chart(
        name=name,
        title=t(title),
        description=t(description),
        frame=frame,
        raw=scale.line(points) if window else "",
        smooth=scale.line(smooth),
        end=scale.place(*smooth[-1]),
        x_marks=scale.x_labels(),
        y_marks=scale.y_labels(),
        marks=tuple(
            Mark(*scale.place(step, value), f"{value:.2f}", is_after) for step, value, is_after in measured
        ),
        smoothed=t(say("mean of {count} steps", count=2 * window + 1)),
    )


def _label(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.6g}"


def _window(points: Points) -> int:
    return max(1, len(points) // 40)


def _smooth(points: Points, window: int) -> list[tuple[int, float]]:
    """Return the mean of each point and up to `window` neighbours on either side."""
    sums = [0.0]
    for _, value in points:
        sums.append(sums[-1] + value)
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
