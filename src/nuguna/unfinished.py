"""A run that did not end: the same command goes on with it, with what was decided then, and nothing of it is overwritten."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import __version__
from .catalog import BaseModel
from .checkpoint import find_checkpoint, is_begun, plan_mark, try_room
from .data.dataset import Dataset, fingerprint
from .errors import SettingError
from .events import Note, Tell
from .hardware import Hardware
from .intake import write_bad_rows
from .message import Message, say
from .plan import WITHOUT_EFFECT, Plan
from .planfile import read_plan, split_edited
from .runfolder import CHECKPOINTS, PLAN, is_finished, is_ours, move_aside
from .runlock import only_run
from .settings import SETTINGS, Request
from .stages import decide

_NO_WISH = {"model": "auto", "quantization": "auto"}


def decide_or_go_on(
    request: Request, hardware: Hardware, dataset: Dataset, edited: Mapping[str, Any] | None = None
) -> tuple[Plan, BaseModel]:
    """The plan: that of the unfinished run in the folder, where the user asks for nothing else.

    What a planner chooses depends on the memory that is free just then; a run that goes on keeps its model and lengths.
    """
    plan, base = decide(request, hardware, dataset, edited)
    folder = Path(plan.output_dir.value).expanduser()
    if (before := _as_decided_before(request, dict(edited or {}), folder)) is None:
        return plan, base
    try:
        older, older_base = decide(before[0], hardware, dataset, before[1])
    except SettingError:
        return plan, base
    return (older, older_base) if is_begun(folder, mark_of(older, dataset)) else (plan, base)


def _as_decided_before(request: Request, edited: dict[str, Any], folder: Path) -> tuple[Request, dict[str, Any]] | None:
    """The wishes with what the plan in the folder says besides; None if there is none to go on with, or it contradicts them."""
    if is_finished(folder) or not (folder / CHECKPOINTS).is_dir():
        return None
    try:
        settings, rest = split_edited(read_plan(folder / PLAN))
        then = Request(**settings, sources=dict.fromkeys(settings, "plan file"))
    except SettingError:  # somebody edited it
        return None
    names = [setting.name for setting in SETTINGS if setting.name != "output_dir" and getattr(then, setting.name) is not None]
    said = {name for name in names if getattr(request, name) not in (None, _NO_WISH.get(name))}
    if any(getattr(request, name) != getattr(then, name) for name in said) or any(rest.get(n) != v for n, v in edited.items()):
        return None
    missing = {name: getattr(then, name) for name in names if name not in said}
    sources = {**request.sources, **dict.fromkeys(missing, "plan file")}
    kept = {name: value for name, value in rest.items() if name not in WITHOUT_EFFECT}
    return replace(request, **missing, sources=sources), {**kept, **edited}


def mark_of(plan: Plan, dataset: Dataset) -> str:
    """The mark of this plan's checkpoints."""
    matters = {name: choice.value for name, choice in plan.choices().items() if name not in WITHOUT_EFFECT}
    matters = {name: float(value) if type(value) is int else value for name, value in matters.items()}  # 16 is 16.0 in a file
    return plan_mark({**matters, "data_hash": fingerprint(dataset), "version": __version__})


@contextmanager
def prepared_folder(plan: Plan, dataset: Dataset, tell: Tell) -> Iterator[tuple[Path, str]]:
    """Within, the run folder is this run's alone: an unfinished run of the same plan goes on, any other is moved aside.

    Gives the folder and the mark of this plan's checkpoints. Raises `SettingError` for a folder with other files or in use, and
    `EnvironmentFault` for one that has no room for a checkpoint.
    """
    folder = Path(plan.output_dir.value).expanduser()
    if not is_ours(folder):
        raise SettingError(
            say("{folder} holds files that are not a training result, so nothing is written there.", folder=folder),
            fix=say("Choose another folder: OUTPUT_DIR=./my_model ./run.sh"),
        )
    mark = mark_of(plan, dataset)
    with ExitStack() as held:
        dead = held.enter_context(only_run(folder))
        if dead:
            tell(Note(say("The run of {started} (process {pid}) ended in the middle of its work.", **dead)))
        if not is_finished(folder) and find_checkpoint(folder, mark, lambda place, why: _tell_damaged(place, why, tell)):
            tell(Note(say("{folder} holds an unfinished run of the same plan: it goes on there.", folder=folder)))
        else:
            held.close()  # Windows renames no folder in which a file is open
            if moved := move_aside(folder):
                tell(Note(say("The earlier result was kept: {folder} is now {moved}.", folder=folder, moved=moved)))
            held.enter_context(only_run(folder))
        # what weights (4 bytes a number) and the optimizer's two moments take
        try_room(folder, round(1.5 * plan.memory.parts["optimizer"]))
        write_bad_rows(folder, (*dataset.bad_rows, *dataset.heldout_bad_rows))
        yield folder, mark


def _tell_damaged(place: Path, why: Message, tell: Tell) -> None:
    tell(Note(say("A checkpoint is damaged ({why}) and not used; it is kept as {place}.", why=why, place=place)))
