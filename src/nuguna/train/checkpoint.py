"""Checkpoints: everything that is needed to go on as if nothing had happened. safetensors and JSON only.

A checkpoint is written into a folder of another name and renamed when it is on the disk, so nothing ever
leaves half of one. Its manifest holds the size and SHA-256 of each file, and its own: what does not agree is
set aside and never loaded. The order of data is a function of seed and step, so no random state needs
keeping.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save

from ..disk.durable import remove_folder, rename, sync_folder, write_new
from ..disk.run_folder import CHECKPOINTS
from ..errors import EnvironmentFault
from ..message import Message, say
from ..text.units import format_bytes
from .manifest import (
    FILES,
    FORMAT,
    MANIFEST,
    MOMENTS,
    WEIGHTS,
    DamagedError,
    Parameters,
    read_manifest,
    read_tensors,
    sealed,
    verify_all,
)

KEEP = 2  # the newest two: should one turn out damaged, the other is there
TRIAL_BYTES = 8 * 2**20  # written at once to see whether there is room


@dataclass(frozen=True)
class Progress:
    """How far a run is: `step` optimizer steps are done."""

    step: int
    tokens: int
    seconds: float
    limits: dict[str, int] | None = None  # what memory allows, where less than was planned
    skipped: int = 0  # steps among them whose loss was no number
    last_loss: float | None = None
    peak_memory_bytes: int = 0


@dataclass(frozen=True)
class Resumed:
    """What a checkpoint gave back; `made_on` is what the machine and the versions were
    (`train.this_place`).
    """

    progress: Progress
    made_on: dict[str, str]


class _NoRoomError(OSError):
    """The disk is too full, by `why`; nothing was tried."""

    def __init__(self, why: Message) -> None:
        self.why = why
        super().__init__(str(why))


def _reason(error: Exception) -> Message:
    """Return why something could not be written."""
    return (
        error.why
        if isinstance(error, _NoRoomError)
        else say("{reason}", reason=getattr(error, "strerror", None) or error)
    )


def hash_of_plan(settings: dict[str, Any]) -> str:
    """Return a short hash of what a run depends on; another plan's checkpoints are not continued."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:16]


def save_checkpoint(
    folder: Path,
    plan_hash: str,
    progress: Progress,
    parameters: Parameters,
    optimizer: torch.optim.Optimizer,
    made_on: Mapping[str, str] | None = None,
) -> Path:
    """Write checkpoint `step-NNNNNN` whole, then drop all but the newest `KEEP`. Raises `EnvironmentFault`;
    then all older ones are as they were.
    """
    place = folder / CHECKPOINTS
    target, draft = place / f"step-{progress.step:06d}", place / f".tmp-{progress.step:06d}-{os.getpid()}"
    if _is_there(target, plan_hash):
        return target
    try:
        _require_room(place, _whole_bytes(parameters))
        with _draft(draft):
            files = {WEIGHTS: _write_tensors(draft / WEIGHTS, parameters)}
            for key in MOMENTS:
                name = f"{key}.safetensors"
                files[name] = _write_tensors(draft / name, _state_of(parameters, optimizer, key))
            facts = {
                "format": FORMAT,
                "mark": plan_hash,
                **asdict(progress),
                "made_on": dict(made_on or {}),
                "files": files,
            }
            write_new(draft / MANIFEST, sealed(facts))
            sync_folder(draft)
            if target.exists():
                _set_aside(target)
            rename(draft, target)
    except (OSError, SafetensorError) as error:
        raise EnvironmentFault(
            say("A checkpoint could not be written to {folder}.", folder=place),
            seen=_reason(error),
            fix=say("Free some disk space and start again: it continues from the last checkpoint."),
        ) from error
    with suppress(OSError):  # what cannot be cleared away now is the next time
        for old in _checkpoints(place)[KEEP:]:
            remove_folder(old)
    return target


def find_checkpoint(
    folder: Path, plan_hash: str, on_damaged: Callable[[Path, Message], None] = lambda path, why: None
) -> Path | None:
    """Return the newest checkpoint of this plan that is whole. Those that are not are set aside; `on_damaged`
    is told.
    """
    for checkpoint, facts in _of_plan(folder, plan_hash, on_damaged):
        try:
            verify_all(checkpoint, facts)
        except DamagedError as error:
            on_damaged(_set_aside(checkpoint), error.why)
        else:
            return checkpoint
    return None


def is_begun(folder: Path, plan_hash: str) -> bool:
    """Return whether this plan has a checkpoint, as far as can be said without reading it whole; nothing is
    changed.
    """
    for checkpoint in _checkpoints(folder / CHECKPOINTS):
        with suppress(DamagedError):
            if read_manifest(checkpoint)["mark"] == plan_hash:
                return True
    return False


def resume(
    folder: Path,
    plan_hash: str,
    parameters: Parameters,
    optimizer: torch.optim.Optimizer,
    on_damaged: Callable[[Path, Message], None] = lambda path, why: None,
) -> Resumed | None:
    """Put weights and optimizer state back from the newest checkpoint of this plan that is whole.

    None if there is none; then nothing is changed.
    """
    for checkpoint, facts in _of_plan(folder, plan_hash, on_damaged):
        try:
            tensors = {
                name: read_tensors(checkpoint / name, facts["files"][name], parameters) for name in FILES
            }
        except DamagedError as error:
            on_damaged(_set_aside(checkpoint), error.why)
            continue
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(tensors[WEIGHTS][name])
        optimizer.state.clear()
        for name, parameter in parameters.items():
            files = {key: tensors[f"{key}.safetensors"] for key in MOMENTS}
            if all(name in file for file in files.values()):
                # the fused AdamW counts its steps on the device, too
                optimizer.state[parameter] = {
                    key: file[name].to(parameter.device) for key, file in files.items()
                }
        progress = Progress(**{item.name: facts[item.name] for item in fields(Progress)})
        return Resumed(progress, dict(facts["made_on"]))
    return None


def try_room(folder: Path, num_bytes: int) -> None:
    """Write and delete what a checkpoint takes, so that a disk that is full or cannot be written is known
    before the work.

    Raises `EnvironmentFault`.
    """
    place = folder / CHECKPOINTS
    draft = place / f".tmp-trial-{os.getpid()}"
    try:
        _require_room(place, num_bytes)
        with _draft(draft):
            piece = os.urandom(TRIAL_BYTES)  # what no file system can make smaller
            for number in range(-(-num_bytes // TRIAL_BYTES)):
                write_new(draft / str(number), piece[: num_bytes - number * TRIAL_BYTES])
    except OSError as error:
        raise EnvironmentFault(
            say(
                "There is not enough space for a checkpoint in {folder}: it needs {size}.",
                folder=place,
                size=format_bytes(num_bytes),
            ),
            seen=_reason(error),
            fix=say("Free some space or choose another folder: OUTPUT_DIR=./other ./run.sh"),
        ) from error
    finally:
        with suppress(OSError):
            place.rmdir()  # if it was made for the trial


def drop_checkpoints(folder: Path) -> None:
    """A finished run needs none."""
    remove_folder(folder / CHECKPOINTS)


# Writing


def _is_there(checkpoint: Path, plan_hash: str) -> bool:
    """Return whether this step was kept before, whole: a stop right after a save changes nothing."""
    try:
        facts = read_manifest(checkpoint)
        verify_all(checkpoint, facts)
    except DamagedError:
        return False
    return bool(facts["mark"] == plan_hash)


@contextmanager
def _draft(folder: Path) -> Iterator[None]:
    """While the block runs, a fresh folder to write into; if it still has its name in the end it goes, and so
    do those of dead runs.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in [*folder.parent.glob(".tmp-*"), *folder.parent.glob(".old-*")]:
        shutil.rmtree(left, ignore_errors=True)
    os.mkdir(folder)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _require_room(place: Path, num_bytes: int) -> None:
    """Raise `OSError` where not even an empty disk cache could hold it: a disk filled to the last byte harms
    other programs.
    """
    there = next(folder for folder in (place, *place.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if free < num_bytes:
        raise _NoRoomError(
            say("{free} free, {needed} needed", free=format_bytes(free), needed=format_bytes(num_bytes))
        )


def _whole_bytes(parameters: Parameters) -> int:
    """Return what weights and the two moments take, and a little for headers and manifest."""
    return 3 * sum(p.nbytes for p in parameters.values()) + 2**16


def _state_of(parameters: Parameters, optimizer: torch.optim.Optimizer, key: str) -> dict[str, torch.Tensor]:
    states = {name: optimizer.state.get(parameter, {}) for name, parameter in parameters.items()}
    return {name: state[key] for name, state in states.items() if key in state}


def _write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Write a safetensors file; returns its entry in the manifest."""
    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    write_new(path, data)
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


# Reading


def _checkpoints(place: Path) -> list[Path]:
    """Return the newest first."""
    return sorted(place.glob("step-*"), key=lambda path: (len(path.name), path.name), reverse=True)


def _of_plan(
    folder: Path, plan_hash: str, on_damaged: Callable[[Path, Message], None]
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Checkpoints of this plan with their manifests, the newest first; what has no good manifest is set
    aside.
    """
    for checkpoint in _checkpoints(folder / CHECKPOINTS):
        try:
            facts = read_manifest(checkpoint)
        except DamagedError as error:
            on_damaged(_set_aside(checkpoint), error.why)
        else:
            if facts["mark"] == plan_hash:
                yield checkpoint, facts


def _set_aside(checkpoint: Path) -> Path:
    """Give a damaged checkpoint a name that says so; nothing is deleted. Returns the new place."""
    number, target = 1, checkpoint.with_name(f"damaged-{checkpoint.name}")
    while target.exists():
        number += 1
        target = checkpoint.with_name(f"damaged-{checkpoint.name}-{number}")
    with suppress(OSError):
        os.replace(checkpoint, target)
        return target
    return checkpoint
