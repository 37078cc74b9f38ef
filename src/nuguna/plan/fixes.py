"""When a plan does not fit: the single changes that could make it fit, as a user types them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..base_models.catalog import BaseModel, demo_model, load_catalog
from ..machine.device_profile import DEVICE_PROFILES
from ..machine.hardware import Hardware
from .settings import Request, setting_named

LENGTHS = (32_768, 16_384, 8192, 4096, 3072, 2048, 1536, 1024, 768, 512, 384, 256, 128)
RANKS = (256, 128, 64, 32, 16, 8)


Edited = Mapping[str, Any]


@dataclass(frozen=True)
class Remedy:
    """One change that is enough, as it is typed, and the memory that the plan then needs."""

    change: str
    needed_bytes: int


@dataclass(frozen=True)
class Change:
    """What a user types, and the wishes that the plan is then made from."""

    typed: str
    request: Request
    edited: Edited
    base: BaseModel


def possible_changes(
    request: Request, edited: Edited, base: BaseModel, hardware: Hardware
) -> Iterator[Iterator[Change]]:
    """Yield the changes that take less memory, the mildest of each kind first."""
    for kind in (_plan_file_lines, _quantization, _length, _rank, _model):
        yield kind(request, edited, base, hardware)


def _typed(request: Request, name: str, value: object) -> str:
    """Return a setting as the user types it: where the wish was made, since a flag comes before a
    variable.
    """
    setting = setting_named(name)
    source = request.sources.get(name)
    if source == "flag":
        return f"{setting.flag} {value}"
    return f"{name} = {value!r}".replace("'", '"') if source == "plan file" else f"{setting.env}={value}"


def _wished(request: Request, edited: Edited, base: BaseModel, name: str, value: Any) -> Change:
    return Change(_typed(request, name, value), replace(request, **{name: value}), edited, base)


def _plan_file_lines(
    request: Request, edited: Edited, base: BaseModel, hardware: Hardware
) -> Iterator[Change]:
    """Yield what only the plan file can say: a line is changed."""
    size = edited.get("micro_batch_size", 1)
    while isinstance(size, int) and size > 1:
        size //= 2
        yield Change(f"micro_batch_size = {size}", request, {**edited, "micro_batch_size": size}, base)
    if edited.get("gradient_checkpointing") is False:
        yield Change(
            "gradient_checkpointing = true", request, {**edited, "gradient_checkpointing": True}, base
        )
    if edited.get("dtype", hardware.dtype) != hardware.dtype:
        yield Change(f'dtype = "{hardware.dtype}"', request, {**edited, "dtype": hardware.dtype}, base)


def _quantization(request: Request, edited: Edited, base: BaseModel, hardware: Hardware) -> Iterator[Change]:
    device = edited.get("device", hardware.device)
    if DEVICE_PROFILES[device].can_quantize and request.quantization in ("none", "8bit"):
        yield _wished(request, edited, base, "quantization", "4bit")


def _length(request: Request, edited: Edited, base: BaseModel, hardware: Hardware) -> Iterator[Change]:
    now = min(request.max_seq_length or LENGTHS[0], base.context_tokens)
    yield from (
        _wished(request, edited, base, "max_seq_length", length) for length in LENGTHS if length < now
    )


def _rank(request: Request, edited: Edited, base: BaseModel, hardware: Hardware) -> Iterator[Change]:
    now = request.lora_r or 32
    yield from (_wished(request, edited, base, "lora_r", rank) for rank in RANKS if rank < now)


def _model(request: Request, edited: Edited, base: BaseModel, hardware: Hardware) -> Iterator[Change]:
    """Smaller models, the best first; the demo model is the last that is left."""
    if request.model in (None, "auto"):
        return
    known = [
        model for model in load_catalog() if model.quality > 0 and model.num_parameters < base.num_parameters
    ]
    for model in [*sorted(known, key=lambda model: -model.quality), demo_model()]:
        if model.num_parameters < base.num_parameters:
            yield _wished(request, edited, model, "model", model.id)
