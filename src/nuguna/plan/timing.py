"""How long a run takes, by arithmetic: operations over the rate of matrix products, and everything that comes
around them.

Seconds throughout. What a constant rests on stands beside it; "assumed" means not measured by us yet.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..base_models.catalog import BaseModel
from ..data.facts import DataFacts
from ..engine.sizes import ANSWERS_AT_ONCE, MAX_NEW_TOKENS, MAX_UNSEEN_ANSWERS, MIN_NEW_TOKENS
from ..machine.device_profile import DEVICE_PROFILES
from ..machine.hardware import Hardware
from .example_tokens import long_tokens, mean_tokens, seen_tokens
from .memory import DTYPE_BYTES, answer_tokens, step_flops
from .memory_fit import Fit

REFERENCE_CORE_RATE = 1e11  # FLOP/s in float32 of the cores that the constants of the CPU were measured on
# Operations of products in the time in which a byte is read, where both grow with the chip. Apple's
# datasheets: 2.6 TFLOP/s and 68 GB/s for M1, 18 and 546 for M4 Max.
FLOPS_PER_READ_BYTE = 35
# times what is no product, when blocks are computed again: forward is about a third of a step
CHECKPOINTED = 1.3
# times the products over quantized weights, which are unpacked each time (assumed; 1.13 under peft on a CPU)
DEQUANTIZED = 1.3
# loading and hashing the weights; 0.19 and 0.24 s for 269 MB that the system had in memory
LOAD_SECONDS_PER_BYTE = 1.5e-9
ADAPTED = 1.3  # times a token of an answer with the adapter beside each matrix: 1.36 (demo), 1.14 (135M)


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a run has to do, as plain numbers."""

    max_steps: int
    batch_size: int
    micro_batch_size: int
    mean_tokens: float  # of an example, as it is cut
    seen_tokens: float  # of the example that a middling token stands in
    longest_tokens: int  # of an example, as it is cut
    long_tokens: int  # of an example that only one of twenty exceeds
    lora_r: int
    dtype: str
    quantization: str
    gradient_checkpointing: bool
    num_heldout: int
    num_unseen: int
    answer_bytes: int  # that keys and values of answers may take at once


def work_for(
    fit: Fit,
    facts: DataFacts,
    *,
    max_steps: int,
    micro_batch_size: int,
    quantization: str,
    gradient_checkpointing: bool,
    num_heldout: int,
    num_unseen: int,
) -> Work:
    """Return the work of a run with a fit's model and sizes on data of which `facts` are known."""
    memory = fit.estimate(micro_batch_size, quantization, gradient_checkpointing)
    return Work(
        max_steps=max_steps,
        batch_size=fit.batch_size,
        micro_batch_size=micro_batch_size,
        mean_tokens=mean_tokens(fit.base, facts, fit.length),
        seen_tokens=seen_tokens(fit.base, facts, fit.length),
        longest_tokens=fit.length,
        long_tokens=min(fit.length, long_tokens(fit.base, facts)),
        lora_r=fit.lora_r,
        dtype=fit.dtype,
        quantization=quantization,
        gradient_checkpointing=gradient_checkpointing,
        num_heldout=num_heldout,
        num_unseen=num_unseen,
        answer_bytes=memory.answer_bytes(fit.usable_bytes),
    )


@dataclass(frozen=True)
class TimeEstimate:
    """Seconds of a run, without a download, by what they are spent on."""

    parts: Mapping[str, float]  # loading, measuring_before, training, measuring_after, proving

    @property
    def total_seconds(self) -> float:
        """The sum of the parts."""
        return sum(self.parts.values())

    @property
    def closing_seconds(self) -> float:
        """What comes after the last step."""
        return self.parts["measuring_after"] + self.parts["proving"]


def predict(base: BaseModel, hardware: Hardware, work: Work) -> TimeEstimate:
    """Return the time of a whole run, from the start of the program to the proof."""
    loading = base.num_parameters * DTYPE_BYTES[work.dtype] * LOAD_SECONDS_PER_BYTE
    before, after = (_measuring_seconds(base, hardware, work, factor) for factor in (1.0, ADAPTED))
    return TimeEstimate(
        {
            "loading": DEVICE_PROFILES[hardware.device].start_seconds * _slowness(hardware) + loading,
            "measuring_before": before,
            "training": work.max_steps * _step_seconds(base, hardware, work),
            "measuring_after": after,
            "proving": loading,
        }
    )


def product_rate(hardware: Hardware, dtype: str) -> float:
    """Operations a second: as measured, in the other half precision if only that was, or what is usual for
    such a device.
    """
    measured = hardware.gemm_flops_per_second
    found = measured.get(dtype)
    if found is None and dtype != "float32":
        found = measured.get("bfloat16", measured.get("float16"))
    return found or DEVICE_PROFILES[hardware.device].usual_flops_per_second * _num_units(hardware)


def _num_units(hardware: Hardware) -> int:
    """Return how many units the rates of a device's profile are of: cores of a processor, or the whole
    GPU.
    """
    return hardware.num_cores if hardware.device == "cpu" else 1


def _slowness(hardware: Hardware) -> float:
    """Return how much longer than on the measured CPU everything takes that is no product; beside a GPU the
    CPU is not known.
    """
    if hardware.device != "cpu":
        return 1.0
    return max(1.0, REFERENCE_CORE_RATE * hardware.num_cores / product_rate(hardware, "float32"))


def _bytes_per_second(hardware: Hardware, dtype: str) -> float:
    """Return how fast weights are read from memory, which is what each token of an answer of a large model
    waits for. Assumed.
    """
    known = DEVICE_PROFILES[hardware.device].read_bytes_per_second
    return (
        product_rate(hardware, dtype) / FLOPS_PER_READ_BYTE if known is None else known * _num_units(hardware)
    )


def _step_seconds(base: BaseModel, hardware: Hardware, work: Work) -> float:
    """Return one optimizer step. Micro-batches are filled by tokens, as many as its number of longest
    examples have (tokens/batch.py).
    """
    tokens, profile, shape = work.batch_size * work.mean_tokens, DEVICE_PROFILES[hardware.device], base.shape
    flops = step_flops(
        base,
        round(tokens),
        work.lora_r,
        max_seq_length=round(profile.attention_cost * work.seen_tokens),
        gradient_checkpointing=work.gradient_checkpointing,
    )
    products = flops / (product_rate(hardware, work.dtype) * profile.product_share)
    num_micro = max(1, math.ceil(tokens / (work.micro_batch_size * work.longest_tokens)))
    rest = shape.num_layers * (
        tokens * shape.hidden_size * profile.width_seconds + num_micro * profile.layer_seconds
    )
    again = CHECKPOINTED if work.gradient_checkpointing else 1.0
    return (1.0 if work.quantization == "none" else DEQUANTIZED) * products + again * rest * _slowness(
        hardware
    )


def _measuring_seconds(base: BaseModel, hardware: Hardware, work: Work, factor: float) -> float:
    """Return answers to the held-out questions, and twice their loss, which is a third of a step."""
    counts = (work.num_heldout, min(MAX_UNSEEN_ANSWERS, work.num_unseen))
    answers = sum(_answering_seconds(base, hardware, work, count) for count in counts)
    read = (2 * work.num_heldout + work.num_unseen) / work.batch_size
    return factor * answers + read * _step_seconds(base, hardware, work) / 3


def _answering_seconds(base: BaseModel, hardware: Hardware, work: Work, count: int) -> float:
    """`count` answers, as many at once as memory is kept for, token by token."""
    profile, element_bytes = DEVICE_PROFILES[hardware.device], DTYPE_BYTES[work.dtype]
    num_tokens = min(MAX_NEW_TOKENS, max(MIN_NEW_TOKENS, work.long_tokens))
    room = answer_tokens(base.shape, element_bytes, work.answer_bytes) // (
        num_tokens + max(1, round(work.mean_tokens))
    )
    num_turns = math.ceil(count / max(1, min(ANSWERS_AT_ONCE, room)))
    share = profile.answer_share if work.dtype == "float32" else profile.half_answer_share
    products = (
        2 * base.num_parameters * count / max(1, num_turns) / (product_rate(hardware, work.dtype) * share)
    )
    reading = base.num_parameters * element_bytes / _bytes_per_second(hardware, work.dtype)
    layers = base.shape.num_layers * profile.answer_layer_seconds * _slowness(hardware)
    return num_turns * num_tokens * (layers + max(reading, products))
