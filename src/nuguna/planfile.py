"""plan.toml: write a plan with its reasons as comments, read back what a person may have edited."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from .errors import SettingError
from .message import Message, say
from .plan import Plan
from .runfolder import move_aside, write_text
from .settings import SETTINGS, unknown_key

_HEADER = (
    say("The plan of a run. Edit any line and run it again: nuguna train --plan FILE"),
    say("A line that is deleted is decided anew. Behind each value: why, and who decided."),
)


def plan_toml(plan: Plan, translate: Callable[[Message], str]) -> str:
    """The text of plan.toml, reasons in the user's language."""
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
    """Rename a file at `path` that says something else than `plan`, since a person may have edited it. Returns its new place."""
    try:
        same = path.read_text(encoding="utf-8") == plan_toml(plan, translate)
    except (OSError, ValueError):
        same = False
    return None if same else move_aside(path)


def read_plan(path: Path) -> dict[str, Any]:
    """Names and values of a plan file. Raises `SettingError` for a missing file, broken TOML or an unknown key."""
    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8-sig")).unwrap()
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
    known = [item.name for item in fields(Plan) if str(item.type).startswith("Choice")]
    for name in document:
        if name not in known:
            raise unknown_key(name, known, path.name)
    return dict(document)


def split_edited(values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(settings of `Request`, what only a plan file can say)."""
    names = {setting.name for setting in SETTINGS}
    return {n: v for n, v in values.items() if n in names}, {n: v for n, v in values.items() if n not in names}


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
