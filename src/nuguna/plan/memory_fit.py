"""What fits into a machine's memory: how weights are stored, whether activations are computed twice, examples
at once, length.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ..base_models.catalog import BaseModel
from ..data.facts import DataFacts
from ..machine.device_profile import DEVICE_PROFILES
from ..machine.hardware import Hardware
from ..message import Message, say
from ..text.units import format_bytes
from .choices import Choice
from .example_tokens import long_tokens, longest_tokens
from .memory import MemoryEstimate, estimate

# What a first run may take of the usable memory; the rest is for what arithmetic does not see (fragments,
# other programs).
MEMORY_SHARE = 0.85
USUAL_LENGTH = 512
PART_NAMES: dict[str, Message] = {
    "weights": say("base model"),
    "adapter": say("adapter and its gradients"),
    "optimizer": say("optimizer"),
    "activations": say("activations"),
    "logits": say("scores of all words"),
    "overhead": say("libraries and reserve"),
    "loading": say("extra while loading"),
}
LONGEST_LENGTH = 2048  # chosen by itself: attention and its memory grow faster than the text
LENGTH_STEP = 128  # lengths are tried in such steps
_NO_LONGER = say("the usual length: many examples are longer, but more would not fit or would take too long")


@dataclass(frozen=True)
class Fit:
    """One way to train one model on one machine with one dataset, as plain numbers.

    `length` is the longest example in tokens, as far as it may be read. How weights are stored, whether
    activations are computed twice and how many examples go at once is what takes least memory without
    coarser weights, until it is chosen.
    """

    base: BaseModel
    hardware: Hardware
    facts: DataFacts
    dtype: str
    lora_r: int
    length: int
    batch_size: int  # of the optimizer: smaller micro-batches add up to it
    quantization: str = "none"
    gradient_checkpointing: bool = True
    micro_batch_size: int = 1

    @property
    def usable_bytes(self) -> int:
        """What may be taken with room to spare."""
        return int(self.hardware.memory_bytes * MEMORY_SHARE)

    @cached_property
    def memory(self) -> MemoryEstimate:
        """The memory of a step."""
        return estimate(
            self.base,
            lora_r=self.lora_r,
            micro_batch_size=self.micro_batch_size,
            max_seq_length=self.length,
            dtype=self.dtype,
            quantization=self.quantization,
            gradient_checkpointing=self.gradient_checkpointing,
            device=self.hardware.device,
            accumulates=self.micro_batch_size < self.batch_size,
        )

    @property
    def answer_bytes(self) -> int:
        """What keys and values of answers may take at once."""
        return self.memory.answer_bytes(self.usable_bytes)

    def fits(self, **changes: Any) -> bool:
        """Return whether there is room to spare, with `changes` of fields."""
        return replace(self, **changes).memory.total_bytes <= self.usable_bytes

    def choose_quantization(self) -> Choice[str]:
        """Full precision when it fits; 4-bit weights only where bitsandbytes runs well (CUDA)."""
        if self.fits(quantization="none", gradient_checkpointing=True, micro_batch_size=1):
            return Choice("none", say("the model fits without it, and learns best that way"), "hardware")
        if DEVICE_PROFILES[self.hardware.device].can_quantize:
            return Choice(
                "4bit",
                say("in full precision it would not fit into {memory}", memory=self._memory()),
                "hardware",
            )
        return Choice("none", say("4-bit training needs an NVIDIA GPU"), "hardware")

    def choose_checkpointing(self) -> Choice[bool]:
        """Recompute activations only when even one example does not fit without."""
        if self.fits(gradient_checkpointing=False, micro_batch_size=1):
            return Choice(False, say("activations fit into memory, so nothing is computed twice"), "hardware")
        return Choice(True, say("saves memory: activations are computed twice"), "hardware")

    def choose_micro_batch(self) -> Choice[int]:
        """Return the most examples at once that fit and still make it faster; it changes speed and memory,
        never the result.
        """
        enough = max(1, DEVICE_PROFILES[self.hardware.device].enough_tokens // self.length)
        size = min(self.batch_size, enough)
        while size > 1 and not self.fits(micro_batch_size=size):
            size //= 2
        if size == self.batch_size:
            return Choice(
                size, say("the whole batch at once fits into {memory}", memory=self._memory()), "hardware"
            )
        if size == enough:
            return Choice(
                size, say("enough to keep the processor busy; the result stays the same"), "hardware"
            )
        return Choice(
            size,
            say("more would not fit into {memory}; the result stays the same", memory=self._memory()),
            "hardware",
        )

    def _memory(self) -> str:
        return format_bytes(self.hardware.memory_bytes)


def fit_for(
    base: BaseModel,
    hardware: Hardware,
    facts: DataFacts,
    *,
    dtype: str,
    lora_r: int,
    length: int,
    batch_size: int,
) -> Fit:
    """Return a fit in which no example is longer than the data's longest, nor than the model reads."""
    return Fit(
        base,
        hardware,
        facts,
        dtype,
        lora_r,
        min(length, base.context_tokens, longest_tokens(base, facts)),
        batch_size,
    )


def choose_length(usual: Fit, is_quick: Callable[[int], bool]) -> Choice[int]:
    """Return the usual length, or more where the data is longer and memory and time allow it.

    An example whose answer alone is longer cannot be trained, so the length is to hold 95 of 100 examples
    whole. Weights stay stored as `usual`, which has the usual length, stores them: they are not coarsened for
    longer examples. `is_quick` says whether a first run with a length ends in sensible time.
    """
    base, facts = usual.base, usual.facts
    if longest_tokens(base, facts) < USUAL_LENGTH:
        return Choice(USUAL_LENGTH, say("longer than every example in the data"), "data")
    wanted = -(-long_tokens(base, facts) // LENGTH_STEP) * LENGTH_STEP
    highest = min(wanted, LONGEST_LENGTH, base.context_tokens)
    for length in range(highest, USUAL_LENGTH, -LENGTH_STEP):
        if usual.fits(length=length, gradient_checkpointing=True) and is_quick(length):
            return Choice(length, _why_longer(length, wanted, highest), "data")
    if wanted > USUAL_LENGTH and highest > USUAL_LENGTH:
        return Choice(USUAL_LENGTH, _NO_LONGER, "hardware")
    return Choice(USUAL_LENGTH, say("long enough for most questions and answers"), "default")


def _why_longer(length: int, wanted: int, highest: int) -> Message:
    if length == wanted:
        return say("about 95 of 100 examples fit completely")
    if length == highest:
        return say("longer than usual, as the examples are long")
    return say("longer than usual, as the examples are long; more would not fit or would take too long")
