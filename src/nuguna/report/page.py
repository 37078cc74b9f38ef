"""report.html: a run for people. Whatever a model wrote is hostile until it is escaped: jinja2's autoescape does that."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..language import Translate
from ..message import Message, say
from ..plan import Plan
from ..planfile import SOURCES
from ..settings import SETTINGS
from ..units import format_bytes, format_seconds
from .chart import loss_chart
from .findings import NUMBERS_INTRO, check_title, describe_check, limits, numbers
from .outcome import TEMPLATES, Report, tokens_per_second

_PAGE = {
    "title": say("Training report"),
    "before": say("Before"),
    "after": say("After"),
    "numbers": say("What changed"),
    "numbers_intro": NUMBERS_INTRO,
    "unseen": say("New subjects"),
    "unseen_intro": say(
        "“New subjects” are those that the training data never mentions. There a model must rely on what it knew before, so "
        "expect less: training teaches the facts it is shown, not all others."
    ),
    "chart": say("How it learned"),
    "chart_intro": say("The lower the line, the less the right answers surprise the model. It should fall, then level off."),
    "no_chart": say("No loss was recorded in this run."),
    "step": say("Step"),
    "loss": say("Training loss"),
    "each_step": say("each step"),
    "samples": say("Read for yourself"),
    "samples_intro": say("Numbers can deceive. These are real answers to questions that were kept out of the training."),
    "question": say("Question"),
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
    "plan_intro": say("The same stands in plan.toml in the run folder. Edit it there and train again to change it."),
    "setting": say("Setting"),
    "value": say("Value"),
    "reason": say("Reason"),
    "source": say("Decided by"),
    "next": say("What now?"),
    "limits": say("What it cannot do"),
}


def render_page(report: Report, plan: Plan, translate: Translate, *, lang: str, losses: Sequence[tuple[int, float]]) -> str:
    """report.html: one file that loads nothing and runs nothing."""
    t = translate
    context = {
        "lang": lang,
        "t": {name: t(text) for name, text in _PAGE.items()},
        "ok": report.status == "succeeded",
        "verdict": _verdict(report, t),
        "facts": [(t(name), value) for name, value in _facts(report)],
        "numbers": numbers(report, t),
        "has_unseen": report.unseen is not None,
        "chart": loss_chart(losses, t),
        "samples": report.samples,
        "checks": [describe_check(check, t) for check in report.checks],
        "plan": _plan_rows(plan, t),
        "commands": [(t(what), command) for what, command in _commands(plan, t)],
        "limits": [t(text) for text in limits(report)],
    }
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report.html.jinja").render(context)


def _verdict(report: Report, t: Translate) -> dict[str, Any]:
    """Headline, what it rests on, and after a failure what to try."""
    failed = [check for check in report.checks if not check.passed]
    passed = say("{passed} of {total} checks passed.", passed=len(report.checks) - len(failed), total=len(report.checks))
    if report.status == "succeeded":
        return {"headline": t(say("Your model was trained, and the checks prove it.")), "reasons": [t(passed)], "fixes": []}
    headline = say("The training ended, but the result did not pass.") if failed else say("The training did not succeed.")
    reasons = [
        t(say("This check failed: “{check}” ({detail}).", check=check_title(check), detail=check.detail)) for check in failed
    ] or [t(say("The log file in the folder where you started says what happened."))]
    fixes = list(dict.fromkeys(t(check.fix) for check in failed if check.fix is not None))
    return {"headline": t(headline), "reasons": reasons, "fixes": fixes}


def _facts(report: Report) -> list[tuple[Message, str]]:
    train = report.train
    facts = [
        (say("Model"), report.model),
        (say("Data"), report.data),
        (say("Training steps"), f"{train.steps:,}"),
        (say("Time"), format_seconds(train.seconds)),
        (say("Tokens read"), f"{train.tokens:,}"),
        (say("Tokens per second"), f"{tokens_per_second(train):,.0f}"),
        (say("Most memory used"), format_bytes(train.peak_memory_bytes)),
    ]
    return [*facts, (say("Steps skipped"), f"{train.skipped_steps:,}")] if train.skipped_steps else facts


def _plan_rows(plan: Plan, t: Translate) -> list[dict[str, str]]:
    meanings = {setting.name: setting.meaning for setting in SETTINGS}
    rows = []
    for name, choice in plan.choices().items():
        value = str(choice.value).lower() if isinstance(choice.value, bool) else str(choice.value)
        meaning = t(meanings[name]) if name in meanings else ""
        source = t(SOURCES[choice.source]) if choice.source in SOURCES else choice.source
        rows.append({"name": name, "meaning": meaning, "value": value, "reason": t(choice.reason), "source": source})
    return rows


def _commands(plan: Plan, t: Translate) -> list[tuple[Message, str]]:
    """What can be done with the run folder, each with the line to type."""
    folder, question = shlex.quote(plan.output_dir.value), f'"{t(say("your question"))}"'
    return [
        (say("Ask it one question"), f"nuguna ask {folder} {question}"),
        (say("The same question without the training, to compare"), f"nuguna ask {folder} {question} --base"),
        (say("Talk with it"), f"nuguna chat {folder}"),
    ]
