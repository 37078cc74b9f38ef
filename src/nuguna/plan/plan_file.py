"""plan.toml: write a plan with its reasons as comments, read back what a person may have edited."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from ..disk.run_folder import PLAN, move_aside, write_text
from ..errors import SettingError
from ..message import Message, say
from ..text.redaction import redact
from .plan import Plan, value_names
from .plan_values import PLAN_VALUES
from .settings import SETTINGS, unknown_key

MAX_BYTES = 2**16  # a plan has three thousand
MAX_CHARACTERS = 4096  # of a value: the longest path on Linux
MAX_NUMBER = 2**53
_HEADER = (
    say("The plan of a run. Edit any line and run it again: nuguna train --plan FILE"),
    say("A deleted line is decided again. After each value: why, and who decided."),
)


def plan_toml(plan: Plan, translate: Callable[[Message], str]) -> str:
    """Return the text of plan.toml, reasons in the user's language."""
    document = tomlkit.document()
    for line in _HEADER:
        document.add(tomlkit.comment(translate(line)))
    document.add(tomlkit.nl())
    for name, choice in plan.choices().items():
        value = tomlkit.item(choice.value)
        reason = f"{translate(choice.reason)} ({translate(SOURCES[choice.source])})"
        value.comment("".join(char if char.isprintable() else " " for char in reason))
        document.add(name, value)
    return tomlkit.dumps(document)


def write_plan(plan: Plan, path: Path, translate: Callable[[Message], str]) -> None:
    """Write plan.toml whole or not at all."""
    write_text(path, plan_toml(plan, translate))


def keep_older(plan: Plan, path: Path, translate: Callable[[Message], str]) -> Path | None:
    """Rename a file at `path` that says something else than `plan`, since a person may have edited it.
    Returns its new place.
    """
    try:
        same = path.read_text(encoding="utf-8") == redact(plan_toml(plan, translate))
    except (OSError, ValueError):
        same = False
    return None if same else move_aside(path)


def read_plan(path: Path) -> dict[str, Any]:
    """Return names and values of a plan file. Raises `SettingError`: no file, broken TOML, an unknown key, an
    absurd value.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
        document = tomlkit.parse(content.decode("utf-8-sig")).unwrap()
    except OSError as error:
        raise SettingError(
            say("The plan file {path} cannot be read.", path=path),
            seen=say("{reason}", reason=error.strerror or error),
            fix=say("Make one first: nuguna plan"),
        ) from error
    except (TOMLKitError, ValueError, RecursionError) as error:
        raise SettingError(
            say("The plan file {path} is not valid TOML.", path=path),
            seen=say("{reason}", reason=error),
            fix=say("Correct that line, or make a new plan: nuguna plan"),
        ) from error
    known = list(value_names())
    for name in document:
        if name not in known:
            raise unknown_key(name, known, path.name)
        if not _is_plain(document[name]):
            raise SettingError(
                say("In the plan file, {name} has a value that no setting can have.", name=name),
                seen=say("{value}", value=_shown(document[name])),
                fix=say("Correct the line, or delete it: then the planner decides."),
            )
    return dict(document)


def read_run_plan(folder: Path) -> dict[str, Any]:
    """Return the same for the plan in the folder of a run or adapter, which may be somebody else's; {} where
    there is none.

    Every value has the kind and the size that a plan's has. Raises `SettingError`.
    """
    path = folder / PLAN
    values = read_plan(path) if path.is_file() else {}
    for name, value in values.items():
        if not PLAN_VALUES[name].has_kind(value):
            raise SettingError(
                say(
                    "The plan in {folder} was not written by nuguna: {name} cannot be {value}.",
                    folder=folder,
                    name=name,
                    value=_shown(value),
                ),
                fix=say("Delete that line of {file}, or the whole file.", file=path),
            )
    return values


def _is_plain(value: object) -> bool:
    """Return a text, a number or a yes, none of them absurd."""
    if isinstance(value, str):
        return len(value) <= MAX_CHARACTERS and "\0" not in value
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and abs(value) < MAX_NUMBER


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # Python writes no number of more than 4,300 digits
        text = "…"
    return text if len(text) <= 60 else text[:59] + "…"


def split_edited(values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (settings of `Request`, what only a plan file can say)."""
    names = {setting.name for setting in SETTINGS}
    return {n: v for n, v in values.items() if n in names}, {
        n: v for n, v in values.items() if n not in names
    }


SOURCES: dict[str, Message] = {
    "flag": say("command line"),
    "environment": say("environment"),
    "plan file": say("plan file"),
    "request": say("you"),
    "hardware": say("machine"),
    "data": say("data"),
    "model": say("model"),
    "default": say("default"),
}
