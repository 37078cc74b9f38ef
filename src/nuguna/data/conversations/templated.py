"""Texts that already contain a chat template → turns, so that they can be trained in the template of the
user's own model.

There are two kinds of templates. In one, every turn is opened by a tag with the role's name and closed by a
token (ChatML). In the other, a turn is opened by a label and lasts until the next label (Alpaca). Whatever is
in doubt is refused: a marker left inside of a turn would be trained as if it were a word of the answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ...message import Message, say
from ...text.private import masked
from .conversation import ROLES, Turn

_BEGIN_TOKENS = ("<s>", "<bos>", "<|begin_of_text|>")
_END_TOKENS = ("</s>", "<eos>", "<|end_of_text|>", "<|endoftext|>")
_EXCERPT_CHARS = 40  # of a text that a message shows
_THINK, _THINK_END = "<think>", "</think>"
_SYSTEM, _SYSTEM_END = "<<SYS>>", "<</SYS>>"  # stand inside of the first question of Llama 2


@dataclass(frozen=True)
class _Part:
    """A turn as it stands in the text, and the marker that opens it."""

    role: str
    content: str
    marker: str


@dataclass(frozen=True)
class _Tags:
    """How turns are opened and closed where each opening names its role: group 1 of `opening`."""

    marker: str  # as messages show it
    opening: re.Pattern[str]
    closing: re.Pattern[str]
    stray: re.Pattern[str]  # an opening with a known role: a turn that contains one was never closed
    roles: Mapping[str, str]  # the template's names → ours


@dataclass(frozen=True)
class _Labels:
    """How turns are opened where nothing closes them; group 1 of `pattern` is a key of `roles`."""

    marker: str  # as messages show it
    pattern: re.Pattern[str]
    roles: Mapping[str, str]
    # lines before the first label that say nothing about this conversation; by default none may
    boilerplate: str = r"(?!)"
    preamble: str = r"(?!)"  # how a paragraph in their place may begin that does


_Split = Callable[[str], "list[_Part] | Message"]


def find_template(texts: Sequence[str]) -> str | None:
    """Name of the template that at least 90 % of the texts that are not empty can be parsed with; None for
    plain text.
    """
    filled = [text for text in texts if text.strip()]
    return next((name for name in _TEMPLATES if filled and _nearly_all_parse(filled, name)), None)


def parse_turns(text: str, template: str) -> tuple[Turn, ...] | Message:
    """Return the turns of `text` up to its last answer, or a sentence that tells what is wrong with it.

    `template` is a name from `find_template`. The thoughts in `<think>` before an answer become the
    `reasoning` of its turn.
    """
    parts = _TEMPLATES[template](text)
    return parts if isinstance(parts, Message) else _to_turns(parts)


def _nearly_all_parse(texts: Sequence[str], template: str) -> bool:
    failures_left = len(texts) // 10
    for text in texts:
        if isinstance(parse_turns(text, template), Message):
            failures_left -= 1
            if failures_left < 0:  # plain text is known after a tenth of it
                return False
    return True


def _to_turns(parts: Sequence[_Part]) -> tuple[Turn, ...] | Message:
    if not parts:
        return say("the text is empty")
    turns: list[Turn] = []
    for part in parts:
        content, reasoning = part.content.strip(), ""
        if part.role == "assistant" and content.startswith(_THINK):
            # without an end, all of it is thought and the answer is missing
            reasoning, _, content = content[len(_THINK) :].partition(_THINK_END)
        if not content.strip():
            if part.role == "system":  # Zephyr writes an empty one where there is none
                continue
            if part.role == "assistant":
                return say("the text has no answer after {marker}", marker=part.marker)
            return say("the text has nothing after {marker}", marker=part.marker)
        turns.append(Turn(part.role, content.strip(), reasoning=reasoning.strip()))
    while turns and turns[-1].role != "assistant":  # a question without an answer teaches nothing
        turns.pop()
    return tuple(turns) or say("the text has no answer after {marker}", marker=parts[-1].marker)


def _either(words: Sequence[str]) -> str:
    return "(?:" + "|".join(map(re.escape, words)) + ")"


_END = re.compile(_either(_END_TOKENS))
_BETWEEN_TURNS = re.compile(r"\s+|" + _either((*_BEGIN_TOKENS, *_END_TOKENS)))


def _skip(text: str, place: int) -> int:
    """Return where whitespace and begin and end tokens stop. A loop: one pattern for all of them would need a
    stack as long as they.
    """
    while found := _BETWEEN_TURNS.match(text, place):
        place = found.end()
    return place


def _outside(text: str, place: int) -> Message:
    excerpt = " ".join(masked(text[place : place + 8 * _EXCERPT_CHARS])[:_EXCERPT_CHARS].split())
    return say("there is text outside the turns: {excerpt}", excerpt=excerpt)


def _up_to_end_token(text: str) -> str | Message:
    """Return what a turn without a closing tag says. Nothing but more tokens may follow its end token."""
    if end := _END.search(text):
        rest = _skip(text, end.end())
        if rest < len(text):
            return _outside(text, rest)
        text = text[: end.start()]
    text = text.rstrip()
    for token in _BEGIN_TOKENS:  # of the next turn
        text = text.removesuffix(token)
    return text


def _split_tagged(text: str, tags: _Tags) -> list[_Part] | Message:
    parts: list[_Part] = []
    place = _skip(text, 0)
    while place < len(text):
        opening = tags.opening.match(text, place)
        if opening is None:
            return (
                _outside(text, place)
                if parts
                else say("the text does not begin with {marker}", marker=tags.marker)
            )
        role = tags.roles.get(opening[1].strip())
        if role is None:
            return say("a turn has an unknown role: {role}", role=repr(opening[1].strip()))
        closing = tags.closing.search(text, opening.end())
        # texts are often cut after the last answer, for trainers that add the end token themselves
        content = (
            text[opening.end() : closing.start()] if closing else _up_to_end_token(text[opening.end() :])
        )
        if isinstance(content, Message):
            return content
        if tags.stray.search(content):
            return say("the turn after {marker} is not closed", marker=opening[0].strip())
        parts.append(_Part(role, content, opening[0].strip()))
        place = _skip(text, closing.end() if closing else len(text))
    return parts


# what may come after what, where only labels separate the turns: anything else is a label that belongs to a
# content
_NEXT = {
    "": ("system", "user"),
    "system": ("user",),
    "user": ("input", "assistant"),
    "input": ("assistant",),
    "assistant": ("user",),
}


def _split_labelled(text: str, labels: _Labels) -> list[_Part] | Message:
    text = text[_skip(text, 0) :]
    found = list(labels.pattern.finditer(text))
    if not found:
        return say("the text does not begin with {marker}", marker=labels.marker) if text else []
    parts = _split_preamble(text[: found[0].start()], labels)
    if isinstance(parts, Message):
        return parts
    before = "system" if parts else ""
    for label, following in zip(found, [*found[1:], None], strict=True):
        role, marker = labels.roles[label[1]], label[0].strip()
        if role not in _NEXT[before]:
            return say("{marker} is in the wrong place", marker=marker)
        content = _up_to_end_token(text[label.end() : following.start() if following else len(text)])
        if isinstance(content, Message):
            return content
        if role == "input":
            question = parts.pop()
            both = [piece for piece in (question.content.strip(), content.strip()) if piece]
            parts.append(replace(question, content="\n\n".join(both)))
        else:
            parts.append(_Part(role, content, marker))
        before = role
    return parts


def _split_preamble(text: str, labels: _Labels) -> list[_Part] | Message:
    """Return what may stand before the first label; it is a system turn where it is not the usual one."""
    text = text.strip()
    if all(re.fullmatch(labels.boilerplate, line.strip()) for line in text.splitlines() if line.strip()):
        return []
    if "\n\n" in text or not re.match(labels.preamble, text):
        return say("the text does not begin with {marker}", marker=labels.marker)
    return [_Part("system", text, labels.marker)]


def _split_llama_2(text: str) -> list[_Part] | Message:
    parts = _split_labelled(text, _INST)
    if isinstance(parts, Message) or not parts:
        return parts
    first = parts[0].content.lstrip()
    if first.startswith(_SYSTEM):
        system, closed, question = first[len(_SYSTEM) :].partition(_SYSTEM_END)
        if not closed:
            return say("the turn after {marker} is not closed", marker=_SYSTEM)
        parts[:1] = [_Part("system", system, _SYSTEM), replace(parts[0], content=question)]
    if any(_SYSTEM in part.content for part in parts if part.role == "user"):
        return say("{marker} is in the wrong place", marker=_SYSTEM)
    return parts


def _split_human_assistant(text: str) -> list[_Part] | Message:
    text = text[_skip(text, 0) :]
    if not _LINES.pattern.match(text):
        return _split_labelled(text, _HASHED)
    # Where blank lines set the answers apart, a line "Human:" within an answer is part of a script that it
    # quotes.
    return _split_labelled(text, _PARAGRAPHS if re.search(r"\n\r?\nAssistant:", text) else _LINES)


_SAME = {role: role for role in ROLES}


def _tagged(before: str, after: str, closing: Sequence[str], roles: Mapping[str, str] = _SAME) -> _Split:
    """Return a template whose tags are the name of a role between `before` and `after`."""
    start, end = re.escape(before), r"\r?\n" if after == "\n" else re.escape(after)
    tags = _Tags(
        marker=f"{before}user{after}".strip(),
        opening=re.compile(rf"{start}([^<>|\n]{{0,40}}){end}"),
        closing=re.compile(_either(closing)),
        stray=re.compile(start + _either(tuple(roles)) + end),
        roles=roles,
    )
    return partial(_split_tagged, tags=tags)


_SPEAKERS = {"Human": "user", "User": "user", "Assistant": "assistant", "System": "system"}
_SPEAKER = "(Human|User|Assistant|System):"
# FastChat, docs/weights_version.md and conversation.py: both sentences or the first one
_CHAT_BEGINS = r"A chat between a (?:curious )?(?:user|human) and an (?:artificial intelligence )?assistant\."
_CHAT_GOES_ON = (
    r"The assistant gives helpful, detailed, and polite answers to the (?:user|human)['’]s questions\."
)
_PREAMBLES = {
    "boilerplate": rf"{_CHAT_BEGINS}(?:\s{_CHAT_GOES_ON})?|{_CHAT_GOES_ON}",
    "preamble": "A chat between",
}
# Stanford Alpaca, KoAlpaca (in both languages, "### Instruction(명령어):") and KULLM
_TASK = (
    "Below is an instruction that describes a task|paired with an input|Write a response"
    "|아래는 작업을 설명하는|요청을 적절히"
)
_INSTRUCTION = ("Instruction", "명령어", "질문", "지시사항", "지시 사항")
_INPUT, _RESPONSE = ("Input", "입력", "맥락"), ("Response", "응답", "답변")

_INST = _Labels("[INST]", re.compile(r"\[(/?INST)\]"), {"INST": "user", "/INST": "assistant"})
_ALPACA = _Labels(
    "### Instruction:",
    re.compile(
        rf"^###[ ]?({_either((*_INSTRUCTION, *_INPUT, *_RESPONSE))})(?:\((?:명령어|입력|응답)\))?[ ]?:",
        re.MULTILINE,
    ),
    {
        **dict.fromkeys(_INSTRUCTION, "user"),
        **dict.fromkeys(_INPUT, "input"),
        **dict.fromkeys(_RESPONSE, "assistant"),
    },
    boilerplate=f"(?:{_TASK}).*",
)
_VICUNA = _Labels(
    "USER:",
    re.compile(r"(?<![^\s>])(USER|ASSISTANT):"),
    {"USER": "user", "ASSISTANT": "assistant"},
    **_PREAMBLES,
)
# OpenAssistant-Guanaco puts the next label right behind the last word
_HASHED = _Labels("### Human:", re.compile(rf"(?<!#)###[ ]?{_SPEAKER}"), _SPEAKERS, **_PREAMBLES)
_LINES = _Labels("Human:", re.compile(rf"^{_SPEAKER}", re.MULTILINE), _SPEAKERS)
_PARAGRAPHS = _Labels("Human:", re.compile(rf"(?:\A|(?<=\n\n)|(?<=\n\r\n)){_SPEAKER}"), _SPEAKERS)

_TEMPLATES: Mapping[str, _Split] = {
    "llama-2": _split_llama_2,
    "chatml": _tagged("<|im_start|>", "\n", ["<|im_end|>"]),
    # Llama 3.1 ends a call of a tool with <|eom_id|>, and the tool answers as "ipython"
    "llama-3": _tagged(
        "<|start_header_id|>", "<|end_header_id|>", ["<|eot_id|>", "<|eom_id|>"], {**_SAME, "ipython": "tool"}
    ),
    "gemma": _tagged("<start_of_turn>", "\n", ["<end_of_turn>"], {**_SAME, "model": "assistant"}),
    "phi-3": _tagged("<|", "|>", ["<|end|>"]),
    "zephyr": _tagged("<|", "|>", ["</s>", "<|endoftext|>"]),
    "alpaca": partial(_split_labelled, labels=_ALPACA),
    "vicuna": partial(_split_labelled, labels=_VICUNA),
    "human-assistant": _split_human_assistant,
}
