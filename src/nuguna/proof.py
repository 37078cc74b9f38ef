"""After the training: the trained model and the folder that was saved, looked at from all sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .checks import (
    Check,
    check_adapter_complete,
    check_adapter_file,
    check_answers_stop,
    check_asks_as_trained,
    check_base_answers,
    check_base_unchanged,
    check_changes_answers,
    check_loss_fell,
    check_reload,
    check_steps,
    probe_logits,
)
from .errors import ModelError
from .model import (
    Loaded,
    adapter_tensors,
    base_fingerprint,
    load_base,
    lora_layers,
    release,
    reload_adapter,
    reported_layers,
)
from .plan import Plan
from .stages import MeasuredAll, Parts
from .tokenizer import load_tokenizer
from .train import Trained

NUM_QUESTIONS = 16  # measured questions whose prompts are compared


def prove(
    tuned: Loaded,
    place: Path,
    plan: Plan,
    folder: Path,
    parts: Parts,
    before: MeasuredAll,
    after: MeasuredAll,
    fingerprint: str,
    base_logits: Sequence[Any],
    trained: Trained,
) -> tuple[Check, ...]:
    """All checks. The trained model is let go before the saved folder is opened anew, so that only one is in memory."""
    with reported_layers(tuned.model) as working:
        in_memory = probe_logits(tuned, parts.probes)
    fingerprint_after = base_fingerprint(tuned.model)
    complete = check_adapter_complete(folder, adapter_tensors(tuned.model))
    scales = _scales(tuned.model)
    release(tuned.model)
    fresh = load_base(place, dtype=plan.dtype.value, device=plan.device.value, quantization=plan.quantization.value)
    # as everyone opens it later: the base's own template may ask otherwise, without the thoughts that were trained
    fresh = replace(fresh, tokenizer=load_tokenizer(folder))
    reload, changes, switched_off = _opened_anew(fresh, folder, parts, in_memory, scales, base_logits)
    pairs = list(zip(parts.heldout[:NUM_QUESTIONS], parts.heldout_encoded, strict=False))
    return (
        check_adapter_file(folder, working),
        check_base_unchanged(fingerprint, fingerprint_after),
        reload,
        changes,
        check_loss_fell(before.main.metrics["loss"], after.main.metrics["loss"]),
        check_answers_stop(after.main.metrics["stop_rate"], before.stop_chance, after.stop_chance),
        complete,
        switched_off,
        check_asks_as_trained(tuned, fresh, pairs),
        check_steps(trained.steps, trained.skipped_steps, plan.max_steps.value),
    )


def _scales(model: Any) -> dict[str, dict[str, float]]:
    return {name: dict(layer.scaling) for name, layer in lora_layers(model).items()}


def _opened_anew(
    fresh: Loaded,
    folder: Path,
    parts: Parts,
    in_memory: Sequence[Any],
    scales: dict[str, dict[str, float]],
    base_logits: Sequence[Any],
) -> tuple[Check, Check, Check]:
    """What a saved folder computes that is opened by plain transformers and peft, with its adapter and without."""
    try:
        opened = replace(fresh, model=reload_adapter(fresh.model, folder))
    except ModelError as error:
        return (
            Check("reloads_the_same", False, error.seen or error.what, error.fix),
            check_changes_answers(base_logits, in_memory),
            check_base_answers(base_logits, base_logits),
        )
    reloaded = probe_logits(opened, parts.probes)
    with opened.model.disable_adapter():
        without = probe_logits(opened, parts.probes)
    return (
        check_reload(in_memory, reloaded, (scales, _scales(opened.model))),
        check_changes_answers(without, reloaded),  # the same prompts: other ones would change answers without any adapter
        check_base_answers(base_logits, without),
    )
