"""MODEL=auto: the best model that fits with room to spare and trains in sensible time; and which larger ones
would.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..base_models.catalog import BaseModel, load_catalog
from ..data.facts import DataFacts
from ..machine.hardware import Hardware
from ..message import Message, say
from ..text.units import format_bytes
from .choices import Choice, Wishes
from .memory_fit import USUAL_LENGTH, Fit, fit_for
from .timing import predict, work_for

# What a first run may take: its owner should see a result before losing patience. With the default 100 steps
# of 4 examples.
SENSIBLE_SECONDS = 1800.0
FIRST_STEPS, FIRST_BATCH = 100, 4
MAX_HELDOUT = 64  # questions that are kept for measuring
SMALL_MODEL_PARAMETERS = 30_000_000


@dataclass(frozen=True)
class Larger:
    """A larger model of the catalogue on the same machine, with the same wishes."""

    model: str
    needed_bytes: int
    seconds: float  # of a first run
    fits: bool  # with room to spare

    def to_json(self) -> dict[str, object]:
        """As `nuguna plan --json` shows it."""
        return {**vars(self), "seconds": round(self.seconds, 1)}


@dataclass(frozen=True)
class Conditions:
    """What is wished or usual, before a model is chosen. `quantization` is None where the planner decides."""

    hardware: Hardware
    facts: DataFacts
    lora_r: int
    length: int
    dtype: str | None
    quantization: str | None

    def fit(self, base: BaseModel) -> Fit:
        """Return a model within these."""
        dtype = self.dtype or choose_dtype(base, self.hardware).value
        return fit_for(
            base,
            self.hardware,
            self.facts,
            dtype=dtype,
            lora_r=self.lora_r,
            length=self.length,
            batch_size=FIRST_BATCH,
        )


def conditions_of(wishes: Wishes, hardware: Hardware, facts: DataFacts) -> Conditions:
    """Return the wishes that bear on which model fits."""
    lora_r, length, dtype = wishes.get("lora_r"), wishes.get("max_seq_length"), wishes.edited("dtype")
    quantization = wishes.quantization()
    return Conditions(
        hardware,
        facts,
        lora_r=lora_r.value if lora_r else 32,
        length=length.value if length else USUAL_LENGTH,
        dtype=dtype.value if dtype else None,
        quantization=quantization.value if quantization else None,
    )


def choose_dtype(base: BaseModel, hardware: Hardware) -> Choice[str]:
    """Return the number format of the base weights.

    A model this small runs as fast in float32 as in bfloat16 (matrix products are not what its step waits
    for), and exactly.
    """
    if base.num_parameters < SMALL_MODEL_PARAMETERS:
        return Choice("float32", say("the model is so small that full precision costs nothing"), "model")
    return Choice(hardware.dtype, hardware.dtype_reason, "hardware")


def choose_model(
    wishes: Wishes, conditions: Conditions, candidates: Sequence[BaseModel]
) -> tuple[BaseModel, Choice[str]]:
    """Return the model that was asked for, or the best of all at hand; the demo model where none is good
    enough.
    """
    wish = wishes.get("model")
    if wish is not None and wish.value != "auto":
        return candidates[0], wish
    known = [c for c in candidates if c.quality > 0 and _knows_the_language(c, conditions.facts)]
    fitting = [c for c in known if is_comfortable(c, conditions)]
    if fitting:
        best = max(fitting, key=lambda c: c.quality)
        reason = say(
            "the best available model that fits into {memory} with room to spare and finishes a first run "
            "within {minutes} minutes",
            memory=format_bytes(conditions.hardware.memory_bytes),
            minutes=round(SENSIBLE_SECONDS / 60),
        )
        return best, Choice(best.id, reason, "hardware")
    demo = next(c for c in candidates if c.id == "demo")
    return demo, Choice("demo", _why_demo(known, candidates), "hardware")


def _why_demo(known: Sequence[BaseModel], candidates: Sequence[BaseModel]) -> Message:
    if known:
        return say(
            "every other available model is too large for this machine, or would train longer than "
            "{minutes} minutes",
            minutes=round(SENSIBLE_SECONDS / 60),
        )
    if any(c.quality > 0 for c in candidates):
        return say("no other available model knows Korean")
    return say("no other model is on this machine and the model hub cannot be reached")


def _knows_the_language(base: BaseModel, facts: DataFacts) -> bool:
    return not facts.has_korean or not base.languages or "ko" in base.languages


def is_comfortable(base: BaseModel, conditions: Conditions) -> bool:
    """Return whether a first run fits with room to spare and ends in sensible time."""
    fit = conditions.fit(base)
    quantization = conditions.quantization or fit.quantization().value
    checkpointing = fit.checkpointing(quantization).value
    return (
        fit.fits(1, quantization, checkpointing)
        and first_run_seconds(fit, conditions.facts, quantization, checkpointing) <= SENSIBLE_SECONDS
    )


def first_run_seconds(fit: Fit, facts: DataFacts, quantization: str, checkpointing: bool) -> float:
    """Return the time of a run with the default number of steps and examples, whatever the user wishes: it
    says what is sensible.
    """
    work = work_for(
        fit,
        facts,
        max_steps=FIRST_STEPS,
        micro_batch_size=1,
        quantization=quantization,
        gradient_checkpointing=checkpointing,
        num_heldout=MAX_HELDOUT,
        num_unseen=facts.num_unseen,
    )
    return predict(fit.base, fit.hardware, work).total_seconds


def larger_models(base: BaseModel, conditions: Conditions) -> tuple[Larger, ...]:
    """Return the next larger model that would fit with room to spare, and the next larger that would not."""
    found = list(_larger(base, conditions))
    fitting = next((one for one in found if one.fits), None)
    too_large = next((one for one in found if not one.fits), None)
    return tuple(one for one in (fitting, too_large) if one is not None)


def _larger(base: BaseModel, conditions: Conditions) -> Iterator[Larger]:
    for model in sorted(load_catalog(), key=lambda model: model.num_parameters):
        if (
            model.quality > 0
            and model.num_parameters > base.num_parameters
            and _knows_the_language(model, conditions.facts)
        ):
            fit = conditions.fit(model)
            quantization = conditions.quantization or fit.quantization().value
            checkpointing = fit.checkpointing(quantization).value
            needed = fit.estimate(1, quantization, checkpointing).total_bytes
            seconds = first_run_seconds(fit, conditions.facts, quantization, checkpointing)
            yield Larger(model.id, needed, seconds, needed <= fit.usable_bytes)
