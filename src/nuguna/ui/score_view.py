"""Scores on the screen: of a file of pairs, and of models side by side."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table

from ..message import Message, say
from ..metrics.bootstrap import Score, is_real
from ..metrics.compared import Compared
from .screen import Screen
from .words import METRIC_NAMES

PERCENT = frozenset({"stop_rate"})  # shares of 1 that people read as percentages
LOWER_IS_BETTER = frozenset({"loss", "perplexity", "repetition"})
NEITHER = frozenset({"answer_words"})


def number(name: str, value: float) -> str:
    """A metric as people read it."""
    if name in PERCENT:
        return f"{100 * value:.0f} %"
    return f"{value:,.2f}" if abs(value) < 1000 else f"{value:,.0f}"


def show_scores(scores: Mapping[str, Score], tokenization: str, num_pairs: int, screen: Screen) -> None:
    """A table of one side, with intervals, and what they rest on."""
    table = _table(screen, say("measure"), say("value"), say("95 of 100 times between"))
    for name in filter(scores.__contains__, METRIC_NAMES):
        score = scores[name]
        table.add_row(screen.t(METRIC_NAMES[name]), number(name, score.value), _between(name, score))
    screen.console.print(table)
    screen.line(
        screen.t(
            say(
                "{count} pairs, texts taken apart by: {tokenization}",
                count=f"{num_pairs:,}",
                tokenization=_way(tokenization, screen),
            )
        )
    )


def show_compared(found: Compared, screen: Screen, *, before: Message, after: Message) -> None:
    """Two sides and how much they differ, with a verdict for each difference."""
    table = _table(screen, say("measure"), before, after, say("difference"), say("verdict"))
    for name in filter(found.change.__contains__, METRIC_NAMES):
        change = found.change[name]
        sides = (number(name, side[name].value) for side in (found.before, found.after))
        table.add_row(screen.t(METRIC_NAMES[name]), *sides, f"{_signed(name, change.value)}", screen.t(verdict(name, change)))
    screen.console.print(table)
    screen.line(screen.t(say("Texts are taken apart by: {tokenization}", tokenization=_way(found.tokenization, screen))))


def verdict(name: str, change: Score) -> Message:
    """Whether a difference is more than chance, and in which direction."""
    real = is_real(change)
    if real is None:
        return say("too few questions to tell")
    if not real:
        return say("could be chance")
    if name in NEITHER:
        return say("really different")
    return say("really better") if (change.value > 0) != (name in LOWER_IS_BETTER) else say("really worse")


def _way(tokenization: str, screen: Screen) -> str:
    ways = {"words": say("words"), "words+particles": say("words and particles (pip install kiwipiepy: by morphemes)")}
    return screen.t(ways[tokenization]) if tokenization in ways else tokenization


def _between(name: str, score: Score) -> str:
    if score.low is None or score.high is None:
        return "-"
    return f"{number(name, score.low)} - {number(name, score.high)}"


def _signed(name: str, value: float) -> str:
    return f"{'+' if value > 0 else ''}{number(name, value)}"


def _table(screen: Screen, *titles: Message) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, title in enumerate(titles):
        table.add_column(screen.t(title), justify="right" if 0 < i < 4 else "left")
    return table
