"""The manifest of a checkpoint: sealed when written, and nothing is believed that disagrees with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from ..message import Message, say

MANIFEST = "manifest.json"
FORMAT = 2  # raised whenever an older program could not read it any more
MAX_MANIFEST_BYTES = 2**20


WEIGHTS = "adapter.safetensors"
MOMENTS = ("exp_avg", "exp_avg_sq", "step")  # AdamW's state of each parameter, a file each
FILES = (WEIGHTS, *(f"{key}.safetensors" for key in MOMENTS))
Parameters = Mapping[str, torch.nn.Parameter]


class DamagedError(Exception):
    """A checkpoint is not what its manifest says; `why` says in what."""

    def __init__(self, why: Message) -> None:
        self.why = why
        super().__init__(str(why))


def sealed(facts: Mapping[str, Any]) -> bytes:
    """Return the manifest's bytes. Written in one way only, so that no byte of it can change unseen."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return (json.dumps({**facts, "sha256": digest}, indent=1, sort_keys=True) + "\n").encode()


def read_manifest(checkpoint: Path) -> dict[str, Any]:
    """Return what a checkpoint says of itself, if that can be trusted. Raises `DamagedError`."""
    data = _read(checkpoint / MANIFEST, MAX_MANIFEST_BYTES)
    try:
        facts = json.loads(data)
        facts.pop("sha256")
        is_whole = sealed(facts) == data
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        is_whole = False
    if not is_whole:
        raise DamagedError(say("{name} was changed", name=MANIFEST))
    if not _is_sound(facts) or checkpoint.name != f"step-{facts['step']:06d}":
        raise DamagedError(say("{name} belongs to another checkpoint", name=MANIFEST))
    return dict(facts)


def _is_sound(facts: Any) -> bool:
    """Return whether a manifest has what it must have: a seal only says that nobody changed it by
    accident.
    """
    kinds = {
        "step": int,
        "tokens": int,
        "seconds": float,
        "skipped": int,
        "peak_memory_bytes": int,
        "mark": str,
        "made_on": dict,
    }
    if facts.get("format") != FORMAT or not all(
        type(facts.get(name)) is kind for name, kind in kinds.items()
    ):
        return False
    files, limits = facts.get("files"), facts.get("limits")
    names = {"most_tokens", "checkpointing", "chunk_bytes"}  # of `limits.Limits`
    return (
        isinstance(files, dict)
        and set(files) == set(FILES)
        and all(
            isinstance(e, dict) and type(e.get("bytes")) is int and type(e.get("sha256")) is str
            for e in files.values()
        )
        and (
            limits is None
            or (
                isinstance(limits, dict)
                and set(limits) == names
                and all(type(n) is int for n in limits.values())
            )
        )
        and (facts.get("last_loss") is None or type(facts["last_loss"]) is float)
        and all(type(text) is str for text in facts["made_on"].values())
        and min(facts["step"], facts["tokens"], facts["skipped"]) >= 0
    )


def _read(path: Path, most_bytes: int) -> bytes:
    if path.is_symlink() or not path.is_file():
        raise DamagedError(say("{name} is missing", name=path.name))
    if path.stat().st_size > most_bytes:
        raise DamagedError(say("{name} is too large", name=path.name))
    try:
        return path.read_bytes()
    except OSError as error:
        raise DamagedError(
            say("{name} cannot be read: {reason}", name=path.name, reason=error.strerror or error)
        ) from error


def verify_all(checkpoint: Path, facts: Mapping[str, Any]) -> None:
    """Compare every file with the manifest. Raises `DamagedError`."""
    for name in FILES:
        _verify(checkpoint / name, facts["files"][name])


def _verify(path: Path, entry: Mapping[str, Any]) -> None:
    """Compare a file with its entry in the manifest, a piece at a time."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size != entry["bytes"]:
        raise DamagedError(say("{name} is missing or cut short", name=path.name))
    try:
        with open(path, "rb") as file:
            digest = hashlib.sha256()
            while block := file.read(2**20):
                digest.update(block)
    except OSError as error:
        raise DamagedError(
            say("{name} cannot be read: {reason}", name=path.name, reason=error.strerror or error)
        ) from error
    if digest.hexdigest() != entry["sha256"]:
        raise DamagedError(say("{name} was changed", name=path.name))


def read_tensors(path: Path, entry: Mapping[str, Any], parameters: Parameters) -> dict[str, torch.Tensor]:
    """Return the tensors of a file that is what the manifest says and fits the parameters: those that are
    looked at are those loaded.
    """
    most_bytes = sum(parameter.nbytes for parameter in parameters.values()) + 2**20
    data = _read(path, min(most_bytes, entry["bytes"]))
    if len(data) != entry["bytes"] or hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise DamagedError(say("{name} was changed", name=path.name))
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise DamagedError(say("{name} cannot be read: {reason}", name=path.name, reason=error)) from error
    is_step = path.name == f"{MOMENTS[-1]}.safetensors"  # one number for each parameter
    sizes = {name: torch.Size() if is_step else parameter.shape for name, parameter in parameters.items()}
    fits = all(
        tensor.shape == sizes.get(name) and tensor.dtype == torch.float32 for name, tensor in tensors.items()
    )
    if not fits or (path.name == WEIGHTS and set(tensors) != set(sizes)):
        raise DamagedError(say("{name} belongs to another adapter", name=path.name))
    return tensors
