"""The last block only where it is read: prompt tokens give it keys and values, and nobody asks what follows
of them.

Queries are still made of all tokens, beside keys and values: 0.3 % of the products of SmolLM2-135M, if
nothing were trained.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from .forward import WANTED
from .mlp import GatedMlp

OUTPUT = "o_proj"  # the product that ends attention


class LastBlock(nn.Module):
    """In the place of a model's last block during training: attention, then all the rest at the wanted places
    alone.
    """

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.input_layernorm, self.self_attn = (
            block.get_submodule("input_layernorm"),
            block.get_submodule("self_attn"),
        )
        self.post_attention_layernorm, self.mlp = (
            block.get_submodule("post_attention_layernorm"),
            block.get_submodule("mlp"),
        )
        self.train(block.training)

    @staticmethod
    def fits(block: nn.Module) -> bool:
        """Return whether a block is made of exactly these parts. That they are put together in this way is
        compared by numbers.
        """
        parts = dict(block.named_children())
        names = {"input_layernorm", "self_attn", "post_attention_layernorm", "mlp"}
        return (
            set(parts) == names and isinstance(parts["mlp"], GatedMlp) and hasattr(parts["self_attn"], OUTPUT)
        )

    def forward(self, hidden_states: Tensor, **given: Any) -> Tensor:
        """hidden_states (1, tokens, hidden) → (1, wanted, hidden)."""
        wanted = given[WANTED]
        with _only(self.self_attn.get_submodule(OUTPUT), wanted):
            attended, _ = self.self_attn(hidden_states=self.input_layernorm(hidden_states), **given)
        hidden_states = attended + (hidden_states if wanted is None else hidden_states[:, wanted])
        return hidden_states + self.mlp(self.post_attention_layernorm(hidden_states))  # type: ignore[no-any-return]


@contextmanager
def _only(layer: nn.Module, wanted: Tensor | None) -> Iterator[None]:
    """While the block runs, the layer takes only the wanted places of its input (1, tokens, width). Its name
    in the model stays as it is.
    """
    if wanted is None:
        yield
        return
    hook = layer.register_forward_pre_hook(lambda _, inputs: (inputs[0][:, wanted], *inputs[1:]))
    try:
        yield
    finally:
        hook.remove()
