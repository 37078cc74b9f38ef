"""Scores on the screen: of a file of pairs, and of models side by side; and the loss as a small curve."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from ..language import Translate
from ..message import Message, say
from ..metrics.bootstrap import Score
from ..metrics.compared import Compared, all_scored
from ..report.measures import measure_named
from ..report.ranking import rank
from ..report.verdict import VERDICTS, judge
from ..units import format_bytes, format_seconds
from .words import METRIC_NAMES, SETTING_NAMES

if TYPE_CHECKING:  # the first brings torch, the second shows what stands here
    from ..examination import Examined
    from ..report.ranking import Comparison
    from .screen import Screen

MAIN = ("loss", "perplexity", "rouge_l", "bleu", "chrf", "key_terms", "stop_rate")  # what a run shows; the report has all
SHARES = frozenset({"stop_rate"})  # of 1, which people read as percentages
CURVE_CHARS = 40
_LEVELS, _PLAIN_LEVELS = "▁▂▃▄▅▆▇█", "_.-=*#"


def number(name: str, value: float) -> str:
    """A metric as people read it."""
    if name in SHARES:
        return f"{100 * value:.0f} %"
    return f"{value:,.2f}" if abs(value) < 1000 else f"{value:,.0f}"


def compared_rows(
    found: Compared, t: Translate, names: Collection[str] = METRIC_NAMES
) -> Iterator[tuple[str, str, str, str, str]]:
    """(metric, one side, the other, their difference, a verdict on it)."""
    for name in METRIC_NAMES:
        if name in names and name in found.change:
            change = found.change[name]
            before, after = (number(name, side[name].value) for side in (found.before, found.after))
            signed = f"{'+' if change.value > 0 else ''}{number(name, change.value)}"
            yield t(METRIC_NAMES[name]), before, after, signed, t(VERDICTS[judge(measure_named(name), change)])


def compared_table(
    found: Compared, t: Translate, *, before: Message, after: Message, names: Collection[str] = METRIC_NAMES
) -> Table:
    """Two sides and how much they differ."""
    table = _table(t, say("measure"), before, after, say("difference"), say("verdict"))
    for row in compared_rows(found, t, names):
        table.add_row(*row)
    return table


def show_scores(scores: Mapping[str, Score], tokenization: str, num_pairs: int, screen: Screen) -> None:
    """One side with its intervals, and what they rest on."""
    table = _table(screen.t, say("measure"), say("value"), say("95 of 100 times between"))
    for name in filter(scores.__contains__, METRIC_NAMES):
        score = scores[name]
        table.add_row(screen.t(METRIC_NAMES[name]), number(name, score.value), _between(name, score))
    screen.console.print(table)
    way = _way(tokenization, screen.t)
    screen.line(screen.t(say("{count} pairs, texts taken apart by: {tokenization}", count=f"{num_pairs:,}", tokenization=way)))


def show_examined(found: Examined, screen: Screen) -> None:
    """One side with its intervals, or both with their difference."""
    screen.end_bar()
    if (change := found.change) is None:
        for side in found.sides.values():
            show_scores(all_scored(side.rows), side.tokenization.name, len(found.questions), screen)
        return
    screen.console.print(compared_table(change, screen.t, before=say("base"), after=say("tuned")))
    screen.line(screen.t(say("Texts are taken apart by: {tokenization}", tokenization=_way(change.tokenization, screen.t))))


def show_tasks(document: Mapping[str, Any], screen: Screen) -> None:
    """What each side reaches on standard tasks, with the standard errors of the harness."""
    screen.end_bar()
    sides = [side for side in ("base", "tuned") if side in document]
    table = _table(screen.t, say("task"), *({"base": say("base"), "tuned": say("tuned")}[side] for side in sides))
    for task, found in document[sides[0]]["tasks"].items():
        for metric in found["metrics"]:
            cells = (document[side]["tasks"][task]["metrics"][metric] for side in sides)
            table.add_row(f"{task}: {metric}", *map(_with_error, cells))
    screen.console.print(table)


def _with_error(cell: Mapping[str, Any]) -> str:
    value, error = cell["value"], cell.get("stderr")
    if not isinstance(value, float | int):
        return "–"  # the harness has tasks where a metric means nothing
    return f"{value:.4f}" if not isinstance(error, float | int) else f"{value:.4f} ± {error:.4f}"


def loss_curve(losses: Sequence[float], *, plain: bool) -> str:
    """Losses from left to right as a line of blocks, each the mean of its share of the steps; "" for fewer than two."""
    finite = [loss for loss in losses if math.isfinite(loss)]
    if len(finite) < 2:
        return ""
    count = min(CURVE_CHARS, len(finite))
    edges = [round(i * len(finite) / count) for i in range(count + 1)]
    means = [sum(finite[a:b]) / (b - a) for a, b in zip(edges, edges[1:], strict=False)]
    levels, lowest, span = _PLAIN_LEVELS if plain else _LEVELS, min(means), max(means) - min(means) or 1.0
    curve = "".join(levels[min(len(levels) - 1, int((mean - lowest) / span * len(levels)))] for mean in means)
    return f"{means[0]:.2f} {curve} {means[-1]:.2f}"


def _way(tokenization: str, t: Translate) -> str:
    ways = {"words": say("words"), "words+particles": say("words and particles (with kiwipiepy installed: morphemes)")}
    return t(ways[tokenization]) if tokenization in ways else tokenization


def _between(name: str, score: Score) -> str:
    if score.low is None or score.high is None:
        return "-"
    return f"{number(name, score.low)} - {number(name, score.high)}"


def _table(t: Translate, *titles: Message) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, title in enumerate(titles):
        table.add_column(t(title), justify="right" if 0 < i < 4 else "left", overflow="fold")
    return table


def show_comparison(found: Comparison, screen: Screen) -> None:
    """Settings that differ, then the numbers; a star stands where one run is better than all others by more than chance."""
    t, star = screen.t, screen.mark("★", "*")
    table = _table(t, say("measure"), *(say("{name}", name=run.name) for run in found.runs))
    for name, values in found.differing.items():
        table.add_row(t(SETTING_NAMES.get(name, say("{name}", name=name))), *map(str, values))
    table.add_section()
    scores = found.scores()
    for name in filter(scores.__contains__, METRIC_NAMES):
        best = found.best(name)
        cells = ["-" if score is None else number(name, score.value) for score in scores[name]]
        table.add_row(t(METRIC_NAMES[name]), *(f"{star} {cell}" if i == best else cell for i, cell in enumerate(cells)))
    table.add_section()
    table.add_row(t(say("training time")), *(format_seconds(run.training["seconds"]) for run in found.runs))
    table.add_row(t(say("tokens a second")), *(f"{run.training['tokens_per_second']:,.0f}" for run in found.runs))
    table.add_row(t(say("most memory")), *(format_bytes(int(run.training["peak_memory_bytes"])) for run in found.runs))
    table.add_row(
        t(say("checks")), *(t(say("passed")) if run.status == "succeeded" else t(say("not passed")) for run in found.runs)
    )
    screen.console.print(table)
    for warning in found.warnings:
        screen.line(f"{screen.mark('⚠', '!')} {t(warning)}", style="yellow")
    screen.line(t(say("{star}: better than every other run by more than chance", star=star)))
    verdict = rank(found)
    screen.line(t(verdict.headline), style="bold")
    for reason in verdict.reasons:
        screen.line("  " + t(reason))
