"""How much of a step is in memory at once. Less of it costs time and changes nothing of the result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from .causal_lm import CausalLM
from .sizes import LOGITS_BYTES
from .training import switch_checkpointing

MIN_CHUNK_BYTES = LOGITS_BYTES // 16


@dataclass(frozen=True)
class Limits:
    """What a step may hold at once."""

    most_tokens: int  # of a micro-batch; a single example may be longer
    checkpointing: int = 0  # 1: activations are computed twice, where the plan did not already ask for it
    chunk_bytes: int = LOGITS_BYTES  # of logits

    def less(self, longest: int, *, can_checkpoint: bool) -> Limits | None:
        """Return the next smaller limits; None if there are none. `longest`: tokens of the longest
        example.
        """
        if self.most_tokens > longest:
            return replace(self, most_tokens=max(longest, self.most_tokens // 2))
        if not self.checkpointing and can_checkpoint:
            return replace(self, checkpointing=1)
        if self.chunk_bytes > MIN_CHUNK_BYTES:
            return replace(self, chunk_bytes=MIN_CHUNK_BYTES)
        return None

    @contextmanager
    def kept(self, model: CausalLM) -> Iterator[None]:
        """While the block runs, the model computes its blocks twice if that is asked for."""
        is_new = bool(self.checkpointing) and not model.is_gradient_checkpointing
        if is_new:
            switch_checkpointing(model, is_on=True)
        try:
            yield
        finally:
            if is_new:
                switch_checkpointing(model, is_on=False)
