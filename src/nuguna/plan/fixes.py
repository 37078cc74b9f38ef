"""When a plan does not fit: which single change makes it fit, and what it then needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ..base_models.catalog import BaseModel, demo_model, load_catalog
from ..errors import SettingError
from ..machine.device_profile import DEVICE_PROFILES
from ..machine.hardware import Hardware
from ..message import Message, say
from ..text.units import format_bytes
from .memory import MemoryEstimate
from .memory_fit import PART_NAMES
from .settings import Request, setting_named

MOST_TOLD = 3
LENGTHS = (32_768, 16_384, 8192, 4096, 3072, 2048, 1536, 1024, 768, 512, 384, 256, 128)
RANKS = (256, 128, 64, 32, 16, 8)


class Planned(Protocol):
    """What is looked at of a plan (`plan.Plan`, which is made further up)."""

    @property
    def fits(self) -> bool: ...
    @property
    def memory(self) -> MemoryEstimate: ...
    @property
    def usable_bytes(self) -> int: ...
    @property
    def remedies(self) -> tuple[Remedy, ...]: ...


Edited = Mapping[str, Any]
Replan = Callable[[Request, Edited, BaseModel], Planned]


@dataclass(frozen=True)
class Remedy:
    """One change as it is typed, and the memory that the plan then needs."""

    change: str
    needed_bytes: int


@dataclass(frozen=True)
class _Change:
    change: str
    request: Request
    edited: Edited
    base: BaseModel


def find_remedies(request: Request, edited: Edited, base: BaseModel, hardware: Hardware, replan: Replan) -> tuple[Remedy, ...]:
    """Of each kind of change the mildest that is enough; `replan` makes the plan again, so that what is said will be so."""
    found: list[Remedy] = []
    for kind in (_plan_file_lines, _quantization, _length, _rank, _model):
        for change in kind(request, edited, base, hardware):
            plan = replan(change.request, change.edited, change.base)
            if plan.fits:
                found.append(Remedy(change.change, plan.memory.total_bytes))
                break
    return tuple(found[:MOST_TOLD])


def misfit(plan: Planned) -> SettingError | None:
    """The error for a plan that does not fit, with what makes it fit."""
    if plan.fits:
        return None
    name, largest = max(plan.memory.parts.items(), key=lambda part: part[1])
    return SettingError(
        say(
            "This does not fit into the memory: {needed} is needed, {usable} is free.",
            needed=format_bytes(plan.memory.total_bytes),
            usable=format_bytes(plan.usable_bytes),
        ),
        seen=say("The largest part is: {part}, {size}", part=PART_NAMES.get(name, Message(name)), size=format_bytes(largest)),
        fix=_advice(plan.remedies),
    )


def _advice(remedies: tuple[Remedy, ...]) -> Message:
    if not remedies:
        return say("Close other programs, or give the container or virtual machine more memory.")
    told = [say("{change} needs {needed}", change=r.change, needed=format_bytes(r.needed_bytes)) for r in remedies]
    advice = told[-1]
    for one in reversed(told[:-1]):
        advice = say("{one}, or {other}", one=one, other=advice)
    return say("One change is enough: {changes}", changes=advice)


def _typed(request: Request, name: str, value: Any) -> str:
    """A setting as the user types it: where the wish was made, since a flag comes before a variable."""
    setting = setting_named(name)
    source = request.sources.get(name)
    if source == "flag":
        return f"{setting.flag} {value}"
    return f"{name} = {value!r}".replace("'", '"') if source == "plan file" else f"{setting.env}={value}"


def _wished(request: Request, edited: Edited, base: BaseModel, name: str, value: Any) -> _Change:
    return _Change(_typed(request, name, value), replace(request, **{name: value}), edited, base)


def _plan_file_lines(request: Request, edited: Edited, base: BaseModel, hardware: Hardware) -> Iterator[_Change]:
    """What only the plan file can say: a line is changed."""
    size = edited.get("micro_batch_size", 1)
    while isinstance(size, int) and size > 1:
        size //= 2
        yield _Change(f"micro_batch_size = {size}", request, {**edited, "micro_batch_size": size}, base)
    if edited.get("gradient_checkpointing") is False:
        yield _Change("gradient_checkpointing = true", request, {**edited, "gradient_checkpointing": True}, base)
    if edited.get("dtype", hardware.dtype) != hardware.dtype:
        yield _Change(f'dtype = "{hardware.dtype}"', request, {**edited, "dtype": hardware.dtype}, base)


def _quantization(request: Request, edited: Edited, base: BaseModel, hardware: Hardware) -> Iterator[_Change]:
    device = edited.get("device", hardware.device)
    if DEVICE_PROFILES[device].can_quantize and request.quantization in ("none", "8bit"):
        yield _wished(request, edited, base, "quantization", "4bit")


def _length(request: Request, edited: Edited, base: BaseModel, hardware: Hardware) -> Iterator[_Change]:
    now = min(request.max_seq_length or LENGTHS[0], base.context_tokens)
    yield from (_wished(request, edited, base, "max_seq_length", length) for length in LENGTHS if length < now)


def _rank(request: Request, edited: Edited, base: BaseModel, hardware: Hardware) -> Iterator[_Change]:
    now = request.lora_r or 32
    yield from (_wished(request, edited, base, "lora_r", rank) for rank in RANKS if rank < now)


def _model(request: Request, edited: Edited, base: BaseModel, hardware: Hardware) -> Iterator[_Change]:
    """Smaller models, the best first; the demo model is the last that is left."""
    if request.model in (None, "auto"):
        return
    known = [model for model in load_catalog() if model.quality > 0 and model.num_parameters < base.num_parameters]
    for model in [*sorted(known, key=lambda model: -model.quality), demo_model()]:
        if model.num_parameters < base.num_parameters:
            yield _wished(request, edited, model, "model", model.id)
