"""After the training: the trained model and the folder that was saved, looked at from all sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..base_models.checked import CheckedModel, check_adapter, check_tokenizer
from ..engine.causal_lm import CausalLM
from ..errors import ModelError
from ..model.adapter import (
    adapter_tensors,
    base_fingerprint,
    lora_layers,
    release,
    reload_adapter,
    reported_layers,
    without_adapter,
)
from ..model.load import Loaded, load_base
from ..plan.plan import Plan
from ..prove.check import Check
from ..prove.checks import Evidence, Opened, checks_after_training, probe_logits, whole_pairs
from ..tokens.parts import Parts
from ..tokens.tokenizer import load_tokenizer
from ..train.loop import Trained
from .measure import MeasuredAll


@dataclass(frozen=True)
class Before:
    """What was seen of the model before the training."""

    measured: MeasuredAll
    fingerprint: str  # of the base's weights
    logits: Sequence[Any]  # of the probes, for each (vocabulary,)


@dataclass(frozen=True)
class After:
    """The model after the training, what was measured of it, and what the training took."""

    tuned: Loaded
    measured: MeasuredAll
    trained: Trained


def prove(
    before: Before, after: After, parts: Parts, plan: Plan, place: CheckedModel, folder: Path
) -> tuple[Check, ...]:
    """Return all checks of the run in `folder`; the base model lies in `place`.

    The trained model is let go before the saved folder is opened anew, so that only one is in memory.
    """
    model, old, new = after.tuned.model, before.measured, after.measured
    with reported_layers(model) as working:
        tuned_logits = probe_logits(after.tuned, parts.probes)
    fingerprint, scales = base_fingerprint(model), _scales(model)
    tensors = {name: tensor.cpu() for name, tensor in adapter_tensors(model).items()}
    release(model)
    fresh = load_base(
        place, dtype=plan.dtype.value, device=plan.device.value, quantization=plan.quantization.value
    )
    # as everyone opens it later: the base's own template may ask otherwise, without the thoughts that were
    # trained
    fresh = replace(fresh, tokenizer=load_tokenizer(check_tokenizer(folder)))
    as_before = Opened(loaded=fresh, logits=tuned_logits, logits_without_adapter=before.logits, scales=scales)
    evidence = Evidence(
        folder=folder,
        fingerprints=(before.fingerprint, fingerprint),
        losses=(old.main.metrics["loss"], new.main.metrics["loss"]),
        stop_chances=(old.stop_probability, new.stop_probability),
        stop_rate=new.main.metrics["stop_rate"],
        base_logits=before.logits,
        tuned_logits=tuned_logits,
        tensors=tensors,
        scales=scales,
        working=working,
        tokenizer=after.tuned.tokenizer,
        pairs=whole_pairs(parts),
        opened=_opened_anew(as_before, folder, parts),
        num_steps=after.trained.steps,
        num_skipped_steps=after.trained.skipped_steps,
        max_steps=plan.max_steps.value,
    )
    return checks_after_training(evidence)


def _scales(model: CausalLM) -> dict[str, dict[str, float]]:
    return {name: dict(layer.scaling) for name, layer in lora_layers(model).items()}


def _opened_anew(as_before: Opened, folder: Path, parts: Parts) -> Opened:
    """Return what a saved folder computes that plain transformers and peft open, with its adapter and
    without.
    """
    fresh = as_before.loaded
    try:
        opened = replace(fresh, model=reload_adapter(fresh.model, check_adapter(folder)))
    except ModelError as error:
        return replace(as_before, failed=error)
    logits = probe_logits(opened, parts.probes)
    with without_adapter(opened.model):
        without = probe_logits(opened, parts.probes)
    return Opened(
        loaded=fresh,
        logits=logits,
        logits_without_adapter=without,
        scales=_scales(opened.model),
    )
