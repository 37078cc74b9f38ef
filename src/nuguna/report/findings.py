"""What was found, in the words that page and card share: the numbers, the checks, and what the result cannot
do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..data.facts import DEMO
from ..measure.bootstrap import Score
from ..measure.compared import Compared
from ..measure.metric_table import ON_PAGES, Metric
from ..message import Message, say
from ..plan.settings import SETTINGS
from ..prove.check import title_of
from ..text.language import Translate
from .outcome import Report
from .verdict import VERDICTS, judge

if TYPE_CHECKING:
    from ..prove.check import Check

NUMBERS_INTRO = say("Every number was measured on questions held out from training, before and after it.")
INTERVALS_INTRO = say(
    "Other questions would have given slightly different numbers: in 95 of 100 cases they lie within the "
    "range beside each number. A difference counts as real when its whole range lies on one side of zero."
)
ROOM = 1.08  # above the largest number of a metric that has no upper bound


def numbers(report: Report, t: Translate) -> list[dict[str, Any]]:
    """Return all that was measured, each with the same on unseen subjects beside it."""
    shown = []
    for metric in ON_PAGES:
        if metric.name not in report.before and metric.name not in report.after:
            continue
        main, unseen = _sides(metric.name, report), report.unseen
        beside = None
        if unseen is not None and (metric.name in unseen.before or metric.name in unseen.after):
            beside = _number(
                metric, (unseen.before.get(metric.name), unseen.after.get(metric.name)), unseen, t
            )
        shown.append({**_number(metric, main, report.scores, t), "unseen": beside})
    return shown


def between(metric: Metric, score: Score | None, t: Translate, *, signed: bool = False) -> str:
    """Return an interval in words; empty where there is none."""
    if score is None or score.low is None or score.high is None:
        return ""
    low, high = (metric.show(value, signed=signed) for value in (score.low, score.high))
    if low == high:  # all questions alike, such as 100 % of them: no range to speak of
        return ""
    return t(say("{low} to {high}", low=low.removesuffix(metric.unit), high=high))


def _number(
    metric: Metric, sides: tuple[Score | None, Score | None], compared: Compared | None, t: Translate
) -> dict[str, Any]:
    """Return one metric as texts: both sides and their difference with their ranges, and where they lie on a
    scale.
    """
    change = compared.change.get(metric.name) if compared is not None else None
    verdict = judge(metric, change) if change is not None else ""
    top = top_of(metric, sides)
    return {
        **describe_metric(metric, t),
        "before": metric.show(sides[0].value if sides[0] else None),
        "after": metric.show(sides[1].value if sides[1] else None),
        "before_range": between(metric, sides[0], t),
        "after_range": between(metric, sides[1], t),
        "change": metric.show(change.value, signed=True) if change is not None else "—",
        "change_range": between(metric, change, t, signed=True),
        "verdict": verdict,
        "verdict_text": t(VERDICTS[verdict]) if verdict else "",
        "strips": [strip(side, top) for side in sides],
    }


def describe_metric(metric: Metric, t: Translate) -> dict[str, Any]:
    """Return what a metric is, as texts."""
    return {
        "name": metric.name,
        "technical": metric.technical,
        "title": t(metric.title),
        "meaning": t(metric.meaning),
        "higher_is_better": metric.higher_is_better,
        "direction": t(metric.direction),
    }


def split_cards(
    shown: Sequence[dict[str, Any]], groups: Sequence[Sequence[str]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the numbers that say most, of each group of names the first there is, and all others."""
    by_name = {number["name"]: number for number in shown}
    found = (next((by_name[name] for name in names if name in by_name), None) for names in groups)
    cards = [number for number in found if number is not None]
    return cards, [number for number in shown if number not in cards]


def meaning_of_setting(name: str, t: Translate) -> str:
    """Return what a setting means; empty for a value of a plan that is none."""
    return next((t(setting.meaning) for setting in SETTINGS if setting.name == name), "")


def _sides(name: str, report: Report) -> tuple[Score | None, Score | None]:
    """Return a metric before and after, with its interval where there is one."""

    def side(values: Mapping[str, float], scores: Mapping[str, Score]) -> Score | None:
        return scores.get(name) or (Score(values[name]) if name in values else None)

    before, after = ({}, {}) if report.scores is None else (report.scores.before, report.scores.after)
    return side(report.before, before), side(report.after, after)


def top_of(metric: Metric, scores: Sequence[Score | None]) -> float:
    """Return the end of the scale on which these numbers and their ranges are drawn."""
    largest = (
        score.value if score.high is None else max(score.value, score.high)
        for score in scores
        if score is not None
    )
    return metric.percent_of or ROOM * max(
        (one for one in largest if math.isfinite(one) and one > 0), default=1.0
    )


def strip(score: Score | None, top: float) -> dict[str, float] | None:
    """Return where a number and its range lie on a scale from 0 to `top`, as percentages."""
    if score is None or not math.isfinite(score.value):
        return None

    def place(value: float) -> float:
        return round(min(100.0, max(0.0, 100 * value / top)), 1)

    low, high = (score.value if end is None else end for end in (score.low, score.high))
    return {"at": place(score.value), "low": place(low), "width": round(place(high) - place(low), 1)}


def describe_check(check: Check, t: Translate) -> dict[str, Any]:
    """Return one check as texts."""
    title = title_of(check.name)
    return {
        "title": t(title) if isinstance(title, Message) else title,
        "name": check.name,
        "passed": check.passed,
        "detail": t(check.detail),
        "fix": t(check.fix) if check.fix is not None and not check.passed else "",
    }


def limits(report: Report) -> list[Message]:
    """Return what people should know before they rely on the result."""
    general = [
        say("It says wrong things as confidently as right ones. Check what matters."),
        say("It knows what its base model and the data taught it, and nothing that happened since."),
    ]
    if report.data != DEMO:
        return general
    return [
        say(
            "It was trained on medical questions for practice. Its answers are not medical advice: ask a "
            "doctor."
        ),
        *general,
    ]
