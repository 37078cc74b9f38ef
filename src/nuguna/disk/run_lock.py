"""One run in a folder at a time: a second one is refused, and what a dead one left is no lock."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from ..errors import EnvironmentFault, SettingError
from ..message import say
from .run_folder import LOCK, RUNNING, make_folder, read_json, write_json


@contextmanager
def only_run(folder: Path) -> Iterator[dict[str, Any]]:
    """While the block runs, this process alone writes into `folder`, which is there or is made. The system
    gives the lock free when a process ends, however it ends: the note that one left which was killed is
    given, an empty one otherwise.

    Raises `SettingError` with the number and the start of the process that is there already.
    """
    make_folder(folder)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise _refusal(folder) from None
    except (OSError, NotImplementedError):  # some network drives have no locks: the note has to do
        if psutil.pid_exists(_note(folder).get("pid", 0)):
            raise _refusal(folder) from None
    try:
        dead = _note(folder)
        with suppress(EnvironmentFault):  # a full disk; the lock itself stands
            started = f"{datetime.datetime.now():%Y-%m-%d %H:%M:%S}"
            write_json(folder / RUNNING, {"pid": os.getpid(), "started": started})
        yield dead
    finally:
        for name in (RUNNING, LOCK):
            with suppress(OSError):
                (folder / name).unlink()
        lock.release()


def _note(folder: Path) -> dict[str, Any]:
    document = read_json(folder / RUNNING)
    return document if isinstance(document, dict) and isinstance(document.get("pid"), int) else {}


def _refusal(folder: Path) -> SettingError:
    note = _note(folder)
    return SettingError(
        say("Another training is writing into {folder}.", folder=folder),
        seen=say(
            "Process {pid}, since {started}", pid=note.get("pid", "?"), started=note.get("started", "?")
        ),
        fix=say("Wait until it has ended, stop it, or choose another folder: OUTPUT_DIR=./other ./run.sh"),
    )
