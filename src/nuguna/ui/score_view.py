"""Scores on the screen: of a file of pairs, and of models side by side; and the loss as a small curve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..measure.bootstrap import Score
from ..measure.compared import all_scored
from ..measure.metric_table import METRICS
from ..message import say
from ..plan.plan_values import PLAN_VALUES
from ..report.ranking import rank
from ..text.language import Translate
from ..text.units import format_bytes, format_seconds
from .tables import compared_table, number, table_of

if TYPE_CHECKING:  # the first brings torch, the second shows what stands here
    from ..jobs.evaluate import Examined
    from ..report.ranking import Comparison
    from .screen import Screen


def show_scores(scores: Mapping[str, Score], tokenization: str, num_pairs: int, screen: Screen) -> None:
    """One side with its intervals, and what they rest on."""
    table = table_of(screen.t, say("measure"), say("value"), say("95 of 100 times between"))
    for metric in METRICS:
        if (score := scores.get(metric.name)) is not None:
            table.add_row(
                screen.t(metric.label), number(metric.name, score.value), _between(metric.name, score)
            )
    screen.console.print(table)
    way = _way(tokenization, screen.t)
    screen.line(
        screen.t(
            say("{count} pairs, texts split into: {tokenization}", count=f"{num_pairs:,}", tokenization=way)
        )
    )


def show_examined(found: Examined, screen: Screen) -> None:
    """One side with its intervals, or both with their difference."""
    screen.end_bar()
    if (change := found.change) is None:
        for side in found.sides.values():
            show_scores(all_scored(side.rows), side.tokenization.name, len(found.questions), screen)
        return
    screen.console.print(compared_table(change, screen.t, before=say("base"), after=say("tuned")))
    screen.line(
        screen.t(
            say("Texts are split into: {tokenization}", tokenization=_way(change.tokenization, screen.t))
        )
    )


def show_tasks(document: Mapping[str, Any], screen: Screen) -> None:
    """What each side reaches on standard tasks, with the standard errors of the harness."""
    screen.end_bar()
    sides = [side for side in ("base", "tuned") if side in document]
    table = table_of(
        screen.t, say("task"), *({"base": say("base"), "tuned": say("tuned")}[side] for side in sides)
    )
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


def _way(tokenization: str, t: Translate) -> str:
    ways = {
        "words": say("words"),
        "words+particles": say("words and particles (with kiwipiepy installed: morphemes)"),
    }
    return t(ways[tokenization]) if tokenization in ways else tokenization


def _between(name: str, score: Score) -> str:
    if score.low is None or score.high is None:
        return "-"
    return f"{number(name, score.low)} - {number(name, score.high)}"


def show_comparison(found: Comparison, screen: Screen) -> None:
    """Settings that differ, then the numbers; a star stands where one run is better than all others by more
    than chance.
    """
    t, star = screen.t, screen.mark("★", "*")
    table = table_of(t, say("measure"), *(say("{name}", name=run.name) for run in found.runs))
    for name, values in found.differing.items():
        table.add_row(t(PLAN_VALUES[name].title), *map(str, values))
    table.add_section()
    scores = found.scores()
    for metric in METRICS:
        if metric.name not in scores:
            continue
        best = found.best(metric.name)
        cells = ["-" if score is None else number(metric.name, score.value) for score in scores[metric.name]]
        table.add_row(
            t(metric.label), *(f"{star} {cell}" if i == best else cell for i, cell in enumerate(cells))
        )
    table.add_section()
    table.add_row(t(say("training time")), *(format_seconds(run.training["seconds"]) for run in found.runs))
    table.add_row(
        t(say("tokens per second")), *(f"{run.training['tokens_per_second']:,.0f}" for run in found.runs)
    )
    table.add_row(
        t(say("peak memory")), *(format_bytes(int(run.training["peak_memory_bytes"])) for run in found.runs)
    )
    table.add_row(
        t(say("checks")),
        *(t(say("passed")) if run.status == "succeeded" else t(say("not passed")) for run in found.runs),
    )
    screen.console.print(table)
    for warning in found.warnings:
        screen.line(f"{screen.mark('⚠', '!')} {t(warning)}", style="yellow")
    screen.line(t(say("{star}: better than every other run by more than chance", star=star)))
    verdict = rank(found)
    screen.line(t(verdict.headline), style="bold")
    for reason in verdict.reasons:
        screen.line("  " + t(reason))
