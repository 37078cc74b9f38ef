"""Numbers and tables of scores, and the loss as a small curve, for the screen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.table import Table

from ..measure.compared import Compared
from ..measure.metric_table import METRICS, metric_named
from ..message import Message, say
from ..report.verdict import VERDICTS, judge
from ..text.language import Translate

CURVE_CHARS = 40
_LEVELS, _PLAIN_LEVELS = "▁▂▃▄▅▆▇█", "_.-=*#"


def number(name: str, value: float) -> str:
    """Return a metric as people read it."""
    if metric_named(name).percent_of == 1:  # a share, which people read as a percentage
        return f"{100 * value:.0f} %"
    return f"{value:,.2f}" if abs(value) < 1000 else f"{value:,.0f}"


def compared_rows(
    found: Compared, t: Translate, *, only_main: bool = False
) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield (metric, one side, the other, their difference, a verdict on it)."""
    for metric in METRICS:
        name = metric.name
        if name in found.change and (metric.is_main or not only_main):
            change = found.change[name]
            before, after = (number(name, side[name].value) for side in (found.before, found.after))
            signed = f"{'+' if change.value > 0 else ''}{number(name, change.value)}"
            yield t(metric.label), before, after, signed, t(VERDICTS[judge(metric, change)])


def compared_table(
    found: Compared, t: Translate, *, before: Message, after: Message, only_main: bool = False
) -> Table:
    """Two sides and how much they differ."""
    table = table_of(t, say("measure"), before, after, say("difference"), say("verdict"))
    for row in compared_rows(found, t, only_main=only_main):
        table.add_row(*row)
    return table


def loss_curve(losses: Sequence[float], *, plain: bool) -> str:
    """Losses from left to right as a line of blocks, each the mean of its share of the steps; "" for fewer
    than two.
    """
    finite = [loss for loss in losses if math.isfinite(loss)]
    if len(finite) < 2:
        return ""
    count = min(CURVE_CHARS, len(finite))
    edges = [round(i * len(finite) / count) for i in range(count + 1)]
    means = [sum(finite[a:b]) / (b - a) for a, b in zip(edges, edges[1:], strict=False)]
    levels, lowest, span = _PLAIN_LEVELS if plain else _LEVELS, min(means), max(means) - min(means) or 1.0
    curve = "".join(levels[min(len(levels) - 1, int((mean - lowest) / span * len(levels)))] for mean in means)
    return f"{means[0]:.2f} {curve} {means[-1]:.2f}"


def table_of(t: Translate, *titles: Message) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, title in enumerate(titles):
        table.add_column(t(title), justify="right" if 0 < i < 4 else "left", overflow="fold")
    return table
