"""What was found, in the words that page and card share: the numbers, the checks, and what the result cannot do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..data.read import DEMO
from ..language import Translate
from ..message import Message, say
from .outcome import Report

if TYPE_CHECKING:
    from ..checks import Check

NUMBERS_INTRO = say("Every number was measured on questions that were kept out of the training, before it and after it.")
CHECK_TITLES = {
    "adapter_weights": say("The adapter learned something and is not damaged"),
    "base_unchanged": say("The base model was left as it was"),
    "reloads_the_same": say("The saved result loads again and computes the same"),
    "changes_the_model": say("The adapter changes what the model says"),
    "heldout_loss_fell": say("It does better on questions it was not trained on"),
    "answers_stop": say("Its answers come to an end"),
}


@dataclass(frozen=True)
class _Metric:
    """A metric as it is explained to someone who has never heard of it."""

    name: str
    technical: str  # what papers call it; the same in every language
    title: Message
    meaning: Message
    higher_is_better: bool = True
    percent_of: float | None = None  # the value that is 100 %; None: no upper bound
    unit: str = ""
    decimals: int = 1


METRICS = (
    _Metric(
        "rouge_l",
        "ROUGE-L",
        say("Like the right answer"),
        say("How many words the answer shares with the right answer, in the same order. 100 is word for word; 0 is nothing."),
        percent_of=100,
    ),
    _Metric(
        "key_terms",
        "",
        say("Key terms said"),
        say("Of the terms that a right answer must contain, how many the answer really names."),
        percent_of=100,
        unit=" %",
    ),
    _Metric(
        "bleu",
        "BLEU",
        say("Same phrases"),
        say("How many runs of up to four words are the same as in the right answer. Strict: even good answers seldom reach 100."),
        percent_of=100,
    ),
    _Metric(
        "chrf",
        "chrF",
        say("Same letters"),
        say("How many short runs of letters are the same. Fair to Korean, where endings change the words."),
        percent_of=100,
    ),
    _Metric(
        "stop_rate",
        "",
        say("Ends by itself"),
        say("How many answers came to an end by themselves instead of being cut off at the length limit."),
        percent_of=1,
        unit=" %",
        decimals=0,
    ),
    _Metric(
        "loss",
        "loss",
        say("Surprise"),
        say("How much the right answers surprise the model. This is what training pushes down."),
        higher_is_better=False,
        decimals=3,
    ),
    _Metric(
        "perplexity",
        "perplexity",
        say("Hesitation"),
        say("Among about how many pieces of words the model wavers each time. 1 would be no doubt at all."),
        higher_is_better=False,
    ),
)


def _show(metric: _Metric, value: float | None) -> str:
    """A metric as people read it; what was not measured, or is not a number, is a dash."""
    if value is None or not math.isfinite(value):
        return "—"
    if metric.percent_of == 1:
        value *= 100
    if abs(value) >= 1e6:
        return f"{value:.1e}"
    return f"{value:,.{0 if value >= 1000 else metric.decimals}f}{metric.unit}"


def _number(metric: _Metric, before: Mapping[str, float], after: Mapping[str, float], t: Translate) -> dict[str, Any]:
    """One before → after pair: texts, and how long its bars are (None without an upper bound)."""
    old, new = before.get(metric.name), after.get(metric.name)
    old_text, new_text = _show(metric, old), _show(metric, new)
    verdict = ""
    if old is not None and new is not None and math.isfinite(old) and math.isfinite(new):
        verdict = "same" if old_text == new_text else "better" if (new > old) == metric.higher_is_better else "worse"
    words = {"better": say("better"), "worse": say("worse"), "same": say("unchanged")}
    return {
        "technical": metric.technical,
        "title": t(metric.title),
        "meaning": t(metric.meaning),
        "higher_is_better": metric.higher_is_better,
        "direction": t(say("Higher is better.") if metric.higher_is_better else say("Lower is better.")),
        "before": old_text,
        "after": new_text,
        "verdict": verdict,
        "verdict_text": t(words[verdict]) if verdict else "",
        "bars": [_bar(metric, old), _bar(metric, new)] if metric.percent_of else None,
    }


def _bar(metric: _Metric, value: float | None) -> float:
    if value is None or not math.isfinite(value) or not metric.percent_of:
        return 0.0
    return round(min(100.0, max(0.0, 100 * value / metric.percent_of)), 1)


def numbers(report: Report, t: Translate) -> list[dict[str, Any]]:
    """All that was measured, each with the same on unseen subjects beside it."""
    unseen = report.unseen or {"before": {}, "after": {}}
    shown = []
    for metric in METRICS:
        if metric.name not in report.before and metric.name not in report.after:
            continue
        has_unseen = metric.name in unseen["before"] or metric.name in unseen["after"]
        beside = _number(metric, unseen["before"], unseen["after"], t) if has_unseen else None
        shown.append({**_number(metric, report.before, report.after, t), "unseen": beside})
    return shown


def check_title(check: Check) -> Message | str:
    """What a check proves, as a heading."""
    return CHECK_TITLES.get(check.name, check.name)


def describe_check(check: Check, t: Translate) -> dict[str, Any]:
    """One check as texts."""
    title = check_title(check)
    return {
        "title": t(title) if isinstance(title, Message) else title,
        "name": check.name,
        "passed": check.passed,
        "detail": t(check.detail),
        "fix": t(check.fix) if check.fix is not None and not check.passed else "",
    }


def limits(report: Report) -> list[Message]:
    """What people should know before they rely on the result."""
    general = [
        say("It says wrong things in the same sure tone as right ones. Check what matters."),
        say("It knows what its base model and the data taught it, and nothing that happened since."),
    ]
    if report.data != DEMO:
        return general
    return [say("It was trained on medical questions for practice. Its answers are not medical advice: ask a doctor."), *general]
