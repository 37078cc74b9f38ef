"""Ask which columns of a table to train on, when that cannot be seen and somebody sits there."""

from __future__ import annotations

import shlex
import sys

from ..data.dataset import UnclearColumnsError
from ..data.files.columns import join_columns
from ..message import say
from ..text.private import masked
from .screen import Screen


def can_ask() -> bool:
    """Return whether somebody can be asked: both ends of the conversation are a terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask_columns(error: UnclearColumnsError, screen: Screen) -> str | None:
    """`question,answer` as the user chose, or one column of plain text; None when they would rather not."""
    names = list(error.columns)
    screen.line(screen.t(error.what), style="bold")
    for number, name in enumerate(names, 1):
        screen.line(f"  {number}. {masked(name)}: {error.columns[name]}")
    question = _choice(
        screen,
        say("Number of the column with the questions (0: it is plain text, Enter: stop): "),
        len(names),
        0,
    )
    if question is None:
        return None
    prompt = (
        say("Number of the column with the text: ")
        if question == 0
        else say("Number of the column with the answers: ")
    )
    answer = _choice(screen, prompt, len(names), 1)
    if answer is None or answer == question:
        return None
    chosen = join_columns([names[answer - 1]] if question == 0 else [names[question - 1], names[answer - 1]])
    screen.line(
        screen.t(say("Next time without asking: DATA_COLUMNS={columns}", columns=shlex.quote(chosen)))
    )
    return chosen


def _choice(screen: Screen, prompt: object, highest: int, lowest: int) -> int | None:
    """Return a number from `lowest` to `highest`; None for an empty line or the end of input."""
    while True:
        try:
            typed = input(screen.t(prompt)).strip()  # type: ignore[arg-type]
        except (EOFError, KeyboardInterrupt):
            return None
        if not typed:
            return None
        if typed.isdecimal() and lowest <= int(typed) <= highest:
            return int(typed)
        screen.line(
            screen.t(say("Please type a number from {lowest} to {highest}.", lowest=lowest, highest=highest))
        )
