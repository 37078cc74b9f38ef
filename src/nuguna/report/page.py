"""report.html: a run for people. Whatever a model wrote is hostile until it is escaped: jinja2's autoescape
does that.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from ..data.facts import DEMO
from ..message import Message, say
from ..plan.plan import Plan
from ..plan.plan_file import SOURCES
from ..prove.check import title_of
from ..text.language import Translate
from ..text.units import format_bytes, format_seconds
from ..train.step_log import LoggedStep
from .advice import Tried, advice
from .chart import loss_chart, small_charts
from .fill import fill_html
from .findings import (
    INTERVALS_INTRO,
    NUMBERS_INTRO,
    describe_check,
    limits,
    meaning_of_setting,
    numbers,
    split_cards,
)
from .outcome import Report, tokens_per_second
from .questions import questions
from .verdict import HEADLINES, evidence, judge_all

_PAGE = {
    "title": say("Training report"),
    "before": say("Before"),
    "after": say("After"),
    "numbers": say("What changed"),
    "numbers_intro": NUMBERS_INTRO,
    "intervals_intro": INTERVALS_INTRO,
    "further": say("More numbers"),
    "further_unseen": say("All numbers on new subjects"),
    "measure": say("Measure"),
    "change": say("Difference"),
    "judgement": say("Verdict"),
    "split": say("How the scores were computed"),
    "unseen": say("New subjects"),
    "unseen_intro": say(
        "“New subjects” are those that the training data never mentions. There a model must rely on what it "
        "knew before, so expect less: training teaches the facts it is shown, not all others."
    ),
    "chart": say("How it learned"),
    "chart_intro": say(
        "The lower the line, the less the right answers surprise the model. It should fall, then level off."
    ),
    "no_chart": say("No loss was recorded in this run."),
    "step": say("Step"),
    "each_step": say("each step"),
    "heldout_before": say("held-out questions before"),
    "heldout_after": say("held-out questions after"),
    "samples": say("Read for yourself"),
    "samples_intro": say("Numbers can deceive. These are real answers to questions held out from training."),
    "samples_key": say("Underlined words also occur in the right answer."),
    "order": say("Order"),
    "as_they_come": say("Original order"),
    "worst_first": say("Worst first"),
    "reference": say("Right answer"),
    "answer_before": say("Before training"),
    "answer_after": say("After training"),
    "empty": say("(no answer)"),
    "checks": say("Checks"),
    "checks_intro": say("Each is a test that could have failed."),
    "passed": say("passed"),
    "not_passed": say("failed"),
    "try": say("What to try"),
    "plan": say("What was decided, and why"),
    "plan_intro": say(
        "The same is in plan.toml in the run folder. To change it, edit that file and train again."
    ),
    "setting": say("Setting"),
    "value": say("Value"),
    "reason": say("Reason"),
    "source": say("Decided by"),
    "next": say("What to try next"),
    "use": say("Use it"),
    "limits": say("What it cannot do"),
}
_SEALS = {"better": "✓", "worse": "✗"}  # anything else is a question
# of each, the first there is
_CARDS = (("rouge_l",), ("choice_accuracy", "key_terms", "chrf"), ("stop_rate",), ("loss",))


def render_page(
    report: Report, plan: Plan, translate: Translate, *, lang: str, steps: Sequence[LoggedStep]
) -> str:
    """report.html: one file that loads nothing and runs nothing."""
    t = translate
    all_numbers = numbers(report, t)
    cards, further = split_cards(all_numbers, _CARDS)
    asked = questions(report.samples)
    tried = Tried(
        output_dir=plan.output_dir.value,
        max_steps=plan.max_steps.value,
        learning_rate=plan.learning_rate.value,
        max_seq_length=plan.max_seq_length.value,
        heldout_examples=plan.heldout_examples.value,
    )
    context = {
        "lang": lang,
        "t": {name: t(text) for name, text in _PAGE.items()},
        "verdict": _verdict(report, t),
        "facts": [(t(name), value) for name, value in _facts(report)],
        "cards": cards,
        "further": further,
        "signatures": _signatures(report),
        "unseen": [number["unseen"] for number in all_numbers if number["unseen"]],
        "chart": loss_chart(steps, (report.before.get("loss"), report.after.get("loss")), t),
        "small_charts": small_charts(steps, t),
        "samples": [sample for sample in asked if sample["first"]],
        "worst": sorted((sample for sample in asked if sample["worst"]), key=itemgetter("worst")),
        "checks": [describe_check(check, t) for check in report.checks],
        "plan": _plan_rows(plan, t),
        "advice": [
            {"name": a.name, "text": t(a.text), "commands": a.commands} for a in advice(report, steps, tried)
        ],
        "commands": [(t(what), command) for what, command in _commands(plan, t)],
        "limits": [t(text) for text in limits(report)],
    }
    return fill_html("report.html.jinja", context)


def _signatures(report: Report) -> list[str]:
    return (
        []
        if report.scores is None
        else [f"{name}: {text}" for name, text in report.scores.signatures.items()]
    )


def _verdict(report: Report, t: Translate) -> dict[str, Any]:
    """Headline, what was trained on what, what the headline rests on, and after a failure what to try."""
    failed = [check for check in report.checks if not check.passed]
    judged = judge_all(report)
    made = say(
        "{model} was trained on {data} for {steps} steps.",
        model=report.model,
        data=say("the built-in medical set") if report.data == DEMO else Path(report.data).name,
        steps=f"{report.train.steps:,}",
    )
    passed = say(
        "{passed} of {total} checks passed.",
        passed=len(report.checks) - len(failed),
        total=len(report.checks),
    )
    shared = {
        "made": t(made),
        "fixes": list(dict.fromkeys(t(check.fix) for check in failed if check.fix is not None)),
    }
    if report.status == "succeeded":
        kind = {"better": "good", "worse": "no"}.get(judged, "open")
        reasons = [*evidence(report), passed]
        headline = HEADLINES[judged]
        return {
            **shared,
            "kind": kind,
            "seal": _SEALS.get(judged, "?"),
            "headline": t(headline),
            "reasons": map(t, reasons),
        }
    headline = (
        say("The training ended, but the result did not pass its checks.")
        if failed
        else say("The training did not succeed.")
    )
    reasons = [
        say("This check failed: “{check}” ({detail}).", check=title_of(check.name), detail=check.detail)
        for check in failed
    ] or [say("The log file in the folder where you started says what happened.")]
    return {
        **shared,
        "kind": "no",
        "seal": "✗",
        "headline": t(headline),
        "reasons": map(t, [*reasons, *evidence(report)]),
    }


def _facts(report: Report) -> list[tuple[Message, str]]:
    train = report.train
    facts = [
        (say("Held-out questions"), f"{report.num_heldout:,}"),
        (say("Time"), format_seconds(train.seconds)),
        (say("Tokens read"), f"{train.tokens:,}"),
        (say("Tokens per second"), f"{tokens_per_second(train):,.0f}"),
        (say("Peak memory"), format_bytes(train.peak_memory_bytes)),
    ]
    return [*facts, (say("Steps skipped"), f"{train.skipped_steps:,}")] if train.skipped_steps else facts


def _plan_rows(plan: Plan, t: Translate) -> list[dict[str, str]]:
    rows = []
    for name, choice in plan.choices().items():
        value = str(choice.value).lower() if isinstance(choice.value, bool) else str(choice.value)
        meaning = meaning_of_setting(name, t)
        source = t(SOURCES[choice.source]) if choice.source in SOURCES else choice.source
        rows.append(
            {"name": name, "meaning": meaning, "value": value, "reason": t(choice.reason), "source": source}
        )
    return rows


def _commands(plan: Plan, t: Translate) -> list[tuple[Message, str]]:
    """Return what can be done with the run folder, each with the line to type."""
    folder, question = shlex.quote(plan.output_dir.value), f'"{t(say("your question"))}"'
    return [
        (say("Ask it one question"), f"nuguna ask {folder} {question}"),
        (say("The same question without the training, to compare"), f"nuguna ask {folder} {question} --base"),
        (say("Talk to it"), f"nuguna chat {folder}"),
    ]
