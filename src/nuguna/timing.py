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
    """What one kind of device makes of the measured rate, and what it needs besides.

    On the CPU: the demo model and the 135M shape, in processor time on one thread (AMD EPYC of family 25, 97 GFLOP/s a core in
    float32 and 215 in bfloat16), and in whole runs on two (docs/log.md).
    """

    training_share: float  # of the rate of products that the operations of a training step reach
    micro_batch_tokens: int  # as many tokens more as a micro-batch costs, however few it has: calls, reading weights
    launch_seconds: float  # for each layer and micro-batch: a GPU's kernels are launched one after the other
    answer_share: float  # of the rate of products that a token of 16 answers reaches
    layer_seconds: float  # for each layer and such token: calls and launches
    start_seconds: float  # importing the libraries, reading the data, writing the report


PACES = {
    ("cpu", "float32"): Pace(
        training_share=0.75, micro_batch_tokens=50, launch_seconds=0, answer_share=0.8, layer_seconds=1.3e-3, start_seconds=9
    ),
    ("cpu", "bfloat16"): Pace(
        training_share=0.6, micro_batch_tokens=80, launch_seconds=0, answer_share=0.25, layer_seconds=1.3e-3, start_seconds=9
    ),
    # Assumed: half of the product rate (NeMo's published LoRA of an 8B model: 402 of about 700 TFLOP/s, on an H100), and launches
    # of about 10 microseconds.
    ("mps", ""): Pace(
        training_share=0.5, micro_batch_tokens=0, launch_seconds=3e-3, answer_share=0.5, layer_seconds=1.2e-3, start_seconds=15
    ),
    ("cuda", ""): Pace(
        training_share=0.5, micro_batch_tokens=0, launch_seconds=2e-3, answer_share=0.5, layer_seconds=1e-3, start_seconds=15
    ),
}
CORE_BYTES_PER_SECOND = 5e9  # at which weights are read for each token of an answer (assumed; nothing waited for it here)
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
    pace = _pace(hardware, work.dtype)
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


def product_rate(hardware: Hardware, dtype: str) -> float:
    """Operations a second: as measured, in the other half precision if only that was, or what is usual for such a device."""
    measured = hardware.gemm_flops_per_second
    found = measured.get(dtype)
    if found is None and dtype != "float32":
        found = measured.get("bfloat16", measured.get("float16"))
    return found or ASSUMED_RATES[hardware.device] * (hardware.num_cores if hardware.device == "cpu" else 1)


def _pace(hardware: Hardware, dtype: str) -> Pace:
    if hardware.device != "cpu":
        return PACES[hardware.device, ""]
    return PACES["cpu", "float32" if dtype == "float32" else "bfloat16"]


def _bytes_per_second(hardware: Hardware, dtype: str) -> float:
    """How fast weights are read from memory, which is what each token of an answer of a large model waits for. Assumed."""
    if hardware.device == "cpu":
        return CORE_BYTES_PER_SECOND * hardware.num_cores
    if hardware.device == "mps":  # Apple's datasheets: 2.6 TFLOP/s and 68 GB/s for M1, 18 and 546 for M4 Max
        return product_rate(hardware, dtype) / 35
    return 4e11  # a common card; an RTX 3060 has 360 GB/s, an H200 4,800


def _step_seconds(base: BaseModel, hardware: Hardware, work: Work) -> float:
    """One optimizer step. Micro-batches are filled by tokens, as many as its number of longest examples have (data/batch.py)."""
    tokens, pace = work.batch_size * work.mean_tokens, _pace(hardware, work.dtype)
    num_micro = max(1, math.ceil(tokens / (work.micro_batch_size * work.longest_tokens)))
    flops = step_flops(
        base,
        round(tokens + num_micro * pace.micro_batch_tokens),
        work.lora_r,
        max_seq_length=round(work.mean_tokens),
        gradient_checkpointing=work.gradient_checkpointing,
    )
    slower = 1.0 if work.quantization == "none" else DEQUANTIZED
    launches = num_micro * base.shape.num_layers * pace.launch_seconds
    return launches + slower * flops / (product_rate(hardware, work.dtype) * pace.training_share)


def _measuring_seconds(base: BaseModel, hardware: Hardware, work: Work, factor: float) -> float:
    """Answers to the held-out questions, many at once, token by token; and twice their loss, which is a third of a step."""
    pace, at_once = _pace(hardware, work.dtype), max(ANSWERS_AT_ONCE, work.micro_batch_size)
    num_unseen = min(MOST_UNSEEN, work.num_unseen)
    num_turns = math.ceil(work.num_heldout / at_once) + math.ceil(num_unseen / at_once)
    num_tokens = min(MOST_ANSWER_TOKENS, max(LEAST_ANSWER_TOKENS, work.long_tokens))
    reading = base.num_parameters * DTYPE_BYTES[work.dtype] / _bytes_per_second(hardware, work.dtype)
    products = 2 * base.num_parameters * at_once / (product_rate(hardware, work.dtype) * pace.answer_share)
    token_seconds = base.shape.num_layers * pace.layer_seconds + max(reading, products)
    read = (2 * work.num_heldout + work.num_unseen) / work.batch_size
    return factor * num_turns * num_tokens * token_seconds + read * _step_seconds(base, hardware, work) / 3
