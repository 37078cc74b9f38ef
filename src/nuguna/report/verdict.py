"""Whether a run made the model better, in one sentence that keeps chance in mind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..measure.bootstrap import Score, is_real
from ..measure.metric_table import Metric, metric_named
from ..message import Message, say

if TYPE_CHECKING:
    from .outcome import Report

VERDICTS = {
    "better": say("really better"),
    "worse": say("really worse"),
    "different": say("really different"),
    "chance": say("could be chance"),
    "same": say("unchanged"),
    "unknown": say("too few questions to tell"),
}
HEADLINES = {
    "better": say("Your model really answers better than before."),
    "mixed": say("Your model got better in some ways and worse in others."),
    "learned": say(
        "Your model learned from the data, but whether it answers better is unclear: it could be chance."
    ),
    "not_yet": say("Your model learned from the data, but its answers are not closer to the right ones yet."),
    "chance": say("Whether your model got better is unclear: it could be chance."),
    "worse": say("Your model really answers worse than before."),
    "unknown": say(
        "Your model was trained, but too few questions were held out to say whether it got better."
    ),
}
LOSS, ROUGE_L, CHOICE = map(metric_named, ("loss", "rouge_l", "choice_accuracy"))


def judge(metric: Metric, change: Score) -> str:
    """Return the key in `VERDICTS` of a difference."""
    real = is_real(change)
    if real is None:
        return "unknown"
    if change.low == change.high == 0:
        return "same"
    if not real:
        return "chance"
    if metric.higher_is_better is None:
        return "different"
    return "better" if (change.value > 0) == metric.higher_is_better else "worse"


def answers_change(report: Report) -> tuple[Metric, Score] | None:
    """Return how much the answers themselves changed, and by which metric: right choices where the data has
    options, else ROUGE-L. The other scores of answers follow these, so that they are no further evidence.
    """
    changes = report.scores.change if report.scores is not None else {}
    metric = CHOICE if CHOICE.name in changes else ROUGE_L
    return (metric, changes[metric.name]) if metric.name in changes else None


def judge_all(report: Report) -> str:
    """Return the key in `HEADLINES` of a run. Two numbers decide: are its answers nearer to the right ones,
    and does it find the right ones more likely (loss)?
    """
    change = answers_change(report)
    if report.scores is None or change is None or LOSS.name not in report.scores.change:
        return "unknown"
    answers, loss = judge(*change), judge(LOSS, report.scores.change[LOSS.name])
    found = {answers, loss}
    if {"better", "worse"} <= found:
        return "mixed"
    if "worse" in found or "unknown" in found:
        return "worse" if "worse" in found else "unknown"
    if answers == "better":
        return "better"
    if loss == "better":
        return "not_yet" if answers == "same" else "learned"
    return "chance"


def evidence(report: Report) -> list[Message]:
    """Return the numbers on which `judge_all` rests, as sentences."""
    found = answers_change(report)
    if report.scores is None or found is None:
        return []
    metric, change = found
    values = {
        "count": f"{report.num_heldout:,}",
        "before": metric.show(report.scores.before[metric.name].value),
        "after": metric.show(report.scores.after[metric.name].value),
    }
    sentences = [
        say(
            "Of {count} questions it was not trained on, it gets {after} right; before training it was "
            "{before}.",
            **values,
        )
        if metric is CHOICE
        else say(
            "On {count} questions it was not trained on, its answers score {after} of 100 points for "
            "closeness to the right ones, {before} before (ROUGE-L).",
            **values,
        )
    ]
    if change.low != change.high:
        ends = {"low": metric.show(change.low, signed=True), "high": metric.show(change.high, signed=True)}
        sentences.append(
            say("With other questions the difference would most likely lie between {low} and {high}.", **ends)
        )
    if LOSS.name in report.scores.change and judge_all(report) in ("mixed", "learned", "not_yet", "worse"):
        old, new = (LOSS.show(side[LOSS.name].value) for side in (report.scores.before, report.scores.after))
        sentences.append(
            say(
                "How much the right answers surprise it (loss): {after}, {before} before; lower is better.",
                before=old,
                after=new,
            )
        )
    return sentences
