"""What a model's chat template can show, found by trying, and the one for models that have none."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from itertools import islice
from typing import Any

from jinja2 import TemplateError

from ..data.conversations.conversation import Turn
from ..data.files.rows import shown_cell as shown_value
from ..errors import DataError
from ..message import Message, say
from .tokenizer_protocol import Tokenizer

# For models without a template (DialoGPT and other plain base models): turns end with the end token, nothing
# else. This is how DialoGPT was trained (arXiv:1911.00536, section 3.1). It is saved beside the adapter and
# used by everything that comes later.
DEFAULT_TEMPLATE = "{% for message in messages %}{{ message['content'] + eos_token }}{% endfor %}"
_THINKING = re.compile(r"\{%-? set enable_thinking = (true|false) -?%\}")
_NOW = re.compile(r"""strftime_now\(\s*(["'])([^"']+)\1\s*\)""")
_DATE = datetime(2024, 7, 26)
_DATE_MARK = "{#- the date is fixed -#}"
_PROBE = "nuguna-probe"
MAX_TRIED = 64  # values of a conversation's calls that are left out one by one; all others get marks at once
MAX_NAMED = 5
_UNSAID = ("id", "type", "index")  # of a call: what no model has to say


def default_template(begin: str) -> str:
    """Return the template for a model that has none; `begin` is what its tokenizer puts before a text, if
    anything.
    """
    return ("{{ bos_token }}" if begin else "") + DEFAULT_TEMPLATE


def with_thinking(template: str, is_on: bool) -> str:
    """Return the template with its thinking mode fixed, so that whoever uses the adapter later gets the
    prompts it was trained on.

    A template without such a mode stays as it is.
    """
    if "enable_thinking" not in template:
        return template
    rest = _THINKING.sub("", template, count=1) if is_thinking_fixed(template) else template
    return f"{{%- set enable_thinking = {str(is_on).lower()} -%}}{rest}"


def is_thinking_fixed(template: str) -> bool:
    """Return whether `with_thinking` made it."""
    return _THINKING.match(template) is not None


def with_fixed_date(template: str) -> str:
    """Return the template with one date for all days where it writes the present one (Llama 3, SmolLM3): else
    a question asked tomorrow would begin with other tokens than were trained. It is the date that Llama's own
    templates write where they know no present.
    """
    fixed = _NOW.sub(lambda call: f"{call[1]}{_DATE.strftime(call[2])}{call[1]}", template)
    return template if fixed == template else f"{_DATE_MARK}{fixed}"


def is_date_fixed(template: str) -> bool:
    """Return whether `with_fixed_date` changed it."""
    return _DATE_MARK in template


def fitting_turns(tokenizer: Tokenizer, turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """Return the turns as the template can show them.

    Where it knows no system (Gemma), the system's words stand before the first question; where it knows no
    reasoning, this stands at the beginning of the answer.
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
def _shows_system(template: str, tokenizer: Tokenizer) -> bool:
    return _shows(tokenizer, [{"role": "system", "content": _PROBE}, {"role": "user", "content": "a"}])


@lru_cache(maxsize=8)
def _shows_reasoning(template: str, tokenizer: Tokenizer) -> bool:
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


def shows_tools(tokenizer: Tokenizer) -> bool:
    """Return whether the template tells the model which tools there are."""
    return _shows_tools(tokenizer.chat_template, tokenizer)


@lru_cache(maxsize=8)
def _shows_tools(template: str, tokenizer: Tokenizer) -> bool:
    parameters = {"type": "object", "properties": {}}
    tool = {"type": "function", "function": {"name": _PROBE, "description": "a", "parameters": parameters}}
    return _shows(tokenizer, [{"role": "user", "content": "a"}], tools=[tool])


def _shows(tokenizer: Tokenizer, messages: list[dict[str, Any]], **given: object) -> bool:
    try:
        return _PROBE in tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=False, **given
        )
    except (TemplateError, TypeError, KeyError):
        return False


def is_written(words: str, text: str) -> bool:
    """Return whether words stand in a text, as they are or as JSON writes them."""
    return words in text or any(
        json.dumps(words, ensure_ascii=is_ascii)[1:-1] in text for is_ascii in (True, False)
    )


def require_whole(turn: Turn, answer: str) -> None:
    """Raise `DataError` unless the answer that is learned has all words of the last turn, and its thought.

    The same words elsewhere in the text are no answer. Earlier thoughts are forgotten by many models.
    """
    if turn.content.strip() not in answer:
        raise left_out(turn.role)
    if not is_written(turn.reasoning.strip(), answer):
        raise DataError(
            say("The model's chat template leaves out what the assistant thinks before it answers."),
            fix=say("Choose another model, for example MODEL=demo."),
        )


def left_out(role: str) -> DataError:
    """Return the error of a template that does not write what somebody says."""
    return DataError(
        say("The model's chat template leaves out what the {role} says.", role=role),
        fix=say("Choose another model, for example MODEL=demo."),
    )


def require_calls(turns: Sequence[Turn], shown_cell: Callable[[Sequence[Turn]], str]) -> None:
    """Raise `DataError` unless the template writes all that is said in calls; `shown_cell` gives its text of
    turns.

    Every template has its own form for them, some write none, or the first alone. So it is tried: what is
    written shows a mark in its place, and is missing when it is left out.
    """
    with_marks, marks = _marked_calls(turns)
    marked = shown_cell(with_marks)
    lost = [name for mark, name in marks.items() if mark not in marked]
    if others := list(islice(_without_each_unmarked(turns), MAX_TRIED)):
        text = shown_cell(turns)
        lost += [name for fewer, name in others if shown_cell(fewer) == text]
    if lost:
        raise DataError(
            say("The model's chat template leaves out function calls, or parts of them."),
            seen=say(
                "It leaves out: {names}",
                names=", ".join(map(shown_value, list(dict.fromkeys(lost))[:MAX_NAMED])),
            ),
            fix=other_model_for_tools(),
        )


def other_model_for_tools() -> Message:
    """Return what to do where a template does not show tools or their use."""
    return say(
        "Choose another model, for example MODEL=Qwen/Qwen3-0.6B, or leave out the conversations that use "
        "tools."
    )


def _marked_calls(turns: Sequence[Turn]) -> tuple[tuple[Turn, ...], dict[str, str]]:
    """Return the turns with a mark of its own in the place of each name and value that their calls say, and
    what each mark stands for.

    A template that writes a call writes its marks, whatever form it gives them. Truth values and what is
    empty or 0 stay: a template may ask for these before it writes.
    """
    marks: dict[str, str] = {}
    made = []
    for turn in turns:
        calls = []
        for call in _calls(turn):
            num_before = len(marks)
            calls.append(
                _with_said(call, {key: _marked(value, name, marks) for key, value, name in _said(call)})
            )
            if len(marks) == num_before:  # a call that says nothing is never written
                marks[f"nugunaMark{num_before}"] = "tool_calls"
        made.append(replace(turn, tool_calls=json.dumps(calls)) if calls else turn)
    return tuple(made), marks


def _without_each_unmarked(turns: Sequence[Turn]) -> Iterator[tuple[tuple[Turn, ...], str]]:
    """Yield the turns without one of the values that `_marked_calls` lets stay, for each of them in turn, and
    the value's name.
    """
    for i, turn in enumerate(turns):
        calls = _calls(turn)
        for place, call in enumerate(calls):
            for key, value, name in _said(call):
                for less, lost in _without_each(value, name):
                    fewer = [*calls[:place], _with_said(call, {key: less}), *calls[place + 1 :]]
                    yield (*turns[:i], replace(turn, tool_calls=json.dumps(fewer)), *turns[i + 1 :]), lost


def _calls(turn: Turn) -> list[Any]:
    return json.loads(turn.tool_calls) if turn.tool_calls else []


def _said(call: object) -> list[tuple[str, Any, str]]:
    """Return (key, value, name of the function) for all that a template has to write of a call."""
    if not isinstance(call, dict):
        return [("", call, "tool_calls")]
    body = call["function"] if isinstance(call.get("function"), dict) else call
    return [(key, value, str(body.get("name", key))) for key, value in body.items() if key not in _UNSAID]


def _with_said(call: object, said: dict[str, Any]) -> Any:
    """Return the call with other values of what `_said` gives."""
    if not isinstance(call, dict):
        return said[""]
    return (
        {**call, "function": {**call["function"], **said}}
        if isinstance(call.get("function"), dict)
        else {**call, **said}
    )


def _marked(value: object, name: str, marks: dict[str, str]) -> Any:
    """Return a value with marks; `name` tells people which one it is."""
    if isinstance(value, dict):
        return {_marked(key, key, marks): _marked(part, key, marks) for key, part in value.items()}
    if isinstance(value, list):
        return [_marked(part, name, marks) for part in value]
    if not value or isinstance(value, bool):
        return value
    number = 736_815_400 + len(marks)  # of one width, so that none is part of another
    mark = (
        f"nugunaMark{number}"
        if isinstance(value, str)
        else number
        if isinstance(value, int)
        else number + 0.5
    )
    marks[str(mark)] = name
    return mark


def _without_each(value: object, name: str) -> Iterator[tuple[Any, str]]:
    """Yield a dictionary or list without each of the values in it that get no mark; of each list the first
    one speaks for all.
    """
    if isinstance(value, dict):
        for key, part in value.items():
            if part is not None and (not part or part is True):
                yield {other: kept for other, kept in value.items() if other != key}, key
            yield from (({**value, key: less}, lost) for less, lost in _without_each(part, key))
    elif isinstance(value, list):
        plain = next(
            (i for i, part in enumerate(value) if part is not None and (not part or part is True)), None
        )
        if plain is not None:
            yield [*value[:plain], *value[plain + 1 :]], name
        for i, part in enumerate(value):
            yield from (
                ([*value[:i], less, *value[i + 1 :]], lost) for less, lost in _without_each(part, name)
            )
