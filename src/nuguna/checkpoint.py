"""Checkpoints: everything that is needed to go on as if nothing had happened. safetensors and JSON only.

A checkpoint is written into a folder of another name and renamed when it is whole, so a crash never leaves half of one.
The order of data is a function of seed and step, so no random state needs keeping.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from .errors import EnvironmentFault
from .message import say
from .runfolder import CHECKPOINTS, read_json, write_json

_WEIGHTS, _OPTIMIZER, _STATE = "adapter.safetensors", "optimizer.safetensors", "state.json"
KEEP = 2  # the newest two: should one turn out damaged, the other is there


@dataclass(frozen=True)
class Progress:
    """How far a run is: `step` optimizer steps are done."""

    step: int
    tokens: int
    seconds: float
    limits: dict[str, int] | None = None  # what memory allows, where less than was planned


def plan_mark(settings: dict[str, Any]) -> str:
    """A short hash of what a run depends on; another plan's checkpoints are not continued."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:16]


def save_checkpoint(
    folder: Path, mark: str, progress: Progress, parameters: dict[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer
) -> Path:
    """Write checkpoint `step-NNNNNN` whole, then drop all but the newest `KEEP`."""
    place = folder / CHECKPOINTS
    target, draft = place / f"step-{progress.step:06d}", place / f".step-{progress.step:06d}.tmp"
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        save_file({n: p.detach().cpu().contiguous() for n, p in parameters.items()}, draft / _WEIGHTS)
        save_file(_optimizer_tensors(parameters, optimizer), draft / _OPTIMIZER)
        files = {name: _sha256(draft / name) for name in (_WEIGHTS, _OPTIMIZER)}
        write_json(draft / _STATE, {"mark": mark, **vars(progress), "files": files})
        for name in (_WEIGHTS, _OPTIMIZER):
            _sync(draft / name)
        _sync(draft)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(draft, target)
        _sync(place)
    except OSError as error:
        raise EnvironmentFault(
            say("A checkpoint could not be written to {folder}.", folder=place),
            seen=say("{reason}", reason=error.strerror or error),
            fix=say("Free some disk space and start again: it goes on from the last checkpoint."),
        ) from error
    for old in sorted(place.glob("step-*"))[:-KEEP]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def find_checkpoint(folder: Path, mark: str) -> Path | None:
    """The newest checkpoint of this plan that is whole."""
    for candidate in sorted((folder / CHECKPOINTS).glob("step-*"), reverse=True):
        state = read_json(candidate / _STATE)
        if isinstance(state, dict) and state.get("mark") == mark and _is_whole(candidate, state):
            return candidate
    return None


def load_checkpoint(checkpoint: Path, parameters: dict[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer) -> Progress:
    """Put weights and optimizer state back, and say how far the run was."""
    weights = load_file(checkpoint / _WEIGHTS)
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])
    tensors = load_file(checkpoint / _OPTIMIZER)
    for name, parameter in parameters.items():
        state = {
            key: tensors[f"{name}|{key}"].to(parameter.device) for key in ("exp_avg", "exp_avg_sq") if f"{name}|{key}" in tensors
        }
        if state:
            state["step"] = tensors[f"{name}|step"]
            optimizer.state[parameter] = state
    state = read_json(checkpoint / _STATE)
    return Progress(step=state["step"], tokens=state["tokens"], seconds=state["seconds"], limits=state.get("limits"))


def drop_checkpoints(folder: Path) -> None:
    """A finished run needs none."""
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


def _optimizer_tensors(parameters: dict[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    tensors = {}
    for name, parameter in parameters.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{name}|{key}"] = value.detach().cpu().contiguous()
    return tensors


def _is_whole(checkpoint: Path, state: dict[str, Any]) -> bool:
    files = state.get("files")
    if not isinstance(files, dict) or set(files) != {_WEIGHTS, _OPTIMIZER}:
        return False
    return all((checkpoint / name).is_file() and _sha256(checkpoint / name) == digest for name, digest in files.items())


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    """Make sure that a file or folder has reached the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        if not path.is_dir():  # some file systems cannot sync folders; files must
            raise
    finally:
        os.close(handle)
