"""comparison.html: several runs for people. It loads nothing and runs nothing; names and answers are hostile
until escaped.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from ..measure.bootstrap import Score
from ..measure.metric_table import ON_PAGES, Metric
from ..message import Message, say
from ..prove.check import title_of
from ..text.language import Translate
from ..text.units import format_bytes, format_seconds
from .chart import loss_curves
from .fill import fill_html
from .findings import (
    INTERVALS_INTRO,
    between,
    describe_metric,
    meaning_of_setting,
    split_cards,
    strip,
    top_of,
)
from .outcome import Sample
from .questions import marked
from .ranking import LEADS, Comparison, Run, rank
from .verdict import judge

MADE_BY = '<meta name="generator" content="nuguna compare">'  # tells our page from anybody else's file
NUM_STYLES = 6  # of lines: colour and dashes; letters tell more runs apart
MAX_QUESTIONS = 12
# of each, the first there is
_CARDS = (("choice_accuracy", "rouge_l"), ("key_terms", "chrf"), ("stop_rate",), ("loss",))
_SEALS = {"best": "★", "likelier": "★", "loss_only": "★", "alike": "="}  # anything else is a question

_PAGE = {
    "title": say("Comparison of runs"),
    "runs": say("The runs"),
    "run": say("Run"),
    "passed": say("passed"),
    "not_passed": say("not passed"),
    "settings": say("What differs"),
    "settings_intro": say(
        "Only these settings differ. Whether a data file was changed in between is not shown here."
    ),
    "settings_same": say("All settings that could change a result are the same."),
    "setting": say("Setting"),
    "scores": say("How well they answer"),
    "scores_intro": say(
        "Measured after training, on held-out questions. A star marks a run that is better than every other "
        "by more than chance."
    ),
    "star": say("better than every other by more than chance"),
    "intervals": INTERVALS_INTRO,
    "further": say("More numbers"),
    "measure": say("Measure"),
    "chart": say("How they learned"),
    "chart_intro": say(
        "The lower the line, the less the right answers surprise the model while it is trained."
    ),
    "other_models": say(
        "These runs have different base models, so compare how the lines fall, not how high they lie."
    ),
    "no_chart": say("No loss was recorded in these runs."),
    "no_curve": say("no loss recorded"),
    "step": say("Step"),
    "cost": say("Time and memory"),
    "steps": say("Steps"),
    "tokens": say("Tokens read"),
    "time": say("Time"),
    "rate": say("Tokens per second"),
    "memory": say("Peak memory"),
    "heldout_loss": say("Held-out loss, before → after"),
    "checks": say("Checks"),
    "samples": say("Read for yourself"),
    "samples_intro": say(
        "The same questions, held out from the training of every run, and what each run answered."
    ),
    "samples_key": say("Underlined words also occur in the right answer."),
    "reference": say("Right answer"),
    "answer_before": say("Before training"),
    "empty": say("(no answer)"),
    "try": say("What to try"),
}


def render_comparison(found: Comparison, translate: Translate, *, lang: str) -> str:
    """Return the page in `lang`, texts by `translate`."""
    t = translate
    letters = [_letter(i) for i in range(len(found.runs))]
    numbers = [
        _number(metric, found, t)
        for metric in ON_PAGES
        if any(metric.name in run.after for run in found.runs)
    ]
    cards, further = split_cards(numbers, _CARDS)
    context = {
        "lang": lang,
        "t": {name: t(text) for name, text in _PAGE.items()},
        "made_by": MADE_BY,
        "verdict": _verdict(found, t),
        "warnings": [t(warning) for warning in found.warnings],
        "runs": [
            {"letter": letter, "name": label, "style": i % NUM_STYLES}
            for i, (letter, label) in enumerate(zip(letters, found.labels, strict=True))
        ],
        "settings": _settings(found, t),
        "cards": cards,
        "further": further,
        "chart": loss_curves(
            [(letter, run.steps) for letter, run in zip(letters, found.runs, strict=True)], t
        ),
        "has_other_models": "model" in found.differing,
        "costs": [_cost(run, t) for run in found.runs],
        "samples": _questions(found),
    }
    return fill_html("comparison.html.jinja", context)


def _letter(number: int) -> str:
    """Return a to Z, then A2, B2, …"""
    letter, round_number = chr(ord("A") + number % 26), number // 26 + 1
    return letter if round_number == 1 else f"{letter}{round_number}"


def _verdict(found: Comparison, t: Translate) -> dict[str, Any]:
    ranking = rank(found)
    is_sound = ranking.first is not None and found.runs[ranking.first].status == "succeeded"
    fix = say(
        "Ask all of them the same questions and look at the numbers: {command}",
        command=f"nuguna evaluate {shlex.quote(found.runs[0].name)} --data FILE",
    )
    again = say("Or train again with the same data, seed and heldout_examples: then they can be ranked.")
    return {
        "kind": "good" if is_sound and ranking.kind in ("best", "likelier", "loss_only") else "open",
        "seal": _SEALS.get(ranking.kind, "?"),
        "headline": t(ranking.headline),
        "made": "",
        "reasons": [t(reason) for reason in ranking.reasons],
        "fixes": [t(fix), t(again)] if ranking.kind == "apart" else [],
    }


def _settings(found: Comparison, t: Translate) -> list[dict[str, Any]]:
    return [
        {"name": name, "meaning": meaning_of_setting(name, t), "values": [_shown(value) for value in values]}
        for name, values in found.differing.items()
    ]


def _shown(value: object) -> str:
    if value is None or value == "":
        return "—"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _number(metric: Metric, found: Comparison, t: Translate) -> dict[str, Any]:
    """Return one metric as texts: the value of each run with its range and where it lies on a scale, and the
    best beside the others.
    """
    scores = [run.after.get(metric.name) for run in found.runs]
    best = found.best(metric.name)
    top = top_of(metric, scores)
    return {
        **describe_metric(metric, t),
        "sides": [_side(metric, score, top, t, is_best=i == best) for i, score in enumerate(scores)],
        "leads": _leads(metric, found, t),
    }


def _side(metric: Metric, score: Score | None, top: float, t: Translate, *, is_best: bool) -> dict[str, Any]:
    return {
        "value": metric.show(score.value if score else None),
        "range": between(metric, score, t),
        "strip": strip(score, top),
        "is_best": is_best,
    }


def _leads(metric: Metric, found: Comparison, t: Translate) -> list[dict[str, str]]:
    """Return how far the first is ahead of each other run, where that is known question by question."""
    if not found.is_comparable(metric.name):
        return []
    first = found.leader(metric.name)
    leads = []
    for other in range(len(found.runs)):
        lead = found.lead(metric.name, first, other) if other != first else None
        if lead is not None:
            verdict = judge(metric, lead)
            change, ends = metric.show(lead.value, signed=True), between(metric, lead, t, signed=True)
            pair = t(say("{one} against {other}", one=_letter(first), other=_letter(other)))
            told = {"pair": pair, "change": change, "range": ends}
            leads.append({**told, "verdict": verdict, "verdict_text": t(LEADS[verdict])})
    return leads


def _cost(run: Run, t: Translate) -> dict[str, Any]:
    """Return what a run took, and which checks it did not pass."""
    training, loss = run.training, [side.get("loss") for side in (run.before, run.after)]
    failed = [title_of(name) for name, passed in run.checks if not passed]
    passed = say("{passed} of {total} passed", passed=len(run.checks) - len(failed), total=len(run.checks))
    return {
        "steps": f"{training['steps']:,.0f}",
        "tokens": f"{training['tokens']:,.0f}",
        "time": format_seconds(training["seconds"]),
        "rate": f"{training['tokens_per_second']:,.0f}",
        "memory": format_bytes(int(training["peak_memory_bytes"])),
        "loss": " → ".join("—" if score is None else f"{score.value:.3f}" for score in loss),
        "is_sound": run.status == "succeeded",
        "checks": t(passed),
        "failed": [t(title) if isinstance(title, Message) else title for title in failed],
    }


def _questions(found: Comparison) -> list[dict[str, Any]]:
    """Return the first questions that all reports show, with every run's answer, and that before training
    where it is the same.
    """
    told = [{(sample.question, sample.reference): sample for sample in run.samples} for run in found.runs]
    shared = [key for key in told[0] if all(key in samples for samples in told[1:])][:MAX_QUESTIONS]
    return [
        _question(key, [samples[key] for samples in told], number)
        for number, key in enumerate(shared, start=1)
    ]


def _question(key: tuple[str, str], samples: Sequence[Sample], number: int) -> dict[str, Any]:
    question, reference = key
    before = {sample.before.strip() for sample in samples}
    return {
        "number": number,
        "question": question,
        "reference": reference,
        "before": marked(before.pop(), reference) if len(before) == 1 else None,
        "answers": [
            {
                "pieces": marked(sample.after.strip(), reference),
                "score": "" if sample.rouge_l_after is None else f"{sample.rouge_l_after:.0f}",
            }
            for sample in samples
        ],
    }
