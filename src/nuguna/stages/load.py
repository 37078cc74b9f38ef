"""The model of a run: brought, loaded, given its adapter, saved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..base_models.catalog import BaseModel
from ..disk.run_folder import REPORT
from ..engine.forward import find_shortcuts
from ..hub.client import free_cache_bytes
from ..hub.models import fetch
from ..message import say
from ..model.adapter import attach_adapter, save_adapter
from ..model.load import Loaded, load_base, require_quantization
from ..plan.plan import Plan
from ..text.units import format_bytes
from .events import Downloading, Note, Tell


def bring(base: BaseModel, plan: Plan, tell: Tell) -> tuple[Path, Loaded]:
    """The base model's folder, downloaded if need be, and the model loaded from it."""
    require_quantization(plan.quantization.value, plan.device.value)
    if base.folder is None:
        tell(Note(say("{model} is downloaded once: {size}.", model=base.id, size=format_bytes(base.download_bytes))))
    place = fetch(base, free_disk_bytes=free_cache_bytes(), on_progress=lambda done, total: tell(Downloading(done, total)))
    loaded = load_base(place, dtype=plan.dtype.value, device=plan.device.value, quantization=plan.quantization.value)
    return place, replace(loaded, shortcuts=find_shortcuts(loaded.model))


def attach(loaded: Loaded, base: BaseModel, plan: Plan) -> Loaded:
    """The same model with a fresh adapter. The config names the base as others can load it: its hub name, or its folder."""
    name = str(base.folder) if base.folder is not None and ("/" not in base.id or Path(base.id).is_dir()) else base.id
    model = attach_adapter(
        loaded.model,
        base_name=name,
        lora_r=plan.lora_r.value,
        lora_alpha=plan.lora_alpha.value,
        seed=plan.seed.value,
        gradient_checkpointing=plan.gradient_checkpointing.value,
    )
    return replace(loaded, model=model)


def save(tuned: Loaded, folder: Path) -> None:
    """Write adapter, tokenizer and template into the run folder."""
    (folder / REPORT).unlink(missing_ok=True)
    save_adapter(tuned.model, tuned.tokenizer, folder)
