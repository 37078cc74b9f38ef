"""A run folder: the names in it, and reading and writing that is whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..errors import EnvironmentFault, ModelError
from ..message import say
from ..text.redaction import redact, redact_document
from .durable import write_over

PLAN = "plan.toml"
REPORT = "report.json"
REPORT_PAGE = "report.html"
COMPARISON_PAGE = "comparison.html"  # of several runs, left where the command was typed
METRICS = "metrics.jsonl"
BAD_ROWS = "bad_rows.jsonl"
ADAPTER = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
CARD = "README.md"
CHECKPOINTS = "checkpoints"
TENSORBOARD = "tensorboard"
LOCK, RUNNING = ".lock", "running.json"  # while a process writes into the folder: runlock.py
_TOKENIZER = (
    *(
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "special_tokens_map.json",
        "added_tokens.json",
    ),
    *("tokenizer.model", "vocab.json", "merges.txt", "vocab.txt"),
)
_LITTER = (".DS_Store", "Thumbs.db", "desktop.ini")  # what systems leave in any folder that was looked at
_OURS = {
    *(
        PLAN,
        REPORT,
        REPORT_PAGE,
        COMPARISON_PAGE,
        METRICS,
        BAD_ROWS,
        ADAPTER,
        ADAPTER_CONFIG,
        CARD,
        CHECKPOINTS,
        TENSORBOARD,
    ),
    *(*_TOKENIZER, *_LITTER, LOCK, RUNNING),
}


def write_text(path: Path, text: str) -> None:
    """Write a file so that a crash leaves the old one or the new one. Raises `EnvironmentFault`.

    Passwords and keys are taken out: what is written here is meant to be shown and shared.
    """
    try:
        write_over(path, redact(text).encode())
    except OSError as error:
        raise _cannot_write(path, error) from error


def write_json(path: Path, document: object) -> None:
    """Write a JSON document, whole or not at all."""
    write_text(path, json.dumps(redact_document(document), ensure_ascii=False, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON document; None when it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def make_folder(path: Path) -> None:
    """Make a folder and try that it can be written. Raises `EnvironmentFault`."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".probe.{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise _cannot_write(path, error) from error


def is_finished(folder: Path) -> bool:
    """Return a run that ended and said so, succeeded or failed."""
    report = read_json(folder / REPORT)
    return isinstance(report, dict) and "status" in report


def is_ours(folder: Path) -> bool:
    """Return whether a folder is a run's, or empty, or not there: anything else belongs to somebody and is
    left alone.

    One strange file makes it somebody's: `nuguna plan` leaves a plan.toml in any folder. So does working in
    it, since a folder is given free by renaming it.
    """
    if not folder.exists():
        return True
    if not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir()}
    strange = {name for name in names - _OURS if not (name.startswith(".") and name.endswith(".tmp"))}
    in_use = Path.cwd().is_relative_to(folder.resolve())
    return not names or (
        not strange and not in_use and not names.isdisjoint({PLAN, ADAPTER_CONFIG, BAD_ROWS, RUNNING})
    )


def move_aside(folder: Path) -> Path | None:
    """Give the name of a folder or file free: results → results.1, results.2, … Returns the new place; None
    if it was empty.
    """
    if not folder.exists() or (folder.is_dir() and {path.name for path in folder.iterdir()} <= {BAD_ROWS}):
        return None  # a list of broken rows is no result, and the next run writes its own
    number = 1
    while (target := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    try:
        folder.rename(target)
    except OSError as error:
        raise _cannot_write(folder, error) from error
    return target


def open_run(folder: Path) -> Path:
    """Return the folder of a finished run. Raises `ModelError` that says what is missing and how to get
    it.
    """
    if (folder / ADAPTER_CONFIG).is_file() and (folder / ADAPTER).is_file():
        return folder
    if not folder.is_dir():
        raise ModelError(
            say("There is no run folder {folder}.", folder=folder), fix=say("Train first: ./run.sh")
        )
    raise ModelError(
        say("{folder} contains no finished adapter.", folder=folder),
        seen=say("There is no {name} in it.", name=ADAPTER),
        fix=say("Start the same training again; it continues where it stopped: ./run.sh"),
    )


def _cannot_write(path: Path, error: OSError) -> EnvironmentFault:
    return EnvironmentFault(
        say("{path} cannot be written.", path=path),
        seen=say("{reason}", reason=error.strerror or error),
        fix=say("Free some space or choose another folder: OUTPUT_DIR=./other ./run.sh"),
    )
