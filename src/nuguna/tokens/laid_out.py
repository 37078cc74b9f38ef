"""A conversation as rendered text in parts: what is asked, and what of it is an assistant's words."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from jinja2 import TemplateError

from ..data.conversations.conversation import TEXT, Turn, as_message
from ..errors import DataError
from ..message import say
from .template import (
    fitting_turns,
    is_written,
    left_out,
    other_model_for_tools,
    require_calls,
    require_whole,
    shows_tools,
)
from .tokenizer_protocol import Tokenizer

_MARK = "\u2060nuguna\u2060"  # stands in no text
Part = tuple[str, bool]  # a piece of the rendered text, and whether it is the assistant's


def render(tokenizer: Tokenizer, turns: Sequence[Turn], *, for_answer: bool, tools: str = "") -> str:
    """Return the text of turns in the model's template; `for_answer` adds what stands before an answer."""
    messages = [as_message(turn) for turn in turns]
    given = {"tools": json.loads(tools)} if tools else {}
    try:
        text = tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=for_answer, **given
        )
    except (TemplateError, TypeError, KeyError) as error:  # templates refuse what their model does not know
        raise DataError(
            say("The model's chat template does not allow this conversation."),
            seen=say("{reason}", reason=error),
            fix=say("Make questions and answers take turns, or choose another model."),
        ) from error
    return str(text)


def lay_out(tokenizer: Tokenizer, turns: Sequence[Turn], tools: str, *, for_answer: bool) -> list[Part]:
    """Return the rendered text in parts: what `ask` would send to the model, and after it, unless
    `for_answer`, the last answer.

    Raises `DataError` when something of the conversation is missing in it.
    """
    if turns and turns[0].role == TEXT:
        return _lay_out_text(tokenizer, turns, for_answer=for_answer)
    if tools and not shows_tools(tokenizer):
        raise DataError(
            say("The model's chat template does not support tools."),
            fix=other_model_for_tools(),
        )
    _require_no_signs(tokenizer, turns)
    turns = fitting_turns(tokenizer, turns)
    asked = turns if for_answer else turns[:-1]
    prompt = render(tokenizer, asked, for_answer=True, tools=tools)
    parts = _prompt_parts(tokenizer, asked, prompt, tools)
    if not for_answer:
        parts.append((_answer(tokenizer, turns, prompt, tools), True))
        require_whole(turns[-1], _up_to_end(tokenizer, parts[-1][0]))
        if not any(end in parts[-1][0] for end in end_tokens(tokenizer)) and tokenizer.eos_token:
            parts.append((tokenizer.eos_token, True))  # a template without an end would teach never to stop
    _require_all(turns, parts)
    if not for_answer and any(turn.tool_calls for turn in turns):
        require_calls(turns, lambda turns: _shown(tokenizer, turns, tools))
    return [part for part in parts if part[0]]


def _prompt_parts(tokenizer: Tokenizer, turns: Sequence[Turn], prompt: str, tools: str) -> list[Part]:
    """Return a prompt taken apart where earlier answers stand in it."""
    parts: list[Part] = []
    place = 0
    for i, turn in enumerate(turns):
        if turn.role != "assistant":
            continue
        start, stop = _span(tokenizer, turns, i, prompt, tools)
        if not place <= start <= stop <= len(prompt):
            raise _changed()
        # Reasoning models forget what they thought in earlier rounds; an answer without its thought is read,
        # not learned.
        is_learned = turn.is_trained and turn.reasoning.strip() in prompt[start:stop]
        parts += [(prompt[place:start], False), (prompt[start:stop], is_learned)]
        place = stop
    return [*parts, (prompt[place:], False)]


def _span(tokenizer: Tokenizer, turns: Sequence[Turn], i: int, text: str, tools: str) -> tuple[int, int]:
    """Return where answer i stands in a rendered prompt, up to where the next turn begins.

    Example (ChatML, answer 1 of `user a, assistant b, user c`): asking after turn 0 renders
    `<user>a<end><assistant>`, and turns 0 and 1 as they stand `<user>a<end><assistant>b<end>`. The prompt
    begins with both, so the answer is what the second has beyond the first: `b<end>`. A template that writes
    earlier answers differently (without their thought, say) fails that test; then the answer is replaced by a
    mark, and what the two texts have in common before and behind it gives the place.
    """
    begin = render(tokenizer, turns[:i], for_answer=True, tools=tools)
    until = render(tokenizer, turns[: i + 1], for_answer=False, tools=tools)
    if text.startswith(begin) and text.startswith(until) and len(until) > len(begin):
        return len(begin), len(until)
    # Some templates write an earlier turn differently from the last one: put a mark in its place, and see
    # where that stands.
    marked = render(
        tokenizer, (*turns[:i], Turn("assistant", _MARK), *turns[i + 1 :]), for_answer=True, tools=tools
    )
    start = marked.find(_MARK)
    tail = marked[start + len(_MARK) :]
    if start < 0 or text[:start] != marked[:start] or not text.endswith(tail):
        raise _changed()
    stop, start = len(text) - len(tail), start - len(_blanks(text[:start], begin))
    blanks = len(tail) - len(tail.lstrip())
    end = next((end for end in end_tokens(tokenizer) if tail[blanks:].startswith(end)), None)
    return start, stop if end is None else stop + blanks + len(end)


def _answer(tokenizer: Tokenizer, turns: Sequence[Turn], prompt: str, tools: str) -> str:
    """Return the last answer as it must follow on the prompt, with what ends it.

    Example: the prompt is `<user>a<end><assistant>`, the whole conversation `<user>a<end><assistant>b<end>`,
    so the answer is `b<end>`. With DeepSeek-R1 the prompt ends with `<assistant><think>`, which the whole no
    longer shows: the answer is then put together as `thought</think>`, a blank line, `b` and what ends a
    turn.
    """
    text = render(tokenizer, turns, for_answer=False, tools=tools)
    if text.startswith(prompt):
        return text[len(prompt) :]
    # The finished conversation begins otherwise than the prompt that asks for it: Mistral drops the system's
    # words there, DeepSeek-R1 the thought that its prompt has opened, gpt-oss what was thought before a
    # function was called.
    turn = turns[-1]
    marked = replace(turn, content=_MARK, reasoning=_MARK if turn.reasoning else "", tool_calls="")
    begin, opening = (
        render(tokenizer, (*turns[:-1], marked), for_answer=False, tools=tools).partition(_MARK)[0],
        "",
    )
    if prompt.startswith(asked := render(tokenizer, turns[:-1], for_answer=False, tools=tools)):
        opening = prompt[len(asked) :]
    if opening.strip() and opening in begin and text.startswith(begin):
        return text[begin.rindex(opening) + len(opening) :]
    before, found, tail = render(
        tokenizer, (*turns[:-1], Turn("assistant", _MARK)), for_answer=False, tools=tools
    ).rpartition(_MARK)
    if not found or turn.tool_calls:
        raise _changed()
    if prompt.rstrip().endswith("<think>"):
        line = "\n" if prompt.endswith("\n") else ""
        thought = f"{turn.reasoning}\n" if turn.reasoning else line
        return f"{thought}</think>\n\n{turn.content.strip()}{tail}"
    return f"{_blanks(before, prompt)}{turn.content.strip()}{tail}"


def _blanks(before: str, prompt: str) -> str:
    """Blanks with which an answer begins: those before it, unless the prompt already ends with some."""
    return "" if prompt[-1:].isspace() else before[len(before.rstrip()) :]


def _changed() -> DataError:
    return DataError(
        say("The model's chat template changes the answers, so it is unclear which tokens to train on."),
        fix=say("Choose another model, for example MODEL=demo."),
    )


def _require_no_signs(tokenizer: Tokenizer, turns: Sequence[Turn]) -> None:
    """The model's own signs within what somebody says would become tokens: a turn would end where nobody
    ended it.
    """
    signs = _signs(tokenizer)
    for turn in turns:
        if signs is not None and (found := signs.search(turn.content) or signs.search(turn.reasoning)):
            raise DataError(
                say("A text contains {sign}, which is a special token of this model.", sign=found[0]),
                fix=say("Remove it from the text, or choose another model."),
            )


@lru_cache(maxsize=8)
def _signs(tokenizer: Tokenizer) -> re.Pattern[str] | None:
    texts = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special} | set(
        tokenizer.all_special_tokens
    )
    return re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True)))) if texts else None


def _require_all(turns: Sequence[Turn], parts: Sequence[Part]) -> None:
    """A template that leaves something out without a word would let the model learn from half a
    conversation.
    """
    text = "".join(part for part, _ in parts)
    for turn in turns:
        said = turn.content.strip()
        # results are often written as JSON
        if not (is_written(said, text) if turn.role == "tool" else said in text):
            raise left_out(turn.role)


def _shown(tokenizer: Tokenizer, turns: Sequence[Turn], tools: str) -> str:
    """Return what the model reads, and the last answer as it learns it."""
    prompt = render(tokenizer, turns[:-1], for_answer=True, tools=tools)
    return prompt + _up_to_end(tokenizer, _answer(tokenizer, turns, prompt, tools))


def _up_to_end(tokenizer: Tokenizer, answer: str) -> str:
    """Return what is trained of an answer: nothing behind the first token that ends it."""
    return answer[
        : min((answer.find(end) for end in end_tokens(tokenizer) if end in answer), default=len(answer))
    ]


def _lay_out_text(tokenizer: Tokenizer, turns: Sequence[Turn], *, for_answer: bool) -> list[Part]:
    """Plain text begins as the tokenizer lets texts begin, and ends with the end token."""
    begin = (tokenizer.bos_token or "") if begins_texts(tokenizer) else ""
    end = [] if for_answer else [(tokenizer.eos_token or "", True)]
    return [part for part in [(begin, False), *((turn.content, True) for turn in turns), *end] if part[0]]


def end_tokens(tokenizer: Tokenizer) -> list[str]:
    return _ends_of(tokenizer.chat_template, tokenizer)


@lru_cache(maxsize=8)
# the template is part of the key: a tokenizer may get another
def _ends_of(template: str, tokenizer: Tokenizer) -> list[str]:
    return [str(token) for token in tokenizer.convert_ids_to_tokens(sorted(end_token_ids(tokenizer, None)))]


def begins_texts(tokenizer: Tokenizer) -> bool:
    """Return whether the tokenizer puts a begin token before a text."""
    ids = tokenizer("a")["input_ids"]
    return tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]


def end_token_ids(tokenizer: Tokenizer, generation_eos: int | Sequence[int] | None) -> frozenset[int]:
    """Return every token that ends an answer: the tokenizer's, the generation config's, and what the template
    itself writes last.
    """
    ids = {tokenizer.eos_token_id}
    ids.update([generation_eos] if isinstance(generation_eos, int) else generation_eos or ())
    probe = (Turn("user", "a"), Turn("assistant", "bbbb"))
    _, found, rest = render(tokenizer, probe, for_answer=False).rpartition("bbbb")
    # not what follows the prompt: some templates write a thinking block there alone
    tail = rest if found else ""
    special = {
        *tokenizer.all_special_ids,
        *(i for i, token in tokenizer.added_tokens_decoder.items() if token.special),
    }
    first = next((i for i in token_ids(tokenizer, [tail])[0] if i in special), None) if tail else None
    ids.add(first)
    return frozenset(i for i in ids if i is not None)


def token_ids(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """Parts are tokenised apart, in training as when a question is asked: a blank at the end of a prompt
    would otherwise melt into the first word of the answer, and training would see tokens that `ask` never
    produces.
    """
    if not texts:
        return []
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or backend.truncation is not None or backend.padding is not None:
        return list(tokenizer(texts, add_special_tokens=False)["input_ids"])
    # the same tokens without the places of their characters, which nobody asks for: a third faster
    return [encoding.ids for encoding in backend.encode_batch_fast(texts, add_special_tokens=False)]
