"""The gated MLP with LoRA, down(act(gate(x)) * up(x)), as one step by hand: what comes between its products
is computed again.

Autograd keeps gate, act(gate), up and their product, each (tokens, intermediate); here gate and up are enough
(Shazeer, GLU Variants Improve Transformer, arXiv 2002.05202, for the layer; the recomputation as in Liger
Kernel, arXiv 2410.10989, section 3).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional

from .linear import Frozen, Kept, LoraLinear, backward_products, forward_products, joined_downs
from .pool import Pool

# (its value, gradient from (gradient of the value, input))
Activation = tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]
_aten = torch.ops.aten
_ACTIVATIONS: tuple[Activation, ...] = (
    (functional.silu, _aten.silu_backward),
    (functional.gelu, _aten.gelu_backward),
    (
        lambda x: functional.gelu(x, approximate="tanh"),
        lambda dy, x: _aten.gelu_backward(dy, x, approximate="tanh"),
    ),
)


def find_activation(function: Callable[[Tensor], Tensor]) -> Activation | None:
    """Return the one of those with a known gradient that computes the same as `function`; the library has
    several classes for each.
    """
    x = torch.linspace(-6, 6, 101)
    expected = function(x)
    for activation in _ACTIVATIONS:
        # the two kinds of GELU differ by 5e-4
        if torch.allclose(activation[0](x), expected, rtol=1e-5, atol=1e-6):
            return activation
    return None


class GatedMlp(nn.Module):
    """In the place of a model's own MLP during training; its layers are the same objects under the same
    names.
    """

    def __init__(self, mlp: Any, pool: Pool) -> None:
        super().__init__()
        self.pool = pool
        self.gate_proj, self.up_proj, self.down_proj = mlp.gate_proj, mlp.up_proj, mlp.down_proj
        self.act_fn = mlp.act_fn
        self.activation = find_activation(mlp.act_fn)
        self.train(mlp.training)

    @staticmethod
    def fits(mlp: nn.Module) -> bool:
        """Return whether a module is made of exactly these parts. That they are put together in this way is
        compared by numbers.
        """
        parts = dict(mlp.named_children())
        return (
            set(parts) == {"gate_proj", "up_proj", "down_proj", "act_fn"}
            and find_activation(parts["act_fn"]) is not None
            and all(isinstance(parts[name], LoraLinear) for name in ("gate_proj", "up_proj", "down_proj"))
        )

    def forward(self, x: Tensor) -> Tensor:
        """x (..., hidden) → (..., hidden)."""
        parts = [
            m
            for m in (self.gate_proj.matrices, self.up_proj.matrices, self.down_proj.matrices)
            if m is not None
        ]
        if len(parts) < 3 or not torch.is_grad_enabled():
            return self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))  # type: ignore[no-any-return]
        frozen = [(m.weight, m.bias, m.scale) for m in parts]
        flat = x.reshape(-1, x.shape[-1])  # (tokens, hidden)
        y = _GatedMlp.apply(
            flat, Kept(x), frozen, self.activation, self.pool, *[m.a for m in parts], *[m.b for m in parts]
        )  # type: ignore[no-untyped-call]
        return y.reshape(x.shape)  # type: ignore[no-any-return]


class _GatedMlp(torch.autograd.Function):
    """x (tokens, hidden), then a of gate, up and down, then b of each → (tokens, hidden)."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x: Tensor,
        kept: Kept,
        frozen: Frozen,
        activation: Activation,
        pool: Pool,
        *adapters: Tensor,
    ) -> Tensor:
        a_gate, a_up, a_down, *ups = (p.to(x.dtype) for p in adapters)
        downs = joined_downs([a_gate, a_up], x.dtype)
        kept_products = [pool.take(len(x), len(b), x.dtype) for b in ups[:2]]
        (gate, up), inner = forward_products(x, frozen[:2], downs, ups[:2], kept_products)
        (y,), inner_down = forward_products(activation[0](gate).mul_(up), frozen[2:], a_down, ups[2:])
        # all of them with autograd, which forgets them where activations are computed twice
        ctx.save_for_backward(*kept.tensors(x), inner, inner_down, downs, a_down, gate, up, *ups)
        kept.forget()
        ctx.kept, ctx.frozen, ctx.activation, ctx.pool = kept, frozen, activation, pool  # type: ignore[attr-defined]
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        source, inverse, inner, inner_down, downs, a_down, gate, up, *ups = ctx.saved_tensors
        act, act_backward = ctx.activation
        active = act(gate)
        d_product, (da_down,), (db_down,) = backward_products(
            active * up, inner_down, a_down, ups[2:], ctx.frozen[2:], [dy], needs_dx=True
        )
        assert d_product is not None
        d_up = active.mul_(d_product)
        d_gate = act_backward(d_product.mul_(up), gate)
        ctx.pool.give(gate, up)
        x = ctx.kept.flat(source, inverse)
        dx, das, dbs = backward_products(
            x, inner, downs, ups[:2], ctx.frozen[:2], [d_gate, d_up], needs_dx=ctx.needs_input_grad[0]
        )
        return dx, None, None, None, None, *das, da_down, *dbs, db_down
