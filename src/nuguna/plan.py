"""Machine + data + wishes → a plan, each value with its reason and where it came from. A pure function, without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from .catalog import BaseModel
from .data.read import DEMO, DataFacts
from .hardware import DTYPES, Hardware
from .memory import MemoryEstimate, estimate, step_flops
from .message import Message, say
from .settings import SETTINGS, Request
from .units import format_bytes
from .wishes import Choice as Choice  # part of Plan, so it is to be had here
from .wishes import Wishes

# A model this small runs as fast in float32 as in bfloat16 (matrix products are not what its step waits for), and exactly.
SMALL_MODEL_PARAMETERS = 30_000_000
# Tokens of one micro-batch beyond which a larger one no longer runs faster: the products already fill the processor.
ENOUGH_TOKENS = {"cpu": 2048, "mps": 4096, "cuda": 16384}
TYPICAL_TOKENS = 64  # an example of the medical set, as this module estimates it, rounded up
LEAST_STEPS = 100
# What a first run may take of the usable memory; the rest is for what arithmetic does not see (fragments, other programs).
MEMORY_SHARE = 0.85
# Measured training rates, FLOP/s, for a first guess of the time (a 2-core AVX512_BF16 server, the demo model;
# Apple and NVIDIA from the public numbers gathered for the design: about 40 % of what the chip can do).
FLOPS_PER_CORE = 4e10
FLOPS = {"mps": 4e12, "cuda": 5e13}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything a run needs to know. Fields that are a `Choice` stand in plan.toml and may be edited there."""

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
    fits: bool
    usable_bytes: int
    memory: MemoryEstimate
    predicted_seconds: float

    def choices(self) -> dict[str, Choice[Any]]:
        """All choices by name, in the order in which they are shown."""
        found = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in found.items() if isinstance(value, Choice)}

    def to_json(self) -> dict[str, Any]:
        """The document of `nuguna plan --json`."""
        choices = {n: {"value": c.value, "reason": str(c.reason), "source": c.source} for n, c in self.choices().items()}
        memory = {
            "usable_bytes": self.usable_bytes,
            "predicted_peak_bytes": self.memory.total_bytes,
            "parts": dict(self.memory.parts),
        }
        return {"fits": self.fits, "choices": choices, "memory": memory, "predicted_seconds": round(self.predicted_seconds, 1)}


def make_plan(
    request: Request,
    hardware: Hardware,
    facts: DataFacts,
    candidates: Sequence[BaseModel],
    edited: Mapping[str, Any] | None = None,
) -> Plan:
    """Decide everything.

    `candidates` are the models that can be had: the one that was asked for, or for MODEL=auto all at hand (always the demo).
    `edited` are values from a plan file for what has no setting of its own (micro_batch_size, dtype, …).
    Raises `SettingError` for an edited value that cannot be used.
    """
    wishes = Wishes(request, dict(edited or {}))
    device, hardware = _choose_device(wishes, hardware)
    base, model = _choose_model(wishes, hardware, candidates)
    dtype = wishes.edited("dtype", DTYPES) or _choose_dtype(base, hardware)
    batch_size = wishes.get("batch_size") or _choose_batch(base, facts)
    length = wishes.get("max_seq_length") or _choose_length(base, facts)
    length = _within_context(length, base)
    max_steps = wishes.get("max_steps") or _choose_steps(base, batch_size.value * _mean_tokens(base, facts, length.value))
    lora_r = wishes.get("lora_r") or _default("lora_r", say("large enough to learn new facts, small beside the model"))
    lora_alpha = wishes.get("lora_alpha") or _default("lora_alpha", say("the customary scale for this rank"))
    fit = _Fit(base, hardware, dtype.value, lora_r.value, min(length.value, _longest_tokens(base, facts)))
    quantization = wishes.quantization() or fit.quantization()
    checkpointing = wishes.edited("gradient_checkpointing", (True, False)) or fit.checkpointing(quantization.value)
    micro = wishes.edited_whole("micro_batch_size", batch_size.value) or fit.micro_batch(
        batch_size.value, quantization.value, checkpointing.value
    )
    steps, memory = max_steps.value, fit.estimate(micro.value, quantization.value, checkpointing.value)
    tokens = steps * batch_size.value * _mean_tokens(base, facts, length.value)
    return Plan(
        model=model,
        data=wishes.get("data") or _default("data", say("the medical set that comes with the program")),
        data_columns=wishes.get("data_columns") or Choice("", say("found from the names of the columns"), "data"),
        output_dir=wishes.get("output_dir") or _default("output_dir", say("the usual place")),
        max_steps=max_steps,
        batch_size=batch_size,
        micro_batch_size=micro,
        max_seq_length=length,
        learning_rate=wishes.get("learning_rate") or _choose_rate(base, batch_size.value),
        warmup_steps=_choose_warmup(wishes, steps),
        weight_decay=wishes.edited_number("weight_decay", 0.0, 1.0)
        or Choice(0.0, say("none: the adapter starts at zero"), "default"),
        max_grad_norm=wishes.edited_number("max_grad_norm", 1e-6, 1e6)
        or Choice(1.0, say("one bad batch cannot throw the training off"), "default"),
        lora_r=lora_r,
        lora_alpha=lora_alpha,
        quantization=quantization,
        device=device,
        dtype=dtype,
        gradient_checkpointing=checkpointing,
        heldout_examples=wishes.edited_whole("heldout_examples", 1000) or _choose_heldout(facts),
        checkpoint_every=_choose_checkpoints(wishes, steps),
        seed=wishes.get("seed") or _default("seed", say("the same seed gives the same result")),
        fits=memory.total_bytes <= hardware.memory_bytes,
        usable_bytes=hardware.memory_bytes,
        memory=memory,
        predicted_seconds=_predict_seconds(base, hardware, tokens, lora_r.value, checkpointing.value),
    )


def _choose_device(wishes: Wishes, hardware: Hardware) -> tuple[Choice[str], Hardware]:
    """The device, and the machine as the rest of the plan has to see it."""
    device = wishes.edited("device", (hardware.device, "cpu")) or Choice(
        hardware.device, say("found on this machine"), "hardware"
    )
    return device, hardware if device.value == hardware.device else _without_gpu(hardware)


def _choose_warmup(wishes: Wishes, steps: int) -> Choice[int]:
    return wishes.edited_whole("warmup_steps", steps) or Choice(
        min(steps, max(1, min(20, steps // 10))), say("a tenth of the steps, at most 20"), "default"
    )


def _choose_checkpoints(wishes: Wishes, steps: int) -> Choice[int]:
    return wishes.edited_whole("checkpoint_every", steps) or Choice(
        max(1, min(100, steps // 4)), say("four times a run, at least every 100 steps"), "default"
    )


@dataclass(frozen=True)
class _Fit:
    """What fits into this machine's memory."""

    base: BaseModel
    hardware: Hardware
    dtype: str
    lora_r: int
    length: int

    @property
    def usable_bytes(self) -> int:
        return int(self.hardware.memory_bytes * MEMORY_SHARE)

    def estimate(self, micro_batch_size: int, quantization: str, checkpointing: bool) -> MemoryEstimate:
        return estimate(
            self.base,
            lora_r=self.lora_r,
            micro_batch_size=micro_batch_size,
            max_seq_length=self.length,
            dtype=self.dtype,
            quantization=quantization,
            gradient_checkpointing=checkpointing,
            device=self.hardware.device,
        )

    def _fits(self, micro_batch_size: int, quantization: str, checkpointing: bool) -> bool:
        return self.estimate(micro_batch_size, quantization, checkpointing).total_bytes <= self.usable_bytes

    def quantization(self) -> Choice[str]:
        """Full precision when it fits; 4-bit weights only where bitsandbytes runs well (CUDA)."""
        if self._fits(1, "none", True):
            return Choice("none", say("the model fits without it, and learns best so"), "hardware")
        if self.hardware.device == "cuda":
            return Choice("4bit", say("in full precision it would not fit into {memory}", memory=self._memory()), "hardware")
        return Choice("none", say("4-bit training needs an NVIDIA GPU"), "hardware")

    def checkpointing(self, quantization: str) -> Choice[bool]:
        """Recompute activations only when even one example does not fit without."""
        if self._fits(1, quantization, False):
            return Choice(False, say("activations fit into memory, so nothing is computed twice"), "hardware")
        return Choice(True, say("saves memory: activations are computed twice"), "hardware")

    def micro_batch(self, batch_size: int, quantization: str, checkpointing: bool) -> Choice[int]:
        """The most examples at once that fit and still make it faster; it changes speed and memory, never the result."""
        enough = max(1, ENOUGH_TOKENS[self.hardware.device] // self.length)
        size = min(batch_size, enough)
        while size > 1 and not self._fits(size, quantization, checkpointing):
            size //= 2
        if size == batch_size:
            return Choice(size, say("the whole batch at once fits into {memory}", memory=self._memory()), "hardware")
        if size == enough:
            return Choice(size, say("enough to keep the processor busy; the result stays the same"), "hardware")
        return Choice(size, say("more would not fit into {memory}; the result stays the same", memory=self._memory()), "hardware")

    def _memory(self) -> str:
        return format_bytes(self.hardware.memory_bytes)


def _default(name: str, reason: Message) -> Choice[Any]:
    value = next(setting.default for setting in SETTINGS if setting.name == name)
    return Choice(value, reason, "default")


def _model_default(name: str, value: int | None) -> Choice[int]:
    if value is None:
        return _default(name, say("a good first run"))
    return Choice(value, say("what suits this model best"), "model")


def _choose_batch(base: BaseModel, facts: DataFacts) -> Choice[int]:
    """The model's own batch was found on the medical set. What is new to it is learned from many small steps (docs/log.md)."""
    if base.batch_size is None or facts.source == DEMO:
        return _model_default("batch_size", base.batch_size)
    return _default("batch_size", say("what is new to the model is learned best in many small steps"))


def _choose_steps(base: BaseModel, tokens_per_step: float) -> Choice[int]:
    """The model's own number of steps was found on short examples; with longer ones fewer steps read as much in the same time."""
    steps = _model_default("max_steps", base.max_steps)
    if base.max_steps is None or base.batch_size is None:
        return steps
    affordable = int(base.max_steps * base.batch_size * TYPICAL_TOKENS / tokens_per_step)
    if affordable >= steps.value:
        return steps
    reason = say("the examples are long: so many steps take about as long as {steps} with short ones", steps=steps.value)
    return Choice(max(LEAST_STEPS, affordable), reason, "data")


def _choose_model(wishes: Wishes, hardware: Hardware, candidates: Sequence[BaseModel]) -> tuple[BaseModel, Choice[str]]:
    wish = wishes.get("model")
    if wish is not None and wish.value != "auto":
        return candidates[0], wish
    fitting = [c for c in candidates if c.quality > 0 and _comfortable(c, hardware)]
    if fitting:
        best = max(fitting, key=lambda c: c.quality)
        return best, Choice(
            best.id, say("the best model at hand that fits into {memory}", memory=format_bytes(hardware.memory_bytes)), "hardware"
        )
    demo = next(c for c in candidates if c.id == "demo")
    if any(c.quality > 0 for c in candidates):
        return demo, Choice("demo", say("every other model at hand is too large or too slow for this machine"), "hardware")
    return demo, Choice("demo", say("no other model is on this machine and the model hub cannot be reached"), "hardware")


def _without_gpu(hardware: Hardware) -> Hardware:
    """The same machine when the plan file says device = "cpu": nothing was measured there, and float32 works everywhere."""
    reason = say("found on this machine")
    memory = hardware.system_memory_bytes
    return replace(hardware, device="cpu", memory_bytes=memory, dtype="float32", dtype_reason=reason)


def _comfortable(base: BaseModel, hardware: Hardware) -> bool:
    """Whether a first run on this machine fits and ends within about half an hour on a CPU."""
    fit = _Fit(base, hardware, hardware.dtype, 32, 512)
    quantization = fit.quantization().value
    if fit.estimate(1, quantization, True).total_bytes > fit.usable_bytes:
        return False
    tokens = 100 * 4 * 256  # the default run: 100 steps of 4 examples of middling length
    return _predict_seconds(base, hardware, tokens, 32, False) <= 1800


def _choose_dtype(base: BaseModel, hardware: Hardware) -> Choice[str]:
    if base.num_parameters < SMALL_MODEL_PARAMETERS:
        return Choice("float32", say("the model is so small that full precision costs nothing"), "model")
    return Choice(hardware.dtype, hardware.dtype_reason, "hardware")


def _choose_rate(base: BaseModel, batch_size: int) -> Choice[float]:
    """The peak learning rate of AdamW for LoRA: about ten times that of full training, less for larger models.

    Source: "LoRA Without Regret" (Thinking Machines, 2025). A rate known for a model also suits smaller batches: lowered with
    the batch, the demo model learned far less (docs/log.md). For larger ones it grows with the square root.
    """
    if base.learning_rate is not None:
        known = base.batch_size or batch_size
        if batch_size <= known:
            return Choice(base.learning_rate, say("what suits this model best"), "model")
        rate = float(f"{base.learning_rate * math.sqrt(batch_size / known):.2g}")
        reason = say("{known} suits batches of {size}; scaled by the square root", known=base.learning_rate, size=known)
        return Choice(min(rate, 1e-2), reason, "model")
    if base.num_parameters < 1_000_000_000:
        return Choice(5e-4, say("usual for adapters on models below 1 billion parameters"), "model")
    return Choice(2e-4, say("usual for adapters on models of this size"), "model")


def _choose_length(base: BaseModel, facts: DataFacts) -> Choice[int]:
    default = _default("max_seq_length", say("long enough for most questions and answers"))
    longest = _longest_tokens(base, facts)
    if longest < default.value:
        return Choice(default.value, say("longer than every example of the data"), "data")
    return default


def _within_context(length: Choice[int], base: BaseModel) -> Choice[int]:
    if length.value <= base.context_tokens:
        return length
    reason = say(
        "you asked for {value}, but the model reads {context} tokens at most", value=length.value, context=base.context_tokens
    )
    return Choice(base.context_tokens, reason, "model")


def _chars_per_token(base: BaseModel, facts: DataFacts) -> float:
    # Measured on the medical set and the two public sets in the tests: Korean 1.2 to 2.1, English 2.4 to 4.5, by vocabulary size.
    small = base.shape.vocab_size < 16_000
    if small and facts.source == DEMO:
        return 3.2  # the demo model's own reading
    if facts.has_korean:
        return 1.5
    return 2.2 if small else 4.0


def _longest_tokens(base: BaseModel, facts: DataFacts) -> int:
    return int(facts.max_chars / _chars_per_token(base, facts)) + 24  # the template's own tokens


def _mean_tokens(base: BaseModel, facts: DataFacts, length: int) -> float:
    return min(facts.mean_chars / _chars_per_token(base, facts) + 16, length)


def _choose_heldout(facts: DataFacts) -> Choice[int]:
    if facts.num_heldout:
        return Choice(min(64, facts.num_heldout), say("from the part that the dataset keeps for measuring"), "data")
    share = max(1, min(64, facts.num_examples // 10))
    return Choice(share, say("a tenth of the data, at most 64, is kept for measuring and not trained on"), "data")


def _predict_seconds(base: BaseModel, hardware: Hardware, tokens: float, lora_r: int, checkpointing: bool) -> float:
    rate = FLOPS.get(hardware.device, FLOPS_PER_CORE * hardware.num_cores)
    if hardware.device == "cpu" and hardware.dtype != "bfloat16":
        rate /= 2
    flops = step_flops(base, int(tokens), lora_r, max_seq_length=512, gradient_checkpointing=checkpointing)
    return flops / rate + 10  # loading, measuring and proving
