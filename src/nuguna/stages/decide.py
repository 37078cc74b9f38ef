"""The plan: decided anew, or as an unfinished run decided it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..base_models.catalog import BaseModel
from ..data.dataset import Dataset, describe, fingerprint
from ..disk.run_folder import CHECKPOINTS, PLAN, is_finished
from ..errors import SettingError
from ..hub.models import candidates
from ..machine.hardware import Hardware
from ..plan.plan import Plan, make_plan
from ..plan.plan_file import read_plan, split_edited
from ..plan.plan_values import PLAN_VALUES, WITHOUT_EFFECT
from ..plan.settings import SETTINGS, Request
from ..train.checkpoint import hash_of_plan, is_begun
from ..version import __version__
from .read import DEFAULT_FOLDER

_NO_WISH = {"model": "auto", "quantization": "auto"}


def decide(
    request: Request, hardware: Hardware, dataset: Dataset, edited: Mapping[str, Any] | None = None
) -> tuple[Plan, BaseModel]:
    """Return the plan, and the facts of the model that it names."""
    found = candidates(request.model or "auto")
    plan = make_plan(request, hardware, describe(dataset), found, edited)
    return plan, next((c for c in found if c.id == plan.model.value), found[0])


def decide_or_go_on(
    request: Request, hardware: Hardware, dataset: Dataset, edited: Mapping[str, Any] | None = None
) -> tuple[Plan, BaseModel]:
    """Return the plan: that of the unfinished run in the folder, where the user asks for nothing else.

    What a planner chooses depends on the memory that is free just then; a run that goes on keeps its model
    and lengths. The wishes are compared with the plan in the folder before anything is decided, so that
    models are looked up once.
    """
    folder = Path(request.output_dir or DEFAULT_FOLDER).expanduser()
    if (before := _as_decided_before(request, dict(edited or {}), folder, dataset)) is not None:
        with suppress(SettingError):  # somebody edited it
            plan, base = decide(before[0], hardware, dataset, before[1])
            if is_begun(folder, plan_hash_of(plan, dataset)):
                return plan, base
    return decide(request, hardware, dataset, edited)


def _as_decided_before(
    request: Request, edited: dict[str, Any], folder: Path, dataset: Dataset
) -> tuple[Request, dict[str, Any]] | None:
    """Return the wishes with what the plan in the folder says besides; None if there is none to go on with,
    or it contradicts them.
    """
    if is_finished(folder) or not (folder / CHECKPOINTS).is_dir():
        return None
    try:
        values = read_plan(folder / PLAN)
        settings, rest = split_edited(values)
        then = Request(**settings, sources=dict.fromkeys(settings, "plan file"))
    except SettingError:  # somebody edited it
        return None
    names = [
        setting.name
        for setting in SETTINGS
        if setting.name != "output_dir" and getattr(then, setting.name) is not None
    ]
    said = {name for name in names if getattr(request, name) not in (None, _NO_WISH.get(name))}
    if any(getattr(request, name) != getattr(then, name) for name in said) or any(
        rest.get(n) != v for n, v in edited.items()
    ):
        return None
    # A whole plan has its mark in itself: where its checkpoints have another, nothing need be decided to know
    # it. What a deleted line was is decided anew.
    if PLAN_VALUES.keys() <= values.keys() and not is_begun(folder, _mark(values, dataset)):
        return None
    missing = {name: getattr(then, name) for name in names if name not in said}
    sources = {**request.sources, **dict.fromkeys(missing, "plan file")}
    kept = {name: value for name, value in rest.items() if name not in WITHOUT_EFFECT}
    return replace(request, **missing, sources=sources), {**kept, **edited}


def plan_hash_of(plan: Plan, dataset: Dataset) -> str:
    """Return the mark of this plan's checkpoints."""
    return _mark({name: choice.value for name, choice in plan.choices().items()}, dataset)


def _mark(values: Mapping[str, Any], dataset: Dataset) -> str:
    matters = {name: value for name, value in values.items() if name not in WITHOUT_EFFECT}
    # 16 is 16.0 in a file
    matters = {name: float(value) if type(value) is int else value for name, value in matters.items()}
    return hash_of_plan({**matters, "data_hash": fingerprint(dataset), "version": __version__})
