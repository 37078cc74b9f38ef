"""The model of a run: brought, loaded, given its adapter, saved."""

from __future__ import annotations

from pathlib import Path

from ..base_models.catalog import BaseModel
from ..base_models.checked import CheckedModel
from ..disk.run_folder import REPORT
from ..hub.models import fetch
from ..message import say
from ..model.engine import Placement, engine_for
from ..model.load import Loaded
from ..model.method import Lora, Method
from ..plan.plan import Plan
from ..text.units import format_bytes
from .events import Downloading, Note, Tell


def bring(base: BaseModel, plan: Plan, tell: Tell) -> tuple[CheckedModel, Loaded]:
    """Return the base model's files, downloaded if need be, and the model loaded from them."""
    placement = Placement(plan.device.value, plan.dtype.value, plan.quantization.value)
    engine = engine_for(placement)
    engine.require(placement)
    if base.folder is None:
        tell(
            Note(
                say(
                    "{model} is downloaded once: {size}.",
                    model=base.id,
                    size=format_bytes(base.download_bytes),
                )
            )
        )
    place = fetch(base, on_progress=lambda done, total: tell(Downloading(done, total)))
    return place, engine.load(place, placement)


def method_of(plan: Plan) -> Method:
    """Return how the model learns."""
    return Lora(plan.lora_r.value, plan.lora_alpha.value)


def attach(loaded: Loaded, base: BaseModel, plan: Plan) -> Loaded:
    """Return the same model, ready to learn. What is saved names the base as others can load it: hub name, or
    folder.
    """
    is_local = base.folder is not None and ("/" not in base.id or Path(base.id).is_dir())
    return engine_for(loaded).attach(
        loaded,
        method_of(plan),
        base_name=str(base.folder) if is_local else base.id,
        seed=plan.seed.value,
        gradient_checkpointing=plan.gradient_checkpointing.value,
    )


def save(tuned: Loaded, plan: Plan, folder: Path) -> None:
    """Write what was learned, tokenizer and template into the run folder."""
    (folder / REPORT).unlink(missing_ok=True)
    engine_for(tuned).save(tuned, method_of(plan), folder)
