"""A plan for people: its memory as a picture, its time by parts, and the next larger models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ..message import Message, say
from ..plan.memory_fit import PART_NAMES
from ..plan.plan import Plan
from ..text.language import Translate
from ..text.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from ..plan.auto import Larger

BAR_CELLS = 32  # for all of the usable memory
Mark = Callable[[str, str], str]  # a sign, and what stands for it where the terminal cannot show it


def memory_picture(plan: Plan, t: Translate, mark: Mark) -> Iterator[tuple[str, str, str]]:
    """Yield (name, bar, size) of each part, of what is left, and of all that is usable.

    Bars begin where the one above ended, so that together they fill the usable memory, or go beyond it.
    """
    scale = max(plan.usable_bytes, plan.memory.total_bytes, 1)
    full, free = mark("█", "#"), mark("·", ".")
    begin = 0
    for name, size in plan.memory.parts.items():
        yield t(PART_NAMES.get(name, Message(name))), _bar(full, begin, size, scale), format_bytes(size)
        begin += size
    left = plan.usable_bytes - begin
    if left >= 0:
        yield t(say("left")), _bar(free, begin, left, scale), format_bytes(left)
    else:
        yield t(say("too much")), _bar(mark("×", "x"), plan.usable_bytes, -left, scale), format_bytes(-left)
    yield t(say("usable")), _bar(mark("─", "-"), 0, plan.usable_bytes, scale), format_bytes(plan.usable_bytes)


def _bar(sign: str, begin: int, size: int, scale: int) -> str:
    """Cells from `begin` on; what is there is seen, however small."""
    first = min(BAR_CELLS - 1, round(begin * BAR_CELLS / scale))
    last = max(first + (size > 0), round((begin + size) * BAR_CELLS / scale))
    return " " * first + sign * (min(BAR_CELLS, last) - first)


def time_line(plan: Plan) -> Message:
    """Return what the time is spent on, in one sentence."""
    parts = plan.time.parts
    measuring = parts["measuring_before"] + parts["measuring_after"]
    return say(
        "Time: {loading} loading, {training} training, {measuring} measuring before and after, {proving} "
        "checking.",
        loading=format_seconds(parts["loading"]),
        training=format_seconds(parts["training"]),
        measuring=format_seconds(measuring),
        proving=format_seconds(parts["proving"]),
    )


def larger_lines(plan: Plan) -> list[Message]:
    """Return the next larger model that would fit too, and the next that would not."""
    return [_larger_line(model) for model in plan.larger]


def _larger_line(larger: Larger) -> Message:
    needed = format_bytes(larger.needed_bytes)
    if not larger.fits:
        return say(
            "Larger, but does not fit with room to spare: {model} ({needed})",
            model=larger.model,
            needed=needed,
        )
    return say(
        "Larger, and would fit too: {model} ({needed}, a first run of about {time})",
        model=larger.model,
        needed=needed,
        time=format_seconds(larger.seconds),
    )
