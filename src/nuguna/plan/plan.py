"""Machine + data + wishes → a plan, each value with its reason and where it came from. A pure function,
without torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from ..base_models.catalog import BaseModel
from ..data.facts import DEMO, DataFacts
from ..machine.hardware import Hardware
from ..message import Message, say
from .auto import (
    MAX_HELDOUT,
    SENSIBLE_SECONDS,
    Larger,
    choose_dtype,
    choose_model,
    first_fit,
    first_run_seconds,
    larger_models,
)
from .choices import Choice as Choice  # part of Plan, so it is to be had here
from .choices import Wishes
from .example_tokens import mean_tokens
from .fixes import Remedy, possible_changes
from .memory import MemoryEstimate
from .memory_fit import Fit, choose_length, fit_for
from .plan_values import PLAN_VALUES
from .settings import Request, setting_named
from .timing import TimeEstimate, predict

TYPICAL_TOKENS = 64  # an example of the medical set, as `example_tokens` guesses it, rounded up
MIN_STEPS = 100
MAX_REMEDIES = 3


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything a run needs to know. Fields that are a `Choice` stand in plan.toml and may be edited
    there.
    """

    model: Choice[str]
    data: Choice[str]
    data_columns: Choice[str]
    output_dir: Choice[str]
    max_steps: Choice[int]
    batch_size: Choice[int]
    micro_batch_size: Choice[int]
    max_seq_length: Choice[int]
    learning_rate: Choice[float]
    warmup_steps: Choice[int]
    weight_decay: Choice[float]
    max_grad_norm: Choice[float]
    lora_r: Choice[int]
    lora_alpha: Choice[float]
    quantization: Choice[str]
    device: Choice[str]
    dtype: Choice[str]
    gradient_checkpointing: Choice[bool]
    heldout_examples: Choice[int]
    checkpoint_every: Choice[int]
    seed: Choice[int]
    deterministic: Choice[bool]
    fits: bool
    usable_bytes: int
    memory: MemoryEstimate
    answer_bytes: int  # for keys and values of the answers that are made at once while the model is measured
    time: TimeEstimate
    # the next model of the catalogue that would fit too, and the next that would not
    larger: tuple[Larger, ...] = ()
    remedies: tuple[Remedy, ...] = ()  # for a plan that does not fit: changes that are each enough

    @property
    def predicted_seconds(self) -> float:
        """Of the whole run, without a download."""
        return self.time.total_seconds

    def choices(self) -> dict[str, Choice[Any]]:
        """Return all choices by name, in the order in which they are shown."""
        return {name: getattr(self, name) for name in value_names()}

    def to_json(self) -> dict[str, Any]:
        """Return the document of `nuguna plan --json`."""
        choices = {
            n: {"value": c.value, "reason": str(c.reason), "source": c.source}
            for n, c in self.choices().items()
        }
        memory = {
            "usable_bytes": self.usable_bytes,
            "predicted_peak_bytes": self.memory.total_bytes,
            "parts": dict(self.memory.parts),
        }
        return {
            "fits": self.fits,
            "choices": choices,
            "memory": memory,
            "predicted_seconds": round(self.predicted_seconds, 1),
            "seconds": {name: round(seconds, 1) for name, seconds in self.time.parts.items()},
            "larger": [model.to_json() for model in self.larger],
            "remedies": [vars(remedy) for remedy in self.remedies],
        }


def value_names() -> tuple[str, ...]:
    """Return the names of a plan's choices, in the order in which they are shown."""
    return tuple(item.name for item in fields(Plan) if item.name in PLAN_VALUES)


def make_plan(
    request: Request,
    hardware: Hardware,
    facts: DataFacts,
    candidates: Sequence[BaseModel],
    edited: Mapping[str, Any] | None = None,
) -> Plan:
    """Decide everything.

    `candidates` are the models that can be had: the one that was asked for, or for MODEL=auto all at hand
    (always the demo). `edited` are values from a plan file for what has no setting of its own
    (micro_batch_size, dtype, …). Raises `SettingError` for an edited value that cannot be used.
    """
    edited = dict(edited or {})
    plan, base = _decide(request, hardware, facts, candidates, edited)
    if plan.fits:
        return plan
    # Of each kind of change the mildest that is enough; the plan is made again, so that what is said will be
    # so.
    remedies = []
    for kind in possible_changes(request, edited, base, hardware):
        for change in kind:
            changed, _ = _decide(change.request, hardware, facts, (change.base, *candidates), change.edited)
            if changed.fits:
                remedies.append(Remedy(change.typed, changed.memory.total_bytes))
                break
    return replace(plan, remedies=tuple(remedies[:MAX_REMEDIES]))


def _decide(
    request: Request,
    hardware: Hardware,
    facts: DataFacts,
    candidates: Sequence[BaseModel],
    edited: Mapping[str, Any],
) -> tuple[Plan, BaseModel]:
    """Return the plan as it follows from the wishes, whether it fits or not, and its model."""
    wishes = Wishes(request, dict(edited))
    device, hardware = _choose_device(wishes, hardware)
    base, model = choose_model(wishes, hardware, facts, candidates)
    dtype = wishes.edited("dtype") or choose_dtype(base, hardware)
    quantization, length = _choose_weights_and_length(wishes, first_fit(wishes, base, hardware, facts))
    batch_size = wishes.get("batch_size") or _choose_batch(base, facts)
    step_tokens = batch_size.value * mean_tokens(base, facts, length.value)
    max_steps = wishes.get("max_steps") or _choose_steps(base, step_tokens)
    rank_reason = say("large enough to learn new facts, small compared with the model")
    lora_r = wishes.get("lora_r") or _default("lora_r", rank_reason)
    sizes = {"lora_r": lora_r.value, "length": length.value, "batch_size": batch_size.value}
    fit = fit_for(base, hardware, facts, dtype=dtype.value, **sizes)
    fit = replace(fit, quantization=quantization.value)
    checkpointing = wishes.edited("gradient_checkpointing") or fit.choose_checkpointing()
    fit = replace(fit, gradient_checkpointing=checkpointing.value)
    micro = wishes.edited("micro_batch_size", highest=fit.batch_size) or fit.choose_micro_batch()
    fit = replace(fit, micro_batch_size=micro.value)
    steps, memory = max_steps.value, fit.memory
    heldout = wishes.edited("heldout_examples") or _choose_heldout(facts)
    num_unseen = min(heldout.value, facts.num_unseen)
    made = Plan(
        model=model,
        data=wishes.get("data") or _default("data", say("the medical set that comes with the program")),
        data_columns=wishes.get("data_columns") or Choice("", say("found from the column names"), "data"),
        output_dir=wishes.get("output_dir") or _default("output_dir", say("the usual place")),
        max_steps=max_steps,
        batch_size=batch_size,
        micro_batch_size=micro,
        max_seq_length=length,
        learning_rate=wishes.get("learning_rate") or _choose_rate(base, batch_size.value),
        warmup_steps=_choose_warmup(wishes, steps),
        weight_decay=wishes.edited("weight_decay") or _no_decay(),
        max_grad_norm=wishes.edited("max_grad_norm") or _usual_norm(),
        lora_r=lora_r,
        lora_alpha=wishes.get("lora_alpha") or _default("lora_alpha", say("the usual scale for this rank")),
        quantization=quantization,
        device=device,
        dtype=dtype,
        gradient_checkpointing=checkpointing,
        heldout_examples=heldout,
        checkpoint_every=_choose_checkpoints(wishes, steps),
        seed=wishes.get("seed") or _default("seed", say("the same seed gives the same result")),
        deterministic=wishes.edited("deterministic") or _choose_deterministic(device.value),
        fits=memory.total_bytes <= hardware.memory_bytes,
        usable_bytes=hardware.memory_bytes,
        memory=memory,
        answer_bytes=fit.answer_bytes,
        time=predict(fit, max_steps=steps, num_heldout=heldout.value, num_unseen=num_unseen),
        larger=larger_models(wishes, base, hardware, facts),
    )
    return made, base


def _choose_deterministic(device: str) -> Choice[bool]:
    if device == "cpu":
        return Choice(True, say("a processor gives exactly the same result every time"), "hardware")
    return Choice(
        False,
        say("a GPU is faster this way; with true the same run gives exactly the same result"),
        "default",
    )


def _no_decay() -> Choice[float]:
    return Choice(0.0, say("none: the adapter starts at zero"), "default")


def _usual_norm() -> Choice[float]:
    return Choice(1.0, say("one bad batch cannot throw the training off"), "default")


def _choose_weights_and_length(wishes: Wishes, usual: Fit) -> tuple[Choice[str], Choice[int]]:
    """Return how the weights are stored, and how long an example may be: each bears on the other."""
    quantization = wishes.quantization() or usual.choose_quantization()

    def is_quick(length: int) -> bool:
        longer = replace(usual, length=length)
        longer = replace(longer, gradient_checkpointing=longer.choose_checkpointing().value)
        return first_run_seconds(longer) <= SENSIBLE_SECONDS

    length = wishes.get("max_seq_length") or choose_length(usual, is_quick)
    return quantization, _within_context(length, usual.base)


def _choose_device(wishes: Wishes, hardware: Hardware) -> tuple[Choice[str], Hardware]:
    """Return the device, and the machine as the rest of the plan has to see it."""
    device = wishes.edited("device", choices=(hardware.device, "cpu")) or Choice(
        hardware.device, say("found on this machine"), "hardware"
    )
    return device, hardware if device.value == hardware.device else _without_gpu(hardware)


def _choose_warmup(wishes: Wishes, steps: int) -> Choice[int]:
    return wishes.edited("warmup_steps", highest=steps) or Choice(
        min(steps, max(1, min(20, steps // 10))), say("a tenth of the steps, at most 20"), "default"
    )


def _choose_checkpoints(wishes: Wishes, steps: int) -> Choice[int]:
    return wishes.edited("checkpoint_every", highest=steps) or Choice(
        max(1, min(100, steps // 4)), say("four times a run, at least every 100 steps"), "default"
    )


def _default(name: str, reason: Message) -> Choice[Any]:
    return Choice(setting_named(name).default, reason, "default")


def _model_default(name: str, value: int | None) -> Choice[int]:
    if value is None:
        return _default(name, say("a good first run"))
    return Choice(value, say("what suits this model best"), "model")


def _choose_batch(base: BaseModel, facts: DataFacts) -> Choice[int]:
    """Return the model's own batch was found on the medical set. What is new to it is learned from many small
    steps (docs/log.md).
    """
    if base.batch_size is None or facts.source == DEMO:
        return _model_default("batch_size", base.batch_size)
    return _default("batch_size", say("things new to the model are learned best in many small steps"))


def _choose_steps(base: BaseModel, tokens_per_step: float) -> Choice[int]:
    """Return the model's own number of steps was found on short examples; with longer ones fewer steps read
    as much in the same time.
    """
    steps = _model_default("max_steps", base.max_steps)
    if base.max_steps is None or base.batch_size is None:
        return steps
    affordable = int(base.max_steps * base.batch_size * TYPICAL_TOKENS / tokens_per_step)
    if affordable >= steps.value:
        return steps
    reason = say(
        "the examples are long: this many steps take about as long as {steps} with short ones",
        steps=steps.value,
    )
    return Choice(max(MIN_STEPS, affordable), reason, "data")


def _without_gpu(hardware: Hardware) -> Hardware:
    """Return the same machine when the plan file says device = "cpu": nothing was measured there, and float32
    works everywhere.
    """
    reason = say("found on this machine")
    memory = hardware.system_memory_bytes
    return replace(
        hardware,
        device="cpu",
        memory_bytes=memory,
        dtype="float32",
        dtype_reason=reason,
        gemm_flops_per_second={},
    )


def _choose_rate(base: BaseModel, batch_size: int) -> Choice[float]:
    """Return the peak learning rate of AdamW for LoRA: about ten times that of full training, less for larger
    models.

    Source: "LoRA Without Regret" (Thinking Machines, 2025). A rate known for a model also suits smaller
    batches: lowered with the batch, the demo model learned far less (docs/log.md). For larger ones it grows
    with the square root.
    """
    if base.learning_rate is not None:
        known = base.batch_size or batch_size
        if batch_size <= known:
            return Choice(base.learning_rate, say("what suits this model best"), "model")
        rate = float(f"{base.learning_rate * math.sqrt(batch_size / known):.2g}")
        reason = say(
            "{known} suits batches of {size}; scaled by the square root", known=base.learning_rate, size=known
        )
        return Choice(min(rate, 1e-2), reason, "model")
    if base.num_parameters < 1_000_000_000:
        return Choice(5e-4, say("usual for adapters on models below 1 billion parameters"), "model")
    return Choice(2e-4, say("usual for adapters on models of this size"), "model")


def _within_context(length: Choice[int], base: BaseModel) -> Choice[int]:
    if length.value <= base.context_tokens:
        return length
    reason = say(
        "you asked for {value}, but the model reads {context} tokens at most",
        value=length.value,
        context=base.context_tokens,
    )
    return Choice(base.context_tokens, reason, "model")


def _choose_heldout(facts: DataFacts) -> Choice[int]:
    if facts.num_heldout:
        return Choice(
            min(MAX_HELDOUT, facts.num_heldout),
            say("from the part that the dataset keeps for measuring"),
            "data",
        )
    share = max(1, min(MAX_HELDOUT, facts.num_examples // 10))
    return Choice(
        share, say("a tenth of the data, at most 64, is kept for measuring and not trained on"), "data"
    )
