"""How long a run takes, by arithmetic: operations over the rate of matrix products, and everything that comes
around them.

Seconds throughout. What a constant rests on stands beside it; "assumed" means not measured by us yet.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

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


def predict(fit: Fit, *, max_steps: int, num_heldout: int, num_unseen: int) -> TimeEstimate:
    """Return the time of a whole run, from the start of the program to the proof."""
    hardware = fit.hardware
    loading = fit.base.num_parameters * DTYPE_BYTES[fit.dtype] * LOAD_SECONDS_PER_BYTE
    before, after = (_measuring_seconds(fit, num_heldout, num_unseen, factor) for factor in (1.0, ADAPTED))
    return TimeEstimate(
        {
            "loading": DEVICE_PROFILES[hardware.device].start_seconds * _slowness(hardware) + loading,
            "measuring_before": before,
            "training": max_steps * _step_seconds(fit),
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


def _step_seconds(fit: Fit) -> float:
    """Return one optimizer step. Micro-batches are filled by tokens, as many as its number of longest
    examples have (tokens/batch.py).
    """
    base, hardware = fit.base, fit.hardware
    profile, shape = DEVICE_PROFILES[hardware.device], base.shape
    tokens = fit.batch_size * mean_tokens(base, fit.facts, fit.length)
    flops = step_flops(
        base,
        round(tokens),
        fit.lora_r,
        max_seq_length=round(profile.attention_cost * seen_tokens(base, fit.facts, fit.length)),
        gradient_checkpointing=fit.gradient_checkpointing,
    )
    products = flops / (product_rate(hardware, fit.dtype) * profile.product_share)
    num_micro = max(1, math.ceil(tokens / (fit.micro_batch_size * fit.length)))
    rest = shape.num_layers * (
        tokens * shape.hidden_size * profile.width_seconds + num_micro * profile.layer_seconds
    )
    again = CHECKPOINTED if fit.gradient_checkpointing else 1.0
    return (1.0 if fit.quantization == "none" else DEQUANTIZED) * products + again * rest * _slowness(
        hardware
    )


def _measuring_seconds(fit: Fit, num_heldout: int, num_unseen: int, factor: float) -> float:
    """Return answers to the held-out questions, and twice their loss, which is a third of a step."""
    answers = sum(
        _answering_seconds(fit, count) for count in (num_heldout, min(MAX_UNSEEN_ANSWERS, num_unseen))
    )
    read = (2 * num_heldout + num_unseen) / fit.batch_size
    return factor * answers + read * _step_seconds(fit) / 3


def _answering_seconds(fit: Fit, count: int) -> float:
    """`count` answers, as many at once as memory is kept for, token by token."""
    base, hardware = fit.base, fit.hardware
    profile, element_bytes = DEVICE_PROFILES[hardware.device], DTYPE_BYTES[fit.dtype]
    num_tokens = min(MAX_NEW_TOKENS, max(MIN_NEW_TOKENS, min(fit.length, long_tokens(base, fit.facts))))
    question_tokens = max(1, round(mean_tokens(base, fit.facts, fit.length)))
    room = answer_tokens(base.shape, element_bytes, fit.answer_bytes) // (num_tokens + question_tokens)
    num_turns = math.ceil(count / max(1, min(ANSWERS_AT_ONCE, room)))
    share = profile.answer_share if fit.dtype == "float32" else profile.half_answer_share
    products = (
        2 * base.num_parameters * count / max(1, num_turns) / (product_rate(hardware, fit.dtype) * share)
    )
    reading = base.num_parameters * element_bytes / _bytes_per_second(hardware, fit.dtype)
    layers = base.shape.num_layers * profile.answer_layer_seconds * _slowness(hardware)
    return num_turns * num_tokens * (layers + max(reading, products))
