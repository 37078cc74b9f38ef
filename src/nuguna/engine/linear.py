"""The linear layer with LoRA, its gradients written by hand.

y = x Wᵀ + s (x Aᵀ) Bᵀ. Autograd over peft's own layer makes the wide product (x Aᵀ) Bᵀ, scales it, adds it, and does the same
backward; here the matrix product itself adds both halves, only x and the narrow x Aᵀ are kept, and every product is of contiguous
matrices (a frozen weight with any other input takes torch's slow path, pytorch issue 186148).
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable


class LoraLinear(Linear):  # type: ignore[misc]
    """peft's layer, with the same names, parameters and saved form; only its training step is computed in another way.

    Outside training, and for whatever goes beyond plain LoRA (dropout, DoRA, several adapters, merged weights), it is peft's.
    """

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        name = self.active_adapters[0] if len(self.active_adapters) == 1 else ""
        if args or kwargs or not self.training or not torch.is_grad_enabled() or not self._is_plain(name):
            return super().forward(x, *args, **kwargs)  # type: ignore[no-any-return]
        weight, bias = self.base_layer.weight, self.base_layer.bias
        a, b = (part[name].weight.to(weight.dtype) for part in (self.lora_A, self.lora_B))
        flat = x.reshape(-1, x.shape[-1])  # (tokens, inputs)
        y = _LoraProduct.apply(flat, weight, bias, a, b, self.scaling[name])  # type: ignore[no-untyped-call]
        return y.reshape(*x.shape[:-1], weight.shape[0])  # type: ignore[no-any-return]

    def _is_plain(self, name: str) -> bool:
        return (
            name in self.lora_A
            and name not in self.lora_variant
            and not self.disable_adapters
            and not self.merged
            and isinstance(self.lora_dropout[name], nn.Identity)
            and not self.lora_bias[name]
            and type(self.base_layer) is nn.Linear
        )


class _LoraProduct(torch.autograd.Function):
    """x (tokens, inputs), weight (outputs, inputs) and bias frozen, a (rank, inputs), b (outputs, rank) → (tokens, outputs)."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float) -> Tensor:
        inner = x @ a.t()  # (tokens, rank)
        y = x @ weight.t() if bias is None else torch.addmm(bias, x, weight.t())
        y.addmm_(inner, b.t(), alpha=scale)
        ctx.save_for_backward(x, inner, weight, a, b)
        ctx.scale = scale  # type: ignore[attr-defined]
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, None, None, Tensor, Tensor, None]:
        x, inner, weight, a, b = ctx.saved_tensors
        dy = dy.contiguous()
        d_inner = (dy @ b).mul_(ctx.scale)  # (tokens, rank)
        da = d_inner.t() @ x
        db = (dy.t() @ inner).mul_(ctx.scale)
        dx = (dy @ weight).addmm_(d_inner, a) if ctx.needs_input_grad[0] else None
        return dx, None, None, da, db, None
