"""MODEL=auto: the best model that fits with room to spare and trains in sensible time; and which larger ones
would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..base_models.catalog import BaseModel, load_catalog
from ..data.facts import DataFacts
from ..machine.hardware import Hardware
from ..message import Message, say
from ..text.units import format_bytes
from .choices import Choice, Wishes
from .memory_fit import USUAL_LENGTH, Fit, fit_for
from .settings import setting_named
from .timing import predict

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


def first_fit(wishes: Wishes, base: BaseModel, hardware: Hardware, facts: DataFacts) -> Fit:
    """Return the first run of a model: what is wished of it, and what is usual."""
    lora_r, length = wishes.get("lora_r"), wishes.get("max_seq_length")
    dtype = wishes.edited("dtype") or choose_dtype(base, hardware)
    fit = fit_for(
        base,
        hardware,
        facts,
        dtype=dtype.value,
        lora_r=lora_r.value if lora_r else setting_named("lora_r").default,
        length=length.value if length else USUAL_LENGTH,
        batch_size=FIRST_BATCH,
    )
    quantization = wishes.quantization() or fit.choose_quantization()
    fit = replace(fit, quantization=quantization.value)
    return replace(fit, gradient_checkpointing=fit.choose_checkpointing().value)


def choose_dtype(base: BaseModel, hardware: Hardware) -> Choice[str]:
    """Return the number format of the base weights.

    A model this small runs as fast in float32 as in bfloat16 (matrix products are not what its step waits
    for), and exactly.
    """
    if base.num_parameters < SMALL_MODEL_PARAMETERS:
        return Choice("float32", say("the model is so small that full precision costs nothing"), "model")
    return Choice(hardware.dtype, hardware.dtype_reason, "hardware")


def choose_model(
    wishes: Wishes, hardware: Hardware, facts: DataFacts, candidates: Sequence[BaseModel]
) -> tuple[BaseModel, Choice[str]]:
    """Return the model that was asked for, or the best of all at hand; the demo model where none is good
    enough.
    """
    wish = wishes.get("model")
    if wish is not None and wish.value != "auto":
        return candidates[0], wish
    known = [c for c in candidates if c.quality > 0 and _knows_the_language(c, facts)]
    fitting = [c for c in known if is_comfortable(first_fit(wishes, c, hardware, facts))]
    if fitting:
        best = max(fitting, key=lambda c: c.quality)
        reason = say(
            "the best available model that fits into {memory} with room to spare and finishes a first run "
            "within {minutes} minutes",
            memory=format_bytes(hardware.memory_bytes),
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


def is_comfortable(first: Fit) -> bool:
    """Return whether a first run fits with room to spare and ends in sensible time."""
    return first.fits() and first_run_seconds(first) <= SENSIBLE_SECONDS


def first_run_seconds(first: Fit) -> float:
    """Return the time of a run with the default number of steps and examples, whatever the user wishes: it
    says what is sensible.
    """
    return predict(
        first, max_steps=FIRST_STEPS, num_heldout=MAX_HELDOUT, num_unseen=first.facts.num_unseen
    ).total_seconds


def larger_models(
    wishes: Wishes, base: BaseModel, hardware: Hardware, facts: DataFacts
) -> tuple[Larger, ...]:
    """Return the next larger model that would fit with room to spare, and the next larger that would not."""
    known = [c for c in load_catalog() if c.quality > 0 and _knows_the_language(c, facts)]
    above = sorted(
        (c for c in known if c.num_parameters > base.num_parameters), key=lambda c: c.num_parameters
    )
    found = [_larger(first_fit(wishes, model, hardware, facts)) for model in above]
    fitting = next((one for one in found if one.fits), None)
    too_large = next((one for one in found if not one.fits), None)
    return tuple(one for one in (fitting, too_large) if one is not None)


def _larger(first: Fit) -> Larger:
    return Larger(first.base.id, first.memory.total_bytes, first_run_seconds(first), first.fits())
