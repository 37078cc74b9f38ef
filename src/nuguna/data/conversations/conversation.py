"""What every dataset becomes: conversations, one form for everything that follows."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from ...message import Message

ROLES = ("system", "user", "assistant", "tool")
TEXT = "text"  # the role of plain text: no speaker, only words to continue


@dataclass(frozen=True)
class Turn:
    """One utterance; role is one of `ROLES`, or `TEXT`."""

    role: str
    content: str
    reasoning: str = ""  # what an assistant thought before it answered
    tool_calls: str = ""  # JSON list of the functions that an assistant calls
    name: str = ""  # of the function that a tool turn answers for
    call_id: str = ""  # of the call that a tool turn answers for
    is_trained: bool = True  # False: an assistant's words that are only read


@dataclass(frozen=True)
class Conversation:
    """Turns in order, ending with the assistant. `terms` are words a right answer must contain, where the
    dataset names them.

    `choices` are all possible answers, the right one among them, each as the assistant would say it.
    """

    turns: tuple[Turn, ...]
    file: str
    line: int
    terms: tuple[str, ...] = ()
    lang: str = ""
    tools: str = ""  # JSON list of the functions that the assistant may call
    choices: tuple[str, ...] = ()
    changes: tuple[Message, ...] = field(default=(), compare=False)  # what was put in order

    @property
    def prompt(self) -> tuple[Turn, ...]:
        """All turns before the last answer."""
        return self.turns[:-1]

    @property
    def system(self) -> str:
        """What the system says, "" if nothing."""
        return self.turns[0].content if self.turns[0].role == "system" else ""

    @property
    def answer(self) -> str:
        """The last answer."""
        return self.turns[-1].content


def answer_turn(content: str, calls: str = "") -> Turn:
    """Return an answer; what stands before </think> is its reasoning. The <think> itself may have stood in
    the prompt.
    """
    thought, mark, answer = content.partition("</think>")
    if mark and answer.strip() and "<think>" not in thought.removeprefix("<think>"):
        return Turn("assistant", answer.strip(), thought.removeprefix("<think>").strip(), calls)
    return Turn("assistant", content, "", calls)


def as_message(turn: Turn) -> dict[str, Any]:
    """Return the turn as chat templates and the hub's libraries write it."""
    message: dict[str, Any] = {"role": turn.role, "content": turn.content}
    if turn.reasoning:
        message["reasoning_content"] = turn.reasoning
    if turn.tool_calls:
        message["tool_calls"] = json.loads(turn.tool_calls)
    if turn.name:
        message["name"] = turn.name
    if turn.call_id:
        message["tool_call_id"] = turn.call_id
    return message
