"""How long a run takes, by arithmetic: operations over the rate of matrix products, and everything that comes around them.

Seconds throughout. What a constant rests on stands beside it; "assumed" means not measured by us yet.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..base_models.catalog import BaseModel
from ..machine.hardware import Hardware
from .memory import DTYPE_BYTES, answer_tokens, step_flops

# Rates of matrix products where none was measured, FLOP/s: of one CPU core (AVX2 in float32, a common laptop), of the GPU of a
# base Apple M chip and of a small NVIDIA card without tensor cores in use (datasheets: 2.6 and 4.4 TFLOP/s). Assumed.
ASSUMED_RATES = {"cpu": 6e10, "mps": 2e12, "cuda": 4e12}
ANSWERS_AT_ONCE = 64  # the most that generate.py makes together; fewer, if their keys and values would take too much memory
MOST_UNSEEN = 32  # answers that are made of the part with unseen subjects
LEAST_ANSWER_TOKENS, MOST_ANSWER_TOKENS = 32, 256  # bounds of evaluate.py


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What one kind of device makes of the measured rate, and what it needs besides, in seconds.

    Of the CPU: fitted to the demo model, the 135M shape and Qwen3-0.6B on two machines (docs/log.md), with a core of about
    1e11 FLOP/s in float32; on one that is slower, what is no product is taken to be slower by as much.
    """

    product_share: float  # of the measured rate that the products of a training step reach
    attention_cost: float  # times its operations: narrow products, and a softmax of as many numbers
    width_seconds: float  # for each token, layer and unit of width: norms, activations, softmax; more cores hardly help
    layer_seconds: float  # for each layer and micro-batch, however few tokens it has: calls, launches
    answer_share: float  # of the rate of products that a token of many answers reaches in float32
    half_answer_share: float  # the same in bfloat16 or float16
    answer_layer_seconds: float  # for each layer and such token: calls, launches
    start_seconds: float  # importing the libraries, reading the data, writing the report


PACES = {
    "cpu": Pace(
        product_share=1.0,
        attention_cost=2.5,
        width_seconds=4.5e-8,
        layer_seconds=3e-3,
        answer_share=0.35,
        half_answer_share=0.32,
        answer_layer_seconds=1.3e-3,
        start_seconds=6.0,
    ),
    # Assumed: half of the product rate (NeMo's published LoRA of an 8B model: 402 of about 700 TFLOP/s, on an H100), and launches
    # of about 10 microseconds.
    "mps": Pace(
        product_share=0.5,
        attention_cost=1.0,
        width_seconds=0.0,
        layer_seconds=3e-3,
        answer_share=0.5,
        half_answer_share=0.5,
        answer_layer_seconds=1.2e-3,
        start_seconds=15.0,
    ),
    "cuda": Pace(
        product_share=0.5,
        attention_cost=1.0,
        width_seconds=0.0,
        layer_seconds=2e-3,
        answer_share=0.5,
        half_answer_share=0.5,
        answer_layer_seconds=1e-3,
        start_seconds=15.0,
    ),
}
REFERENCE_CORE_RATE = 1e11  # FLOP/s in float32 of the cores that the constants of the CPU were measured on
CORE_BYTES_PER_SECOND = 5e9  # at which weights are read for each token of an answer (assumed; nothing waited for it here)
CHECKPOINTED = 1.3  # times what is no product, when blocks are computed again: forward is about a third of a step
DEQUANTIZED = 1.3  # times the products over quantized weights, which are unpacked each time (assumed; 1.13 under peft on a CPU)
LOAD_SECONDS_PER_BYTE = 1.5e-9  # loading and hashing the weights; 0.19 and 0.24 s for 269 MB that the system had in memory
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
    """The time of a whole run, from the start of the program to the proof."""
    loading = base.num_parameters * DTYPE_BYTES[work.dtype] * LOAD_SECONDS_PER_BYTE
    before, after = (_measuring_seconds(base, hardware, work, factor) for factor in (1.0, ADAPTED))
    return TimeEstimate(
        {
            "loading": PACES[hardware.device].start_seconds * _slowness(hardware) + loading,
            "measuring_before": before,
            "training": work.max_steps * _step_seconds(base, hardware, work),
            "measuring_after": after,
            "proving": loading,
        }
    )


def product_rate(hardware: Hardware, dtype: str) -> float:
    """Operations a second: as measured, in the other half precision if only that was, or what is usual for such a device."""
    measured = hardware.gemm_flops_per_second
    found = measured.get(dtype)
    if found is None and dtype != "float32":
        found = measured.get("bfloat16", measured.get("float16"))
    return found or ASSUMED_RATES[hardware.device] * (hardware.num_cores if hardware.device == "cpu" else 1)


def _slowness(hardware: Hardware) -> float:
    """How much longer than on the measured CPU everything takes that is no product; beside a GPU the CPU is not known."""
    if hardware.device != "cpu":
        return 1.0
    return max(1.0, REFERENCE_CORE_RATE * hardware.num_cores / product_rate(hardware, "float32"))


def _bytes_per_second(hardware: Hardware, dtype: str) -> float:
    """How fast weights are read from memory, which is what each token of an answer of a large model waits for. Assumed."""
    if hardware.device == "cpu":
        return CORE_BYTES_PER_SECOND * hardware.num_cores
    if hardware.device == "mps":  # Apple's datasheets: 2.6 TFLOP/s and 68 GB/s for M1, 18 and 546 for M4 Max
        return product_rate(hardware, dtype) / 35
    return 4e11  # a common card; an RTX 3060 has 360 GB/s, an H200 4,800


def _step_seconds(base: BaseModel, hardware: Hardware, work: Work) -> float:
    """One optimizer step. Micro-batches are filled by tokens, as many as its number of longest examples have (data/batch.py)."""
    tokens, pace, shape = work.batch_size * work.mean_tokens, PACES[hardware.device], base.shape
    flops = step_flops(
        base,
        round(tokens),
        work.lora_r,
        max_seq_length=round(pace.attention_cost * work.seen_tokens),
        gradient_checkpointing=work.gradient_checkpointing,
    )
    products = flops / (product_rate(hardware, work.dtype) * pace.product_share)
    num_micro = max(1, math.ceil(tokens / (work.micro_batch_size * work.longest_tokens)))
    rest = shape.num_layers * (tokens * shape.hidden_size * pace.width_seconds + num_micro * pace.layer_seconds)
    again = CHECKPOINTED if work.gradient_checkpointing else 1.0
    return (1.0 if work.quantization == "none" else DEQUANTIZED) * products + again * rest * _slowness(hardware)


def _measuring_seconds(base: BaseModel, hardware: Hardware, work: Work, factor: float) -> float:
    """Answers to the held-out questions, and twice their loss, which is a third of a step."""
    counts = (work.num_heldout, min(MOST_UNSEEN, work.num_unseen))
    answers = sum(_answering_seconds(base, hardware, work, count) for count in counts)
    read = (2 * work.num_heldout + work.num_unseen) / work.batch_size
    return factor * answers + read * _step_seconds(base, hardware, work) / 3


def _answering_seconds(base: BaseModel, hardware: Hardware, work: Work, count: int) -> float:
    """`count` answers, as many at once as memory is kept for, token by token."""
    pace, element_bytes = PACES[hardware.device], DTYPE_BYTES[work.dtype]
    num_tokens = min(MOST_ANSWER_TOKENS, max(LEAST_ANSWER_TOKENS, work.long_tokens))
    room = answer_tokens(base.shape, element_bytes, work.answer_bytes) // (num_tokens + max(1, round(work.mean_tokens)))
    num_turns = math.ceil(count / max(1, min(ANSWERS_AT_ONCE, room)))
    share = pace.answer_share if work.dtype == "float32" else pace.half_answer_share
    products = 2 * base.num_parameters * count / max(1, num_turns) / (product_rate(hardware, work.dtype) * share)
    reading = base.num_parameters * element_bytes / _bytes_per_second(hardware, work.dtype)
    layers = base.shape.num_layers * pace.answer_layer_seconds * _slowness(hardware)
    return num_turns * num_tokens * (layers + max(reading, products))
