"""Requests to end: Ctrl-C and SIGTERM. The first is obeyed in order, a second ends the process at once,
wherever it is.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from ..errors import Interrupted, Terminated
from ..message import Message, say

REQUESTS = (signal.SIGINT, signal.SIGTERM)


class StopNow(BaseException):  # noqa: N818 - no error: the work in hand is let go
    """Raised where a request comes while work may be dropped; like KeyboardInterrupt it passes `except
    Exception`.
    """


class TerminateRequest(KeyboardInterrupt):  # noqa: N818 - like its base
    """SIGTERM, where Ctrl-C would raise KeyboardInterrupt."""


class Stop:
    """Whether an end was asked for, and by what."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._is_droppable = False

    @property
    def is_asked(self) -> bool:
        """Since this began."""
        return self.number is not None

    def receive(self, number: int, frame: FrameType | None) -> None:
        """The signal's handler."""
        self.number = number
        # a second one does what the system does with it, in the midst of a long computation too
        for request in REQUESTS:
            signal.signal(request, signal.SIG_DFL)
        if self._is_droppable:
            raise StopNow

    @contextmanager
    def droppable(self) -> Iterator[None]:
        """While the block runs, a request raises `StopNow` at once: what is done there can be done again as
        if it had not been begun.
        """
        self._is_droppable = True
        try:
            if self.is_asked:
                raise StopNow
            yield
        finally:
            self._is_droppable = False


@contextmanager
def stop_requests() -> Iterator[Stop]:
    """While the block runs, a request is remembered, so that nothing is left half done. Only the main thread
    receives signals: in any other nothing changes.
    """
    stop = Stop()
    with _handled_by(stop.receive):
        yield stop


@contextmanager
def raised_requests() -> Iterator[Stop]:
    """While the block runs, a request raises KeyboardInterrupt or `TerminateRequest`. It is remembered too:
    libraries lose exceptions.
    """
    stop = Stop()

    def receive(number: int, frame: FrameType | None) -> None:
        stop.receive(number, frame)
        raise TerminateRequest if number == signal.SIGTERM else KeyboardInterrupt

    with _handled_by(receive):
        yield stop


@contextmanager
def _handled_by(receive: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, receive) for number in REQUESTS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def interrupted(number: int | None, what: Message, fix: Message) -> Interrupted:
    """Return the error that ends a command, with the exit code of the request."""
    kind = Terminated if number == signal.SIGTERM else Interrupted
    return kind(what, fix=fix)


def stopped_by_you(number: int | None) -> Interrupted:
    """Return the error of a stop where nothing had to be kept."""
    return interrupted(number, say("Stopped by you."), say("Start the same command again whenever you like."))
