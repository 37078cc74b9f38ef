"""What a run leaves for others: report.json for programs, report.html for people, README.md (the model card) for the model hub.

Every sentence is a `say(...)` here; the templates hold none. Whatever a model wrote is hostile until it is escaped: the page
escapes all values (jinja2's autoescape), the card all values but those that are quoted for YAML or Python.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from .language import Translate
from .message import Message, say
from .plan import Plan
from .planfile import SOURCES
from .runfolder import CARD, REPORT, REPORT_PAGE, write_json, write_text
from .settings import SETTINGS
from .units import format_bytes, format_seconds

if TYPE_CHECKING:  # checks needs torch, a report does not
    from .checks import Check

TEMPLATES = Path(__file__).parent / "templates"
DEMO = "demo"  # the name of both the model and the data inside the package


class Training(Protocol):
    """The whole training in numbers, as `train.Trained` has them."""

    @property
    def steps(self) -> int: ...
    @property
    def tokens(self) -> int: ...
    @property
    def seconds(self) -> float: ...
    @property
    def peak_memory_bytes(self) -> int: ...
    @property
    def skipped_steps(self) -> int: ...


@dataclass(frozen=True)
class Sample:
    """A held-out question, its right answer, and what the model said before and after training."""

    question: str
    reference: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """The outcome of a run. `before` and `after` are metrics by their names in report.json; `unseen` has both of the same kind,
    measured on subjects that training did not contain, and is None where the data has no such part.
    """

    status: str  # succeeded, failed
    model: str
    data: str
    before: Mapping[str, float]
    after: Mapping[str, float]
    unseen: Mapping[str, Mapping[str, float]] | None
    train: Training
    checks: tuple[Check, ...]
    samples: tuple[Sample, ...]

    def to_json(self) -> dict[str, Any]:
        """The document of report.json. A metric that is not a finite number is null, since JSON has no such numbers."""
        unseen = None if self.unseen is None else {when: _finite(metrics) for when, metrics in self.unseen.items()}
        return {
            "status": self.status,
            "model": self.model,
            "data": self.data,
            "before": _finite(self.before),
            "after": _finite(self.after),
            "train": {
                "steps": self.train.steps,
                "tokens": self.train.tokens,
                "seconds": round(self.train.seconds, 3),
                "tokens_per_second": round(_tokens_per_second(self.train), 1),
                "peak_memory_bytes": self.train.peak_memory_bytes,
                "skipped_steps": self.train.skipped_steps,
            },
            "checks": [check.to_json() for check in self.checks],
            "unseen": unseen,
            "samples": [asdict(sample) for sample in self.samples],
        }


def write_report(
    report: Report,
    plan: Plan,
    folder: Path,
    translate: Translate,
    *,
    lang: str,
    licence: str,
    languages: Sequence[str],
    losses: Sequence[tuple[int, float]],
) -> None:
    """Write the page, the card and report.json into `folder`, texts in `lang` by `translate`.

    `licence` and `languages` (ISO 639-1) are the base model's; `losses` are (step, training loss). report.json comes last: a
    folder that has it is a finished run.
    """
    write_text(folder / REPORT_PAGE, render_page(report, plan, translate, lang=lang, losses=losses))
    write_text(folder / CARD, render_card(report, translate, name=folder.resolve().name, licence=licence, languages=languages))
    write_json(folder / REPORT, report.to_json())


def _finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def _tokens_per_second(train: Training) -> float:
    return train.tokens / train.seconds if train.seconds > 0 else 0.0


# ---- the numbers


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


def _numbers(report: Report, t: Translate) -> list[dict[str, Any]]:
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


# ---- the page

CHECK_TITLES = {
    "adapter_weights": say("The adapter learned something and is not damaged"),
    "base_unchanged": say("The base model was left as it was"),
    "reloads_the_same": say("The saved result loads again and computes the same"),
    "changes_the_model": say("The adapter changes what the model says"),
    "heldout_loss_fell": say("It does better on questions it was not trained on"),
    "answers_stop": say("Its answers come to an end"),
}

_PAGE = {
    "title": say("Training report"),
    "before": say("Before"),
    "after": say("After"),
    "numbers": say("What changed"),
    "numbers_intro": say("Every number was measured on questions that were kept out of the training, before it and after it."),
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
        "numbers": _numbers(report, t),
        "has_unseen": report.unseen is not None,
        "chart": _chart(losses, t),
        "samples": report.samples,
        "checks": [_check(check, t) for check in report.checks],
        "plan": _plan_rows(plan, t),
        "commands": [(t(what), command) for what, command in _commands(plan, t)],
        "limits": [t(text) for text in _limits(report)],
    }
    return _environment(autoescape=True).get_template("report.html.jinja").render(context)


def _environment(autoescape: bool) -> Environment:
    finalize = None if autoescape else _markdown
    loader = FileSystemLoader(TEMPLATES)
    return Environment(
        loader=loader, autoescape=autoescape, finalize=finalize, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def _verdict(report: Report, t: Translate) -> dict[str, Any]:
    """Headline, what it rests on, and after a failure what to try."""
    failed = [check for check in report.checks if not check.passed]
    passed = say("{passed} of {total} checks passed.", passed=len(report.checks) - len(failed), total=len(report.checks))
    if report.status == "succeeded":
        return {"headline": t(say("Your model was trained, and the checks prove it.")), "reasons": [t(passed)], "fixes": []}
    headline = say("The training ended, but the result did not pass.") if failed else say("The training did not succeed.")
    reasons = [
        t(say("This check failed: “{check}” ({detail}).", check=_check_title(check), detail=check.detail)) for check in failed
    ] or [
        t(say("The log file in the folder where you started says what happened."))
    ]
    fixes = list(dict.fromkeys(t(check.fix) for check in failed if check.fix is not None))
    return {"headline": t(headline), "reasons": reasons, "fixes": fixes}


def _check_title(check: Check) -> Message | str:
    return CHECK_TITLES.get(check.name, check.name)


def _check(check: Check, t: Translate) -> dict[str, Any]:
    title = _check_title(check)
    return {
        "title": t(title) if isinstance(title, Message) else title,
        "name": check.name,
        "passed": check.passed,
        "detail": t(check.detail),
        "fix": t(check.fix) if check.fix is not None and not check.passed else "",
    }


def _facts(report: Report) -> list[tuple[Message, str]]:
    train = report.train
    facts = [
        (say("Model"), report.model),
        (say("Data"), report.data),
        (say("Training steps"), f"{train.steps:,}"),
        (say("Time"), format_seconds(train.seconds)),
        (say("Tokens read"), f"{train.tokens:,}"),
        (say("Tokens per second"), f"{_tokens_per_second(train):,.0f}"),
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


def _limits(report: Report) -> list[Message]:
    general = [
        say("It says wrong things in the same sure tone as right ones. Check what matters."),
        say("It knows what its base model and the data taught it, and nothing that happened since."),
    ]
    if report.data != DEMO:
        return general
    return [say("It was trained on medical questions for practice. Its answers are not medical advice: ask a doctor."), *general]


# ---- the chart

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 320, 66, 18, 18, 58
MOST_POINTS = 500  # more than there are pixels to tell them apart


def _chart(losses: Sequence[tuple[int, float]], t: Translate) -> dict[str, Any] | None:
    """Lines and axis marks of the loss chart in the coordinates of its view box; None without a finite loss."""
    points = [(step, loss) for step, loss in losses if math.isfinite(loss)]
    if not points:
        return None
    window = max(1, len(points) // 40)
    smooth = _smooth(points, window)
    x_marks = _marks(0, max(step for step, _ in points), 5)
    y_marks = _marks(min(loss for _, loss in points), max(loss for _, loss in points), 5)

    def place(step: float, loss: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - RIGHT) * step / max(x_marks[-1], points[-1][0])
        return round(x, 1), round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (loss - y_marks[0]) / (y_marks[-1] - y_marks[0]), 1)

    def line(path: Sequence[tuple[int, float]]) -> str:
        stride = math.ceil(len(path) / MOST_POINTS)
        kept = [*path[:-1:stride], path[-1]]
        return " ".join(f"{x:g},{y:g}" for x, y in (place(*point) for point in kept))

    first, last = smooth[0], smooth[-1]
    description = say(
        "Smoothed, the training loss went from {first} at step {first_step} to {last} at step {last_step}.",
        first=f"{first[1]:.3f}",
        first_step=first[0],
        last=f"{last[1]:.3f}",
        last_step=last[0],
    )
    return {
        "box": (WIDTH, HEIGHT, LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM),
        "raw": line(points),
        "smooth": line(smooth),
        "end": place(*last),
        "x_marks": [(place(mark, y_marks[0])[0], f"{mark:,.0f}") for mark in x_marks],
        "y_marks": [(place(0, mark)[1], f"{mark:.6g}") for mark in y_marks],
        "description": t(description),
        "smoothed": t(say("mean of {count} steps", count=2 * window + 1)),
    }


def _smooth(points: Sequence[tuple[int, float]], window: int) -> list[tuple[int, float]]:
    """The mean of each point and up to `window` neighbours on either side."""
    sums = [0.0]
    for _, loss in points:
        sums.append(sums[-1] + loss)
    smooth = []
    for i, (step, _) in enumerate(points):
        low, high = max(0, i - window), min(len(points), i + window + 1)
        smooth.append((step, (sums[high] - sums[low]) / (high - low)))
    return smooth


def _marks(lowest: float, highest: float, count: int) -> list[float]:
    """About `count` round numbers that enclose a range: multiples of 1, 2 or 5 times a power of ten."""
    span = highest - lowest or max(abs(highest), 1.0)
    power = 10.0 ** math.floor(math.log10(span / count))
    size = next(power * factor for factor in (1, 2, 5, 10) if power * factor * count >= span * 0.999)
    first, last = math.floor(lowest / size), math.ceil(highest / size)
    return [round(size * i, 10) for i in range(first, max(last, first + 1) + 1)]


# ---- the model card

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_MARKDOWN = re.compile(r"[\\`*_\[\]|~#!$]")
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"}

_CARD = {
    "what": say("What this is"),
    "not_passed": say("This run did not pass its checks. Do not rely on this adapter."),
    "how_made": say("How it was made"),
    "numbers": say("Before and after training"),
    "metric": say("Measure"),
    "before": say("Before"),
    "after": say("After"),
    "better": say("Better is"),
    "unseen_before": say("New subjects, before"),
    "unseen_after": say("New subjects, after"),
    "numbers_intro": _PAGE["numbers_intro"],
    "samples": say("Answers"),
    "question": say("Question"),
    "reference": say("Right answer"),
    "answer_before": say("Before training"),
    "answer_after": say("After training"),
    "use": say("How to use it"),
    "licence": say("Licence"),
    "limits": say("What it must not be used for"),
    "checks": say("Checks"),
    "passed": say("passed"),
    "failed": say("failed"),
}


def render_card(report: Report, translate: Translate, *, name: str, licence: str, languages: Sequence[str]) -> str:
    """README.md with the front matter that the model hub reads. Of the user's paths only a local base model's is in it."""
    t = translate
    base, on_hub = report.model, _is_on_hub(report.model)
    data = DEMO if report.data == DEMO else Path(report.data).name
    made = say(
        "{steps} training steps over {tokens} tokens in {time} (hours:minutes:seconds), by nuguna. Every setting and its reason "
        "stands in plan.toml.",
        steps=f"{report.train.steps:,}",
        tokens=f"{report.train.tokens:,}",
        time=format_seconds(report.train.seconds),
    )
    context = {
        "t": {key: t(text) for key, text in _CARD.items()},
        "matter": _front_matter(base if on_hub else None, licence, languages),
        "title": say("{name}: an adapter for {base}", name=name, base=base),
        "about": say("A LoRA adapter that was trained on top of {base} with the dataset {data}.", base=base, data=data),
        "made": made,
        "ok": report.status == "succeeded",
        "rows": _numbers(report, t),
        "up": t(say("higher")),
        "down": t(say("lower")),
        "has_unseen": report.unseen is not None,
        "samples": report.samples[:5],
        "checks": [_check(check, t) for check in report.checks],
        "snippet": _snippet(base, name, t),
        "licence": say("The base model's licence is {licence}. Its terms apply to this adapter too.", licence=licence),
        "limits": [t(text) for text in [*_limits(report), _DECISIONS]],
    }
    context |= {key: t(text) for key, text in context.items() if isinstance(text, Message)}
    return _environment(autoescape=False).get_template("card.md.jinja").render(context)


_DECISIONS = say("Not for decisions about people's health, money, rights or safety without a person who checks them.")


def _is_on_hub(model: str) -> bool:
    return bool(_HUB_ID.fullmatch(model)) and not Path(model).is_dir()


def _front_matter(base: str | None, licence: str, languages: Sequence[str]) -> Markup:
    """YAML between two lines of dashes. A local base has no `base_model`: the hub would take it for one of its own."""
    lines = ["---"]
    lines += [f"base_model: {_quoted(base)}"] if base else []
    lines += ["library_name: peft", "pipeline_tag: text-generation", f"license: {_quoted(licence.lower())}"]
    lines += ["language:", *(f"- {_quoted(code)}" for code in languages)] if languages else []
    lines += ["tags:", *(f"- {tag}" for tag in ("lora", "peft", "nuguna"))]
    lines += [f"- {_quoted('base_model:adapter:' + base)}"] if base else []
    return Markup("\n".join([*lines, "---"]))


def _snippet(base: str, name: str, t: Translate) -> Markup:
    """Python that uses the adapter with transformers and peft alone (the demo model lies in this package)."""
    demo = base == DEMO
    lines = ["import torch", "from peft import PeftModel", "from transformers import AutoModelForCausalLM, AutoTokenizer"]
    lines += ["from nuguna.catalog import DEMO_FOLDER"] if demo else []
    return Markup(
        "\n".join(
            [
                *lines,
                "",
                f"adapter = {_quoted('./' + name)}",
                f"base = {'DEMO_FOLDER' if demo else _quoted(base)}",
                "tokenizer = AutoTokenizer.from_pretrained(adapter)",
                "model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter).eval()",
                "",
                f'messages = [{{"role": "user", "content": {_quoted(t(say("your question")))}}}]',
                "inputs = tokenizer.apply_chat_template(",
                '    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True',
                ")",
                "with torch.inference_mode():",
                "    output = model.generate(**inputs, max_new_tokens=256, do_sample=False)",
                'print(tokenizer.decode(output[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True))',
            ]
        )
    )


def _quoted(text: str) -> str:
    """A string that YAML, JSON and Python read alike, safe inside a fenced block of a Markdown file."""
    return json.dumps(text, ensure_ascii=False).replace("<", "\\u003c").replace("`", "\\u0060")


def _markdown(value: object) -> str:
    """Any text as one line that is only text in Markdown: no markup, no HTML, no table bars. `Markup` passes."""
    if isinstance(value, Markup):
        return value
    line = " ".join(str(value).split())
    escaped = "".join(_HTML.get(sign, sign) for sign in _MARKDOWN.sub(lambda match: "\\" + match[0], line))
    return escaped.replace("://", "&#58;//").replace("www.", "www&#46;")  # GitHub's Markdown links bare addresses
