"""How long a run takes, by arithmetic: operations over the rate of matrix products, and everything that comes around them.

Seconds throughout. What a constant rests on stands beside it; "assumed" means not measured by us yet.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from .catalog import BaseModel
from .hardware import Hardware
from .memory import DTYPE_BYTES, step_flops

# Rates of matrix products where none was measured, FLOP/s: of one CPU core (AVX2 in float32, a common laptop), of the GPU of a
# base Apple M chip and of a small NVIDIA card without tensor cores in use (datasheets: 2.6 and 4.4 TFLOP/s). Assumed.
ASSUMED_RATES = {"cpu": 6e10, "mps": 2e12, "cuda": 4e12}
ANSWERS_AT_ONCE = 16  # the least that evaluate.py makes together
MOST_UNSEEN = 32  # answers that are made of the part with unseen subjects
LEAST_ANSWER_TOKENS, MOST_ANSWER_TOKENS = 32, 256  # bounds of evaluate.py


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What one kind of device needs besides its matrix products."""

    product_share: float  # of the measured rate that products reach within a training step
    width_seconds: float  # for each token, layer and unit of the hidden size: norms, activations, softmax, optimizer; x cores
    layer_seconds: float  # for each layer and micro-batch, however few tokens it has: calls, kernel launches, reading weights
    decode_seconds: float  # for each layer and token of an answer, the same
    start_seconds: float  # importing the libraries, reading the data, writing the report


PACES = {
    "cpu": Pace(
        product_share=1.0,
        width_seconds=4.4e-8,
        layer_seconds=7e-3,
        decode_seconds=6e-4,
        start_seconds=10.0,
    ),
    # Assumed: half of the product rate (NeMo's published LoRA of an 8B model: 402 of about 700 TFLOP/s, on an H100), and launches
    # of about 10 microseconds.
    "mps": Pace(
        product_share=0.5,
        width_seconds=0.0,
        layer_seconds=3e-3,
        decode_seconds=1.2e-3,
        start_seconds=15.0,
    ),
    "cuda": Pace(
        product_share=0.5,
        width_seconds=0.0,
        layer_seconds=2e-3,
        decode_seconds=1e-3,
        start_seconds=15.0,
    ),
}
CORE_BYTES_PER_SECOND = 5e9
CHECKPOINTED = 1.3  # times what is no product, when blocks are computed again: forward is a third of a step
DEQUANTIZED = 1.3  # times the products over quantized weights, which are unpacked each time (assumed; 1.13 under peft on a CPU)
# Loading, hashing and reloading the weights: seconds a byte.
LOAD_SECONDS_PER_BYTE = 2e-9
ADAPTED = 1.6  # times a decoding step with the adapter beside each matrix


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a run has to do, as plain numbers."""

    max_steps: int
    batch_size: int
    micro_batch_size: int
    mean_tokens: float  # of an example, as it is cut
    longest_tokens: int  # of an example, as it is cut
    long_tokens: int  # of an example that only one of twenty exceeds
    lora_r: int
    dtype: str
    quantization: str
    gradient_checkpointing: bool
    num_heldout: int
    num_unseen: int


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
    pace = PACES[hardware.device]
    loading = base.num_parameters * DTYPE_BYTES[work.dtype] * LOAD_SECONDS_PER_BYTE
    measured = [_measuring_seconds(base, hardware, work, factor) for factor in (1.0, ADAPTED)]
    return TimeEstimate(
        {
            "loading": pace.start_seconds + loading,
            "measuring_before": measured[0],
            "training": work.max_steps * _step_seconds(base, hardware, work),
            "measuring_after": measured[1],
            "proving": loading,
        }
    )


def product_rate(hardware: Hardware) -> float:
    """Operations a second: as measured, or what is usual for such a device."""
    if hardware.gemm_flops_per_second is not None:
        return hardware.gemm_flops_per_second
    return ASSUMED_RATES[hardware.device] * (hardware.num_cores if hardware.device == "cpu" else 1)


def _bytes_per_second(hardware: Hardware) -> float:
    """How fast weights are read from memory, which is what each token of an answer waits for. Assumed but for the CPU."""
    if hardware.device == "cpu":
        return CORE_BYTES_PER_SECOND * hardware.num_cores
    if hardware.device == "mps":  # Apple's datasheets: 2.6 TFLOP/s and 68 GB/s for M1, 18 and 546 for M4 Max
        return product_rate(hardware) / 35
    return 4e11  # a common card; an RTX 3060 has 360 GB/s, an H200 4,800


def _step_seconds(base: BaseModel, hardware: Hardware, work: Work) -> float:
    """One optimizer step. Micro-batches are filled by tokens, as many as its number of longest examples have (data/batch.py)."""
    tokens = work.batch_size * work.mean_tokens
    num_micro = max(1, math.ceil(tokens / (work.micro_batch_size * work.longest_tokens)))
    again = CHECKPOINTED if work.gradient_checkpointing else 1.0
    flops = step_flops(
        base,
        round(tokens),
        work.lora_r,
        max_seq_length=round(work.mean_tokens),
        gradient_checkpointing=work.gradient_checkpointing,
    )
    pace, shape = PACES[hardware.device], base.shape
    products = flops / (product_rate(hardware) * pace.product_share) * (1 if work.quantization == "none" else DEQUANTIZED)
    rest = tokens * shape.num_layers * shape.hidden_size * pace.width_seconds / hardware.num_cores
    return products + again * (rest + num_micro * shape.num_layers * pace.layer_seconds)


def _measuring_seconds(base: BaseModel, hardware: Hardware, work: Work, factor: float) -> float:
    """Answers to the held-out questions, many at once, token by token; and twice their loss, which is a third of a step."""
    pace, at_once = PACES[hardware.device], max(ANSWERS_AT_ONCE, work.micro_batch_size)
    num_unseen = min(MOST_UNSEEN, work.num_unseen)
    num_turns = math.ceil(work.num_heldout / at_once) + math.ceil(num_unseen / at_once)
    num_tokens = min(MOST_ANSWER_TOKENS, max(LEAST_ANSWER_TOKENS, work.long_tokens))
    weights = base.num_parameters * DTYPE_BYTES[work.dtype]
    products = 2 * base.num_parameters * at_once / (product_rate(hardware) * pace.product_share)
    token_seconds = base.shape.num_layers * pace.decode_seconds + max(weights / _bytes_per_second(hardware), products)
    read = (2 * work.num_heldout + work.num_unseen) / work.batch_size
    return factor * num_turns * num_tokens * token_seconds + read * _step_seconds(base, hardware, work) / 3
