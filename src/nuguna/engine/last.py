"""The last block only where it is read: prompt tokens give it keys and values, and nobody asks what its MLP makes of them."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from .forward import WANTED
from .mlp import GatedMlp


class LastBlock(nn.Module):
    """In the place of a model's last block during training: attention, then norm and MLP at the wanted places alone."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.input_layernorm, self.self_attn = block.input_layernorm, block.self_attn
        self.post_attention_layernorm, self.mlp = block.post_attention_layernorm, block.mlp
        self.train(block.training)

    @staticmethod
    def fits(block: nn.Module) -> bool:
        """Whether a block is made of exactly these parts. That they are put together in this way is compared by numbers."""
        parts = dict(block.named_children())
        names = {"input_layernorm", "self_attn", "post_attention_layernorm", "mlp"}
        return set(parts) == names and isinstance(parts["mlp"], GatedMlp)

    def forward(self, hidden_states: Tensor, **given: Any) -> Tensor:
        """hidden_states (1, tokens, hidden) → (1, wanted, hidden)."""
        attended, _ = self.self_attn(hidden_states=self.input_layernorm(hidden_states), **given)
        hidden_states = hidden_states + attended
        if given[WANTED] is not None:
            hidden_states = hidden_states[:, given[WANTED]]
        return hidden_states + self.mlp(self.post_attention_layernorm(hidden_states))  # type: ignore[no-any-return]
