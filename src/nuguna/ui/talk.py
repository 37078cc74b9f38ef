"""`nuguna chat`: a conversation in the terminal, answers appearing as they are made."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import NugunaError
from ..jobs.chat import Session, open_session
from ..message import say
from .screen import Screen


def talk(folder: Path, use_base: bool, system: str | None, screen: Screen) -> None:
    """Ask, answer, until /exit or the end of input. Ctrl-C stops an answer, and at the prompt leaves."""
    screen.line(screen.t(say("Loading the model …")))
    session = open_session(folder, use_base=use_base, system=system)
    screen.line(
        screen.t(say("Ask away. /reset forgets the conversation, /exit leaves, Ctrl-C stops an answer."))
    )
    while True:
        try:
            question = input(screen.t(say("You: "))).strip()
        except (EOFError, KeyboardInterrupt):
            screen.line("")
            break
        if question in ("/exit", "/quit"):
            break
        if question == "/reset":
            session.reset()
            screen.line(screen.t(say("Forgotten. A new conversation begins.")))
        elif question.startswith("/"):
            screen.line(screen.t(say("There are two commands: /reset and /exit.")))
        elif question:
            _answer(session, question, screen)
    screen.line(screen.t(say("Good-bye.")))


def _answer(session: Session, question: str, screen: Screen) -> None:
    sys.stdout.write(screen.t(say("Model: ")))
    with _interruptible() as stopped:
        try:
            session.ask(question, on_text=_show, stop=lambda: bool(stopped))
        except NugunaError as error:  # the talk so far is still there
            _show("\n")
            screen.error(error)
            return
    _show("\n")
    if stopped:
        screen.line(screen.t(say("(stopped)")))


def _show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


@contextmanager
def _interruptible() -> Iterator[list[bool]]:
    """While the block runs, Ctrl-C fills the list instead of ending the program."""
    stopped: list[bool] = []
    before = signal.signal(signal.SIGINT, lambda signum, frame: stopped.append(True))
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)
