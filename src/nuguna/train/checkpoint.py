"""Checkpoints: everything that is needed to go on as if nothing had happened. safetensors and JSON only.

A checkpoint is written into a folder of another name and renamed when it is on the disk, so nothing ever leaves half of one.
Its manifest holds the size and SHA-256 of each file, and its own: what does not agree is set aside and never loaded. The order of
data is a function of seed and step, so no random state needs keeping.
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
from safetensors.torch import load, save

from ..disk.durable import remove_folder, rename, sync_folder, write_new
from ..disk.run_folder import CHECKPOINTS
from ..errors import EnvironmentFault
from ..message import Message, say
from ..text.units import format_bytes

MANIFEST = "manifest.json"
FORMAT = 2  # raised whenever an older program could not read it any more
_WEIGHTS = "adapter.safetensors"
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")  # AdamW's state of each parameter, a file each
FILES = (_WEIGHTS, *(f"{key}.safetensors" for key in _MOMENTS))
KEEP = 2  # the newest two: should one turn out damaged, the other is there
MOST_MANIFEST_BYTES = 2**20
TRIAL_BYTES = 8 * 2**20  # written at once to see whether there is room

Parameters = Mapping[str, torch.nn.Parameter]


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
    """What a checkpoint gave back; `made_on` is what the machine and the versions were (`train.this_place`)."""

    progress: Progress
    made_on: dict[str, str]


class _DamagedError(Exception):
    """A checkpoint is not what its manifest says; `why` says in what."""

    def __init__(self, why: Message) -> None:
        self.why = why
        super().__init__(str(why))


class _NoRoomError(OSError):
    """The disk is too full, by `why`; nothing was tried."""

    def __init__(self, why: Message) -> None:
        self.why = why
        super().__init__(str(why))


def _reason(error: Exception) -> Message:
    """Why something could not be written."""
    return error.why if isinstance(error, _NoRoomError) else say("{reason}", reason=getattr(error, "strerror", None) or error)


def plan_mark(settings: dict[str, Any]) -> str:
    """A short hash of what a run depends on; another plan's checkpoints are not continued."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:16]


def save_checkpoint(
    folder: Path,
    mark: str,
    progress: Progress,
    parameters: Parameters,
    optimizer: torch.optim.Optimizer,
    made_on: Mapping[str, str] | None = None,
) -> Path:
    """Write checkpoint `step-NNNNNN` whole, then drop all but the newest `KEEP`. Raises `EnvironmentFault`; then all older ones
    are as they were.
    """
    place = folder / CHECKPOINTS
    target, draft = place / f"step-{progress.step:06d}", place / f".tmp-{progress.step:06d}-{os.getpid()}"
    if _is_there(target, mark):
        return target
    try:
        _require_room(place, _whole_bytes(parameters))
        with _draft(draft):
            files = {_WEIGHTS: _write_tensors(draft / _WEIGHTS, parameters)}
            for key in _MOMENTS:
                name = f"{key}.safetensors"
                files[name] = _write_tensors(draft / name, _state_of(parameters, optimizer, key))
            facts = {"format": FORMAT, "mark": mark, **asdict(progress), "made_on": dict(made_on or {}), "files": files}
            write_new(draft / MANIFEST, _sealed(facts))
            sync_folder(draft)
            if target.exists():
                _set_aside(target)
            rename(draft, target)
    except (OSError, SafetensorError) as error:
        raise EnvironmentFault(
            say("A checkpoint could not be written to {folder}.", folder=place),
            seen=_reason(error),
            fix=say("Free some disk space and start again: it goes on from the last checkpoint."),
        ) from error
    with suppress(OSError):  # what cannot be cleared away now is the next time
        for old in _checkpoints(place)[KEEP:]:
            remove_folder(old)
    return target


def find_checkpoint(folder: Path, mark: str, on_damaged: Callable[[Path, Message], None] = lambda path, why: None) -> Path | None:
    """The newest checkpoint of this plan that is whole. Those that are not are set aside; `on_damaged` is told."""
    for checkpoint, facts in _of_plan(folder, mark, on_damaged):
        try:
            _verify_all(checkpoint, facts)
        except _DamagedError as error:
            on_damaged(_set_aside(checkpoint), error.why)
        else:
            return checkpoint
    return None


def is_begun(folder: Path, mark: str) -> bool:
    """Whether this plan has a checkpoint, as far as can be said without reading it whole; nothing is changed."""
    for checkpoint in _checkpoints(folder / CHECKPOINTS):
        with suppress(_DamagedError):
            if _manifest(checkpoint)["mark"] == mark:
                return True
    return False


def resume(
    folder: Path,
    mark: str,
    parameters: Parameters,
    optimizer: torch.optim.Optimizer,
    on_damaged: Callable[[Path, Message], None] = lambda path, why: None,
) -> Resumed | None:
    """Put weights and optimizer state back from the newest checkpoint of this plan that is whole.

    None if there is none; then nothing is changed.
    """
    for checkpoint, facts in _of_plan(folder, mark, on_damaged):
        try:
            tensors = {name: _read_tensors(checkpoint / name, facts["files"][name], parameters) for name in FILES}
        except _DamagedError as error:
            on_damaged(_set_aside(checkpoint), error.why)
            continue
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(tensors[_WEIGHTS][name])
        optimizer.state.clear()
        for name, parameter in parameters.items():
            files = {key: tensors[f"{key}.safetensors"] for key in _MOMENTS}
            if all(name in file for file in files.values()):
                # the fused AdamW counts its steps on the device, too
                optimizer.state[parameter] = {key: file[name].to(parameter.device) for key, file in files.items()}
        progress = Progress(**{item.name: facts[item.name] for item in fields(Progress)})
        return Resumed(progress, dict(facts["made_on"]))
    return None


def try_room(folder: Path, num_bytes: int) -> None:
    """Write and delete what a checkpoint takes, so that a disk that is full or cannot be written is known before the work.

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
            say("There is no room for a checkpoint in {folder}: it takes {size}.", folder=place, size=format_bytes(num_bytes)),
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


def _is_there(checkpoint: Path, mark: str) -> bool:
    """Whether this step was kept before, whole: a stop right after a save changes nothing."""
    try:
        facts = _manifest(checkpoint)
        _verify_all(checkpoint, facts)
    except _DamagedError:
        return False
    return bool(facts["mark"] == mark)


@contextmanager
def _draft(folder: Path) -> Iterator[None]:
    """Within, a fresh folder to write into; if it still has its name in the end it goes, and so do those of dead runs."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in [*folder.parent.glob(".tmp-*"), *folder.parent.glob(".old-*")]:
        shutil.rmtree(left, ignore_errors=True)
    os.mkdir(folder)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _require_room(place: Path, num_bytes: int) -> None:
    """Raise `OSError` where not even an empty disk cache could hold it: a disk filled to the last byte harms other programs."""
    there = next(folder for folder in (place, *place.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if free < num_bytes:
        raise _NoRoomError(say("{free} are free, {needed} are needed", free=format_bytes(free), needed=format_bytes(num_bytes)))


def _whole_bytes(parameters: Parameters) -> int:
    """What weights and the two moments take, and a little for headers and manifest."""
    return 3 * sum(p.nbytes for p in parameters.values()) + 2**16


def _state_of(parameters: Parameters, optimizer: torch.optim.Optimizer, key: str) -> dict[str, torch.Tensor]:
    states = {name: optimizer.state.get(parameter, {}) for name, parameter in parameters.items()}
    return {name: state[key] for name, state in states.items() if key in state}


def _write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Write a safetensors file; returns its entry in the manifest."""
    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    write_new(path, data)
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _sealed(facts: Mapping[str, Any]) -> bytes:
    """The manifest's bytes. Written in one way only, so that no byte of it can change unseen."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return (json.dumps({**facts, "sha256": digest}, indent=1, sort_keys=True) + "\n").encode()


# Reading


def _checkpoints(place: Path) -> list[Path]:
    """The newest first."""
    return sorted(place.glob("step-*"), key=lambda path: (len(path.name), path.name), reverse=True)


def _of_plan(folder: Path, mark: str, on_damaged: Callable[[Path, Message], None]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Checkpoints of this plan with their manifests, the newest first; what has no good manifest is set aside."""
    for checkpoint in _checkpoints(folder / CHECKPOINTS):
        try:
            facts = _manifest(checkpoint)
        except _DamagedError as error:
            on_damaged(_set_aside(checkpoint), error.why)
        else:
            if facts["mark"] == mark:
                yield checkpoint, facts


def _manifest(checkpoint: Path) -> dict[str, Any]:
    """What a checkpoint says of itself, if that can be trusted. Raises `_DamagedError`."""
    data = _read(checkpoint / MANIFEST, MOST_MANIFEST_BYTES)
    try:
        facts = json.loads(data)
        facts.pop("sha256")
        is_whole = _sealed(facts) == data
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        is_whole = False
    if not is_whole:
        raise _DamagedError(say("{name} was changed", name=MANIFEST))
    if not _is_sound(facts) or checkpoint.name != f"step-{facts['step']:06d}":
        raise _DamagedError(say("{name} belongs to another checkpoint", name=MANIFEST))
    return dict(facts)


def _is_sound(facts: Any) -> bool:
    """Whether a manifest has what it must have: a seal only says that nobody changed it by accident."""
    kinds = {"step": int, "tokens": int, "seconds": float, "skipped": int, "peak_memory_bytes": int, "mark": str, "made_on": dict}
    if facts.get("format") != FORMAT or not all(type(facts.get(name)) is kind for name, kind in kinds.items()):
        return False
    files, limits = facts.get("files"), facts.get("limits")
    names = {"most_tokens", "checkpointing", "chunk_bytes"}  # of `limits.Limits`
    return (
        isinstance(files, dict)
        and set(files) == set(FILES)
        and all(isinstance(e, dict) and type(e.get("bytes")) is int and type(e.get("sha256")) is str for e in files.values())
        and (
            limits is None or (isinstance(limits, dict) and set(limits) == names and all(type(n) is int for n in limits.values()))
        )
        and (facts.get("last_loss") is None or type(facts["last_loss"]) is float)
        and all(type(text) is str for text in facts["made_on"].values())
        and min(facts["step"], facts["tokens"], facts["skipped"]) >= 0
    )


def _read(path: Path, most_bytes: int) -> bytes:
    if path.is_symlink() or not path.is_file():
        raise _DamagedError(say("{name} is missing", name=path.name))
    if path.stat().st_size > most_bytes:
        raise _DamagedError(say("{name} is too large", name=path.name))
    try:
        return path.read_bytes()
    except OSError as error:
        raise _DamagedError(say("{name} cannot be read: {reason}", name=path.name, reason=error.strerror or error)) from error


def _verify_all(checkpoint: Path, facts: Mapping[str, Any]) -> None:
    """Compare every file with the manifest. Raises `_DamagedError`."""
    for name in FILES:
        _verify(checkpoint / name, facts["files"][name])


def _verify(path: Path, entry: Mapping[str, Any]) -> None:
    """Compare a file with its entry in the manifest, a piece at a time."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size != entry["bytes"]:
        raise _DamagedError(say("{name} is missing or cut short", name=path.name))
    try:
        with open(path, "rb") as file:
            digest = hashlib.sha256()
            while block := file.read(2**20):
                digest.update(block)
    except OSError as error:
        raise _DamagedError(say("{name} cannot be read: {reason}", name=path.name, reason=error.strerror or error)) from error
    if digest.hexdigest() != entry["sha256"]:
        raise _DamagedError(say("{name} was changed", name=path.name))


def _read_tensors(path: Path, entry: Mapping[str, Any], parameters: Parameters) -> dict[str, torch.Tensor]:
    """The tensors of a file that is what the manifest says and fits the parameters: those that are looked at are those loaded."""
    most_bytes = sum(parameter.nbytes for parameter in parameters.values()) + 2**20
    data = _read(path, min(most_bytes, entry["bytes"]))
    if len(data) != entry["bytes"] or hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise _DamagedError(say("{name} was changed", name=path.name))
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise _DamagedError(say("{name} cannot be read: {reason}", name=path.name, reason=error)) from error
    is_step = path.name == f"{_MOMENTS[-1]}.safetensors"  # one number for each parameter
    sizes = {name: torch.Size() if is_step else parameter.shape for name, parameter in parameters.items()}
    fits = all(tensor.shape == sizes.get(name) and tensor.dtype == torch.float32 for name, tensor in tensors.items())
    if not fits or (path.name == _WEIGHTS and set(tensors) != set(sizes)):
        raise _DamagedError(say("{name} belongs to another adapter", name=path.name))
    return tensors


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
