"""Conversations → token ids, and which of them are trained: the assistant's words and the token that ends its turn.

A conversation is rendered by the model's own chat template, once up to its last answer and once as a whole. What the whole has
beyond the prompt is the answer. Prompts of `ask` and `chat` are laid out by the same function, so that training sees token for
token what they will see later.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain

import numpy as np
from jinja2 import TemplateError

from ..data.conversations.conversation import TEXT, Conversation, Turn, as_message
from ..errors import DataError
from ..message import say
from .encoded import Encoded as Encoded
from .pieces import without_beginning
from .template import fitting_turns, is_written, left_out, other_model_for_tools, require_calls, require_whole, shows_tools
from .tokenizer_protocol import Tokenizer

MOST_HEAD_CHARS = 300  # of a first paragraph that is kept
_MARK = "\u2060nuguna\u2060"  # stands in no text
Part = tuple[str, bool]  # a piece of the rendered text, and whether it is the assistant's


def render(tokenizer: Tokenizer, turns: Sequence[Turn], *, for_answer: bool, tools: str = "") -> str:
    """The text of turns in the model's template; `for_answer` adds what stands before an answer."""
    messages = [as_message(turn) for turn in turns]
    given = {"tools": json.loads(tools)} if tools else {}
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=for_answer, **given)
    except (TemplateError, TypeError, KeyError) as error:  # templates refuse what their model does not know
        raise DataError(
            say("The model's chat template does not allow this conversation."),
            seen=say("{reason}", reason=error),
            fix=say("Let question and answer take turns, or choose another model."),
        ) from error
    return str(text)


def encode_prompt(tokenizer: Tokenizer, turns: Sequence[Turn], tools: str = "", max_length: int | None = None) -> list[int]:
    """Token ids of turns, ready for an answer. The template brings its own begin token, so none is added.

    What is longer than `max_length` loses what was said first, as in training.
    """

    def make(turns: Sequence[Turn]) -> Encoded:
        texts = [text for text, _ in _lay_out(tokenizer, turns, tools, for_answer=True)]
        ids = np.array([token for part in _token_ids(tokenizer, texts) for token in part], dtype=np.int32)
        return Encoded(ids, np.zeros(len(ids), dtype=np.bool_))

    whole = make(turns)
    if max_length is None or len(whole.ids) <= max_length:
        return list(map(int, whole.ids))
    shorter = _shortened(tokenizer, turns, max_length, make)
    return list(map(int, shorter.ids if shorter is not None else whole.ids[-max_length:]))


def encode(tokenizer: Tokenizer, conversation: Conversation, max_length: int, end_ids: frozenset[int]) -> Encoded:
    """Encode one conversation and mark what is trained.

    `end_ids` are the tokens that end an answer. What is longer than `max_length` loses its earliest rounds, then the beginning of
    its question; if the last answer alone is too long, nothing is trained. Raises `DataError` when the template does not show the
    conversation as it is.
    """

    def make(turns: Sequence[Turn]) -> Encoded:
        parts = _lay_out(tokenizer, turns, conversation.tools, for_answer=False)
        return _mark(_token_ids(tokenizer, [text for text, _ in parts]), [is_answer for _, is_answer in parts], end_ids)

    whole = make(conversation.turns)
    if len(whole.ids) <= max_length:
        return whole
    shorter = _shortened(tokenizer, conversation.turns, max_length, make)
    if shorter is None:
        return Encoded(whole.ids[:max_length], np.zeros(max_length, dtype=np.bool_), cut=True)
    return replace(shorter, cut=True)


def encode_many(
    tokenizer: Tokenizer, conversations: Sequence[Conversation], max_length: int, end_ids: frozenset[int]
) -> list[Encoded | DataError]:
    """Like `encode` for each, in one call of the tokenizer; its error where the template does not show a conversation."""
    laid_out = lay_out_many(tokenizer, conversations)
    return mark_many(tokenizer, laid_out, laid_out.token_ids(tokenizer), max_length, end_ids)


@dataclass(frozen=True)
class LaidOut:
    """Conversations in the model's template, or why it does not show them."""

    conversations: Sequence[Conversation]
    parts: Sequence[list[Part] | DataError]

    def token_ids(self, tokenizer: Tokenizer) -> list[list[int]]:
        """Return the tokens of all parts, one after another. Other Python code runs meanwhile if this is called in a thread."""
        return _token_ids(tokenizer, [text for parts in self.parts if isinstance(parts, list) for text, _ in parts])


def lay_out_many(tokenizer: Tokenizer, conversations: Sequence[Conversation]) -> LaidOut:
    """Return conversations in the template, the first half of `encode_many`."""
    parts: list[list[Part] | DataError] = []
    for conversation in conversations:
        try:
            parts.append(_lay_out(tokenizer, conversation.turns, conversation.tools, for_answer=False))
        except DataError as error:
            parts.append(error)
    return LaidOut(conversations, parts)


def mark_many(
    tokenizer: Tokenizer, laid_out: LaidOut, token_ids: Iterable[list[int]], max_length: int, end_ids: frozenset[int]
) -> list[Encoded | DataError]:
    """Return an example for each conversation, the second half of `encode_many`; what is too long is encoded again, shorter."""
    left = iter(token_ids)
    made: list[Encoded | DataError] = []
    for conversation, parts in zip(laid_out.conversations, laid_out.parts, strict=True):
        if isinstance(parts, DataError):
            made.append(parts)
            continue
        whole = _mark([next(left) for _ in parts], [is_answer for _, is_answer in parts], end_ids)
        made.append(whole if len(whole.ids) <= max_length else encode(tokenizer, conversation, max_length, end_ids))
    return made


def _shortened(
    tokenizer: Tokenizer, turns: Sequence[Turn], max_length: int, make: Callable[[Sequence[Turn]], Encoded]
) -> Encoded | None:
    """What `make` gives for the turns with as little as possible left out of what was said first; None if that does not help.

    The last answer is always whole, and of the last question an eighth at least: a first paragraph that is short, and the end.
    """
    starts = [i for i, turn in enumerate(turns) if turn.role == "user"]
    if not starts:
        return None
    system = [turn for turn in turns[:1] if turn.role == "system"]
    tries = [(*system, *turns[start:]) for start in starts[1:]]
    tries += [tuple(turns[starts[-1] :])] if system else []
    for shorter in tries:
        made = make(shorter)
        if len(made.ids) <= max_length:
            return made
    question = turns[starts[-1]].content
    first, blank, _ = question.partition("\n\n")  # what is asked about a long text stands above it, or below
    head = first + blank if blank and len(first) <= MOST_HEAD_CHARS else ""
    for kept in dict.fromkeys((head, "")):  # a first paragraph that leaves no room is cut like the rest
        shortest = _with_less_of_question(tokenizer, turns[starts[-1] :], kept, max_length, make)
        if shortest is not None:
            return shortest
    return None


def _with_less_of_question(
    tokenizer: Tokenizer, turns: Sequence[Turn], head: str, max_length: int, make: Callable[[Sequence[Turn]], Encoded]
) -> Encoded | None:
    """What `make` gives for the turns without as much as must be of what follows on the head of their question; None if that does
    not help. Each round takes something away, so that there is a last one.
    """
    question, *rest = turns
    least = len(question.content) // 8
    words = question.content[len(head) :]
    made = make(turns)
    while len(made.ids) > max_length:
        shorter = without_beginning(tokenizer, words, len(made.ids) - max_length)
        if len(shorter) >= len(words) or len(head) + len(shorter) <= least:
            return None
        words = shorter
        made = make((replace(question, content=head + words), *rest))
    return made


def shown_parts(tokenizer: Tokenizer, conversation: Conversation, end_ids: frozenset[int]) -> list[Part]:
    """The rendered text in pieces, and which of them are trained, for people to look at."""
    ends = [str(token) for token in tokenizer.convert_ids_to_tokens(sorted(end_ids))]
    parts: list[Part] = []
    for text, is_answer in _lay_out(tokenizer, conversation.turns, conversation.tools, for_answer=False):
        stops = [text.find(end) + len(end) for end in ends if end in text] if is_answer else []
        stop = min(stops, default=len(text))
        parts += [(text[:stop], is_answer), (text[stop:], False)]
    return [part for part in parts if part[0]]


def written_answer(tokenizer: Tokenizer, conversation: Conversation) -> str:
    """The last answer in the template's own form, with what ends it: what a model that is asked would have to say."""
    asked = _lay_out(tokenizer, conversation.prompt, conversation.tools, for_answer=True)
    whole = _lay_out(tokenizer, conversation.turns, conversation.tools, for_answer=False)
    return "".join(text for text, _ in whole)[sum(len(text) for text, _ in asked) :]


def _mark(token_ids: Sequence[Sequence[int]], are_answers: Sequence[bool], end_ids: frozenset[int]) -> Encoded:
    """Put the parts together; what a template writes after the end token of an answer is not the model's to say."""
    ids = np.array(list(chain.from_iterable(token_ids)), dtype=np.int32)
    loss_mask = np.zeros(len(ids), dtype=np.bool_)
    start = 0
    for part, is_answer in zip(token_ids, are_answers, strict=True):
        if is_answer:
            end = min((part.index(token) for token in end_ids if token in part), default=len(part))
            loss_mask[start : start + min(end + 1, len(part))] = True
        start += len(part)
    loss_mask[:1] = False
    return Encoded(ids, loss_mask)


def _token_ids(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """Parts are tokenised apart, in training as when a question is asked: a blank at the end of a prompt would otherwise melt
    into the first word of the answer, and training would see tokens that `ask` never produces.
    """
    if not texts:
        return []
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or backend.truncation is not None or backend.padding is not None:
        return list(tokenizer(texts, add_special_tokens=False)["input_ids"])
    # the same tokens without the places of their characters, which nobody asks for: a third faster
    return [encoding.ids for encoding in backend.encode_batch_fast(texts, add_special_tokens=False)]


def _lay_out(tokenizer: Tokenizer, turns: Sequence[Turn], tools: str, *, for_answer: bool) -> list[Part]:
    """The rendered text in parts: what `ask` would send to the model, and after it, unless `for_answer`, the last answer.

    Raises `DataError` when something of the conversation is missing in it.
    """
    if turns and turns[0].role == TEXT:
        return _lay_out_text(tokenizer, turns, for_answer=for_answer)
    if tools and not shows_tools(tokenizer):
        raise DataError(
            say("The model's chat template knows no tools."),
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
        if not any(end in parts[-1][0] for end in _end_tokens(tokenizer)) and tokenizer.eos_token:
            parts.append((tokenizer.eos_token, True))  # a template without an end would teach never to stop
    _require_all(turns, parts)
    if any(turn.tool_calls for turn in turns):
        require_calls(turns, lambda turns: _shown(tokenizer, turns, tools, for_answer=for_answer))
    return [part for part in parts if part[0]]


def _prompt_parts(tokenizer: Tokenizer, turns: Sequence[Turn], prompt: str, tools: str) -> list[Part]:
    """A prompt taken apart where earlier answers stand in it."""
    parts: list[Part] = []
    place = 0
    for i, turn in enumerate(turns):
        if turn.role != "assistant":
            continue
        start, stop = _span(tokenizer, turns, i, prompt, tools)
        if not place <= start <= stop <= len(prompt):
            raise _changed()
        # Reasoning models forget what they thought in earlier rounds; an answer without its thought is read, not learned.
        is_learned = turn.is_trained and turn.reasoning.strip() in prompt[start:stop]
        parts += [(prompt[place:start], False), (prompt[start:stop], is_learned)]
        place = stop
    return [*parts, (prompt[place:], False)]


def _span(tokenizer: Tokenizer, turns: Sequence[Turn], i: int, text: str, tools: str) -> tuple[int, int]:
    """Where answer i stands in a rendered prompt, up to where the next turn begins."""
    begin = render(tokenizer, turns[:i], for_answer=True, tools=tools)
    until = render(tokenizer, turns[: i + 1], for_answer=False, tools=tools)
    if text.startswith(begin) and text.startswith(until) and len(until) > len(begin):
        return len(begin), len(until)
    # Some templates write an earlier turn differently from the last one: put a mark in its place, and see where that stands.
    marked = render(tokenizer, (*turns[:i], Turn("assistant", _MARK), *turns[i + 1 :]), for_answer=True, tools=tools)
    start = marked.find(_MARK)
    tail = marked[start + len(_MARK) :]
    if start < 0 or text[:start] != marked[:start] or not text.endswith(tail):
        raise _changed()
    stop, start = len(text) - len(tail), start - len(_blanks(text[:start], begin))
    blanks = len(tail) - len(tail.lstrip())
    end = next((end for end in _end_tokens(tokenizer) if tail[blanks:].startswith(end)), None)
    return start, stop if end is None else stop + blanks + len(end)


def _answer(tokenizer: Tokenizer, turns: Sequence[Turn], prompt: str, tools: str) -> str:
    """The last answer as it must follow on the prompt, with what ends it."""
    text = render(tokenizer, turns, for_answer=False, tools=tools)
    if text.startswith(prompt):
        return text[len(prompt) :]
    # The finished conversation begins otherwise than the prompt that asks for it: Mistral drops the system's words there,
    # DeepSeek-R1 the thought that its prompt has opened, gpt-oss what was thought before a function was called.
    turn = turns[-1]
    marked = replace(turn, content=_MARK, reasoning=_MARK if turn.reasoning else "", tool_calls="")
    begin, opening = render(tokenizer, (*turns[:-1], marked), for_answer=False, tools=tools).partition(_MARK)[0], ""
    if prompt.startswith(asked := render(tokenizer, turns[:-1], for_answer=False, tools=tools)):
        opening = prompt[len(asked) :]
    if opening.strip() and opening in begin and text.startswith(begin):
        return text[begin.rindex(opening) + len(opening) :]
    before, found, tail = render(tokenizer, (*turns[:-1], Turn("assistant", _MARK)), for_answer=False, tools=tools).rpartition(
        _MARK
    )
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
        say("The model's chat template changes the answers, so it is not known which tokens to train."),
        fix=say("Choose another model, for example MODEL=demo."),
    )


def _require_no_signs(tokenizer: Tokenizer, turns: Sequence[Turn]) -> None:
    """The model's own signs within what somebody says would become tokens: a turn would end where nobody ended it."""
    signs = _signs(tokenizer)
    for turn in turns:
        if signs is not None and (found := signs.search(turn.content) or signs.search(turn.reasoning)):
            raise DataError(
                say("A text holds {sign}, which this model uses as a sign of its own.", sign=found[0]),
                fix=say("Take it out of the text, or choose another model."),
            )


@lru_cache(maxsize=8)
def _signs(tokenizer: Tokenizer) -> re.Pattern[str] | None:
    texts = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special} | set(tokenizer.all_special_tokens)
    return re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True)))) if texts else None


def _require_all(turns: Sequence[Turn], parts: Sequence[Part]) -> None:
    """A template that leaves something out without a word would let the model learn from half a conversation."""
    text = "".join(part for part, _ in parts)
    for turn in turns:
        said = turn.content.strip()
        if not (is_written(said, text) if turn.role == "tool" else said in text):  # results are often written as JSON
            raise left_out(turn.role)


def _shown(tokenizer: Tokenizer, turns: Sequence[Turn], tools: str, *, for_answer: bool) -> str:
    """What the model reads, and the last answer as it learns it."""
    prompt = render(tokenizer, turns if for_answer else turns[:-1], for_answer=True, tools=tools)
    return prompt if for_answer else prompt + _up_to_end(tokenizer, _answer(tokenizer, turns, prompt, tools))


def _up_to_end(tokenizer: Tokenizer, answer: str) -> str:
    """What is trained of an answer: nothing behind the first token that ends it."""
    return answer[: min((answer.find(end) for end in _end_tokens(tokenizer) if end in answer), default=len(answer))]


def _lay_out_text(tokenizer: Tokenizer, turns: Sequence[Turn], *, for_answer: bool) -> list[Part]:
    """Plain text begins as the tokenizer lets texts begin, and ends with the end token."""
    begin = (tokenizer.bos_token or "") if begins_texts(tokenizer) else ""
    end = [] if for_answer else [(tokenizer.eos_token or "", True)]
    return [part for part in [(begin, False), *((turn.content, True) for turn in turns), *end] if part[0]]


def begins_texts(tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer puts a begin token before a text."""
    ids = tokenizer("a")["input_ids"]
    return tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]


def _end_tokens(tokenizer: Tokenizer) -> list[str]:
    return _ends_of(tokenizer.chat_template, tokenizer)


@lru_cache(maxsize=8)
def _ends_of(template: str, tokenizer: Tokenizer) -> list[str]:  # the template is part of the key: a tokenizer may get another
    return [str(token) for token in tokenizer.convert_ids_to_tokens(sorted(end_token_ids(tokenizer, None)))]


def end_token_ids(tokenizer: Tokenizer, generation_eos: int | Sequence[int] | None) -> frozenset[int]:
    """Every token that ends an answer: the tokenizer's, the generation config's, and what the template itself writes last."""
    ids = {tokenizer.eos_token_id}
    ids.update([generation_eos] if isinstance(generation_eos, int) else generation_eos or ())
    probe = (Turn("user", "a"), Turn("assistant", "bbbb"))
    _, found, rest = render(tokenizer, probe, for_answer=False).rpartition("bbbb")
    tail = rest if found else ""  # not what follows the prompt: some templates write a thinking block there alone
    special = {*tokenizer.all_special_ids, *(i for i, token in tokenizer.added_tokens_decoder.items() if token.special)}
    first = next((i for i in _token_ids(tokenizer, [tail])[0] if i in special), None) if tail else None
    ids.add(first)
    return frozenset(i for i in ids if i is not None)
