"""README.md of a run folder: the model card, as the model hub reads it.

Whatever a model wrote is hostile until it is escaped: all values but those that are quoted for YAML or
Python.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from ..data.facts import DEMO
from ..message import Message, say
from ..text.language import Translate
from ..text.units import format_seconds
from .fill import fill_markdown
from .findings import INTERVALS_INTRO, NUMBERS_INTRO, describe_check, limits, numbers
from .outcome import Report

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)

_CARD = {
    "what": say("What this is"),
    "not_passed": say("This run did not pass its checks. Do not rely on this adapter."),
    "how_made": say("How it was made"),
    "numbers": say("Before and after training"),
    "metric": say("Measure"),
    "before": say("Before"),
    "after": say("After"),
    "better": say("Better is"),
    "judgement": say("Verdict"),
    "intervals": INTERVALS_INTRO,
    "unseen_before": say("New subjects, before"),
    "unseen_after": say("New subjects, after"),
    "numbers_intro": NUMBERS_INTRO,
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


def render_card(
    report: Report, translate: Translate, *, name: str, licence: str, languages: Sequence[str]
) -> str:
    """README.md with the front matter that the model hub reads. Of the user's paths only a local base model's
    is in it.
    """
    t = translate
    base, on_hub = report.model, _is_on_hub(report.model)
    data = DEMO if report.data == DEMO else Path(report.data).name
    made = say(
        "{steps} training steps over {tokens} tokens in {time} (hours:minutes:seconds), by nuguna. Every "
        "setting and its reason is in plan.toml.",
        steps=f"{report.train.steps:,}",
        tokens=f"{report.train.tokens:,}",
        time=format_seconds(report.train.seconds),
    )
    context = {
        "t": {key: t(text) for key, text in _CARD.items()},
        "matter": _front_matter(base if on_hub else None, licence, languages),
        "title": say("{name}: an adapter for {base}", name=name, base=base),
        "about": say(
            "A LoRA adapter trained on top of {base} with the dataset {data}.", base=base, data=data
        ),
        "made": made,
        "ok": report.status == "succeeded",
        "rows": numbers(report, t),
        "directions": {True: t(say("higher")), False: t(say("lower")), None: "—"},
        "has_unseen": report.unseen is not None,
        "samples": report.samples[:5],
        "checks": [describe_check(check, t) for check in report.checks],
        "snippet": _snippet(base, name, report.system, t),
        "licence": say(
            "The base model's licence is {licence}. Its terms apply to this adapter too.", licence=licence
        ),
        "limits": [t(text) for text in [*limits(report), _DECISIONS]],
    }
    context |= {key: t(text) for key, text in context.items() if isinstance(text, Message)}
    return fill_markdown("card.md.jinja", context)


_DECISIONS = say(
    "Not for decisions about people's health, money, rights or safety without a person who checks them."
)


def _is_on_hub(model: str) -> bool:
    return bool(_HUB_ID.fullmatch(model)) and not Path(model).is_dir()


def _front_matter(base: str | None, licence: str, languages: Sequence[str]) -> Markup:
    """YAML between two lines of dashes. A local base has no `base_model`: the hub would take it for one of
    its own.
    """
    lines = ["---"]
    lines += [f"base_model: {_quoted(base)}"] if base else []
    lines += ["library_name: peft", "pipeline_tag: text-generation", f"license: {_quoted(licence.lower())}"]
    lines += ["language:", *(f"- {_quoted(code)}" for code in languages)] if languages else []
    lines += ["tags:", *(f"- {tag}" for tag in ("lora", "peft", "nuguna"))]
    lines += [f"- {_quoted('base_model:adapter:' + base)}"] if base else []
    return Markup("\n".join([*lines, "---"]))  # noqa: S704 - code, which stands in a block


def _snippet(base: str, name: str, system: str, t: Translate) -> Markup:
    """Python that uses the adapter with transformers and peft alone (the demo model lies in this package)."""
    demo = base == DEMO
    first = f'{{"role": "system", "content": {_quoted(system)}}}, ' if system else ""
    lines = [
        "import torch",
        "from peft import PeftModel",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
    ]
    lines += ["from nuguna.base_models.catalog import DEMO_FOLDER"] if demo else []
    return Markup(  # noqa: S704 - code, which stands in a block
        "\n".join(
            [
                *lines,
                "",
                f"adapter = {_quoted('./' + name)}",
                f"base = {'DEMO_FOLDER' if demo else _quoted(base)}",
                "tokenizer = AutoTokenizer.from_pretrained(adapter)",
                "model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), "
                "adapter).eval()",
                "",
                f'messages = [{first}{{"role": "user", "content": {_quoted(t(say("your question")))}}}]',
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
    """Return a string that YAML, JSON and Python read alike, safe inside a fenced block of a Markdown
    file.
    """
    return json.dumps(text, ensure_ascii=False).replace("<", "\\u003c").replace("`", "\\u0060")
