"""Conversations → token ids, and which of them are trained: the assistant's words and the token that ends its turn.

The conversation is rendered by the model's own chat template, once as a whole and once up to each answer. What the whole has
beyond the prompt is the answer, so that training sees byte for byte what `ask` and `chat` will see later.
"""

from __future__ import annotations

import os.path
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from ..errors import DataError
from ..message import say
from .conversation import Conversation, Turn

# For models without a template (DialoGPT and other plain base models): turns end with the end token, nothing else. This is how
# DialoGPT was trained (arXiv:1911.00536, section 3.1). It is saved beside the adapter and used by everything that comes later.
DEFAULT_TEMPLATE = "{% for message in messages %}{{ message['content'] + eos_token }}{% endfor %}"
# Templates with a thinking mode (Qwen3) render answers without one; templates that know nothing of it ignore it.
_TEMPLATE_OPTIONS = {"enable_thinking": False}


@dataclass(frozen=True)
class Encoded:
    """One example. `trained[i]` says whether token i is a target of the loss; the first token never is."""

    ids: tuple[int, ...]
    trained: tuple[bool, ...]
    cut: bool = False  # longer than the window: the tail is missing, and with it the end token

    @property
    def num_trained(self) -> int:
        """How many tokens the loss is taken over."""
        return sum(self.trained)


def render(tokenizer: Any, turns: Sequence[Turn], *, for_answer: bool) -> str:
    """The text of turns in the model's template; `for_answer` adds what stands before an answer."""
    messages = [{"role": turn.role, "content": turn.content} for turn in turns]
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=for_answer, **_TEMPLATE_OPTIONS)
    except TemplateError as error:  # templates refuse what their model does not know: system turns, two questions in a row
        raise DataError(
            say("The model's chat template does not allow this conversation."),
            seen=say("{reason}", reason=error),
            fix=say("Leave out system turns and let question and answer take turns, or choose another model."),
        ) from error
    return str(text)


def encode_prompt(tokenizer: Any, turns: Sequence[Turn]) -> list[int]:
    """Token ids of turns, ready for an answer. The template brings its own begin token, so none is added."""
    return _token_ids(tokenizer, render(tokenizer, turns, for_answer=True))


def encode(tokenizer: Any, conversation: Conversation, max_length: int, end_ids: frozenset[int]) -> Encoded:
    """Encode one conversation and mark what is trained.

    `end_ids` are the tokens that end an answer. Raises `DataError` when the template does not show the answers as they are.
    """
    text = render(tokenizer, conversation.turns, for_answer=False)
    ids: list[int] = []
    trained: list[bool] = []
    place = 0
    for start, stop in [*_answer_spans(tokenizer, conversation, text, end_ids), (len(text), len(text))]:
        # Prompt and answer are tokenised apart, as they are when a question is asked: a blank at the end of the prompt would
        # otherwise melt into the first word of the answer, and training would see tokens that `ask` never produces.
        prompt, answer = _token_ids(tokenizer, text[place:start]), _token_ids(tokenizer, text[start:stop])
        end = next((i for i, token in enumerate(answer) if token in end_ids), len(answer))
        ids += prompt + answer
        # what the template puts after the end token is not the model's to say
        trained += [False] * len(prompt) + [i <= end for i in range(len(answer))]
        place = stop
    if trained:
        trained[0] = False
    return Encoded(tuple(ids[:max_length]), tuple(trained[:max_length]), cut=len(ids) > max_length)


def _token_ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []


def _answer_spans(tokenizer: Any, conversation: Conversation, text: str, end_ids: frozenset[int]) -> list[tuple[int, int]]:
    """Character spans of the answers in the rendered text, each up to where the next turn begins."""
    ends = tuple(tokenizer.convert_ids_to_tokens(sorted(end_ids)))
    spans: list[tuple[int, int]] = []
    turns = conversation.turns
    for i, turn in enumerate(turns):
        if turn.role != "assistant":
            continue
        prompt = render(tokenizer, turns[:i], for_answer=True)
        until = render(tokenizer, turns[: i + 1], for_answer=False)
        if text.startswith(prompt) and text.startswith(until) and len(until) > len(prompt):
            spans.append((len(prompt), len(until)))
            continue
        # Some templates write earlier turns differently from the last one: look for the answer itself.
        before = render(tokenizer, turns[:i], for_answer=False) if i else ""
        floor = max(spans[-1][1] if spans else 0, len(os.path.commonprefix([before, text])))
        place = max(floor, len(os.path.commonprefix([prompt, text])))
        start = text.rfind(turn.content, floor, place + len(turn.content))  # the same words may stand in the question
        start = text.find(turn.content, floor) if start < 0 else start
        if start < 0:
            raise DataError(
                say("The model's chat template changes the answers, so it is not known which tokens to train."),
                seen=say("Line {line} of {file}", line=conversation.line, file=conversation.file),
                fix=say("Choose another model, for example MODEL=demo."),
            )
        rest = text[start + len(turn.content) :].lstrip()
        end = next((end for end in ends if rest.startswith(end)), None)
        spans.append((start, start + len(turn.content) if end is None else len(text) - len(rest) + len(end)))
    return spans


def end_token_ids(tokenizer: Any, generation_eos: int | Sequence[int] | None) -> frozenset[int]:
    """Every token that ends an answer: the tokenizer's, the generation config's, and what the template itself writes last."""
    ids = {tokenizer.eos_token_id}
    ids.update([generation_eos] if isinstance(generation_eos, int) else generation_eos or ())
    probe = (Turn("user", "a"), Turn("assistant", "bbbb"))
    _, found, rest = render(tokenizer, probe, for_answer=False).rpartition("bbbb")
    tail = rest if found else ""  # not what follows the prompt: some templates write a thinking block there alone
    special = {*tokenizer.all_special_ids, *(i for i, token in tokenizer.added_tokens_decoder.items() if token.special)}
    first = next((i for i in _token_ids(tokenizer, tail) if i in special), None)
    ids.add(first)
    return frozenset(i for i in ids if i is not None)
