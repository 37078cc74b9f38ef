"""What a model's chat template can show, found by trying, and the one for models that have none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError

from ..data.conversations.conversation import Turn

# For models without a template (DialoGPT and other plain base models): turns end with the end token, nothing else. This is how
# DialoGPT was trained (arXiv:1911.00536, section 3.1). It is saved beside the adapter and used by everything that comes later.
DEFAULT_TEMPLATE = "{% for message in messages %}{{ message['content'] + eos_token }}{% endfor %}"
_THINKING = re.compile(r"\{%-? set enable_thinking = (true|false) -?%\}")
_NOW = re.compile(r"""strftime_now\(\s*(["'])([^"']+)\1\s*\)""")
_DATE = datetime(2024, 7, 26)
_DATE_MARK = "{#- the date is fixed -#}"
_PROBE = "nuguna-probe"


def default_template(begin: str) -> str:
    """The template for a model that has none; `begin` is what its tokenizer puts before a text, if anything."""
    return ("{{ bos_token }}" if begin else "") + DEFAULT_TEMPLATE


def with_thinking(template: str, is_on: bool) -> str:
    """The template with its thinking mode fixed, so that whoever uses the adapter later gets the prompts it was trained on.

    A template without such a mode stays as it is.
    """
    if "enable_thinking" not in template:
        return template
    rest = _THINKING.sub("", template, count=1) if is_thinking_fixed(template) else template
    return f"{{%- set enable_thinking = {str(is_on).lower()} -%}}{rest}"


def is_thinking_fixed(template: str) -> bool:
    """Whether `with_thinking` made it."""
    return _THINKING.match(template) is not None


def with_fixed_date(template: str) -> str:
    """The template with one date for all days where it writes the present one (Llama 3, SmolLM3): else a question asked tomorrow
    would begin with other tokens than were trained. It is the date that Llama's own templates write where they know no present.
    """
    fixed = _NOW.sub(lambda call: f"{call[1]}{_DATE.strftime(call[2])}{call[1]}", template)
    return template if fixed == template else f"{_DATE_MARK}{fixed}"


def is_date_fixed(template: str) -> bool:
    """Whether `with_fixed_date` changed it."""
    return _DATE_MARK in template


def fitting_turns(tokenizer: Any, turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """The turns as the template can show them.

    Where it knows no system (Gemma), the system's words stand before the first question; where it knows no reasoning, this stands
    at the beginning of the answer.
    """
    made = list(turns)
    if len(made) > 1 and made[0].role == "system" and not _shows_system(tokenizer.chat_template, tokenizer):
        system, first = made[:2]
        made[:2] = [replace(first, content=f"{system.content}\n\n{first.content}")]
    if any(turn.reasoning for turn in made) and not _shows_reasoning(tokenizer.chat_template, tokenizer):
        made = [_with_thought(turn) if turn.reasoning else turn for turn in made]
    return tuple(made)


def _with_thought(turn: Turn) -> Turn:
    return replace(turn, content=f"<think>\n{turn.reasoning}\n</think>\n\n{turn.content}", reasoning="")


# The template is part of each key: a tokenizer may get another.
@lru_cache(maxsize=8)
def _shows_system(template: str, tokenizer: Any) -> bool:
    return _shows(tokenizer, [{"role": "system", "content": _PROBE}, {"role": "user", "content": "a"}])


@lru_cache(maxsize=8)
def _shows_reasoning(template: str, tokenizer: Any) -> bool:
    """Or it opens a thought in the prompt, where it is then put."""
    answer = {"role": "assistant", "content": "a", "reasoning_content": _PROBE}
    asked = [{"role": "user", "content": "a"}]
    if _shows(tokenizer, [*asked, answer]):
        return True
    try:
        prompt = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    except (TemplateError, TypeError, KeyError):
        return False
    return str(prompt).rstrip().endswith("<think>")


def shows_tools(tokenizer: Any) -> bool:
    """Whether the template tells the model which tools there are."""
    return _shows_tools(tokenizer.chat_template, tokenizer)


@lru_cache(maxsize=8)
def _shows_tools(template: str, tokenizer: Any) -> bool:
    parameters = {"type": "object", "properties": {}}
    tool = {"type": "function", "function": {"name": _PROBE, "description": "a", "parameters": parameters}}
    return _shows(tokenizer, [{"role": "user", "content": "a"}], tools=[tool])


def _shows(tokenizer: Any, messages: list[dict[str, Any]], **given: Any) -> bool:
    try:
        return _PROBE in tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=False, **given)
    except (TemplateError, TypeError, KeyError):
        return False
