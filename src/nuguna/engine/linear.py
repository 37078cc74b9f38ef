"""Linear layers with LoRA, their gradients written by hand.

y = x Wᵀ + s (x Aᵀ) Bᵀ. Autograd over peft's own layer makes the wide product (x Aᵀ) Bᵀ, scales it, adds it,
and does the same backward; here the matrix product itself adds both halves, only x and the narrow x Aᵀ are
kept, and every product is of contiguous matrices (a frozen weight with any other input takes torch's slow
path, pytorch issue 186148). Layers that read the same x (queries, keys and values; gate and up) make one
narrow product of all their A's and keep x once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from typing import Any, NamedTuple

import torch
from peft.tuners.lora import Linear
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from transformers.pytorch_utils import Conv1D

from .causal_lm import CausalLM
from .norm import recipe_of
from .quantized import Quantized, Weight, dense, is_quantized


class LoraLinear(Linear):  # type: ignore[misc]
    """peft's layer, with the same names, parameters and saved form; only its training step is computed in
    another way.

    Outside training, and for whatever goes beyond plain LoRA (dropout, DoRA, several adapters, merged
    weights), it is peft's.
    """

    matrices: Matrices | None = None  # within `by_hand`: what a training step computes with
    siblings: Siblings | None = None  # layers that read the same input, this one included

    def forward(self, x: Tensor, *args: object, **kwargs: object) -> Tensor:
        if self.matrices is None or not torch.is_grad_enabled() or args or kwargs:
            return super().forward(x, *args, **kwargs)  # type: ignore[no-any-return]
        if self.siblings is not None:
            return self.siblings.output(self, x)
        return lora_outputs(x, [self.matrices])[0]

    def find_matrices(self) -> Matrices | None:
        """Return what a training step computes with; None for whatever goes beyond plain LoRA."""
        name = self.active_adapters[0] if len(self.active_adapters) == 1 else ""
        base = self.base_layer
        is_plain = (
            name in self.lora_A
            and name not in self.lora_variant
            and not self.disable_adapters
            and not self.merged
            and isinstance(self.lora_dropout[name], nn.Identity)
            and not self.lora_bias[name]
            and (type(base) in (nn.Linear, Conv1D) or is_quantized(base))
            and not base.weight.requires_grad
        )
        if not is_plain:
            return None
        weight: Weight = (
            base.weight.t()
            if isinstance(base, Conv1D)
            else Quantized(base)
            if is_quantized(base)
            else base.weight
        )
        return Matrices(
            weight, base.bias, self.lora_A[name].weight, self.lora_B[name].weight, self.scaling[name]
        )


class Matrices(NamedTuple):
    """weight (outputs, inputs) and bias frozen, a (rank, inputs) and b (outputs, rank) trained, in
    float32.
    """

    weight: Weight
    bias: Tensor | None
    a: Tensor
    b: Tensor
    scale: float


class Siblings:
    """Layers that are called one after the other with the same tensor: the first call computes all of
    them.
    """

    def __init__(self, layers: Sequence[LoraLinear]) -> None:
        self.layers = list(layers)
        self._input: Tensor | None = None
        self._ready: dict[int, Tensor] = {}

    def output(self, layer: LoraLinear, x: Tensor) -> Tensor:
        """Return what `layer` makes of x. It is asked for once; an input that is not the one before starts
        anew.
        """
        if x is not self._input or id(layer) not in self._ready:
            outputs = lora_outputs(x, [layer.matrices for layer in self.layers if layer.matrices is not None])
            self._input, self._ready = (
                x,
                {id(sibling): y for sibling, y in zip(self.layers, outputs, strict=True)},
            )
        y = self._ready.pop(id(layer))
        if not self._ready:
            self._input = None
        return y


@contextmanager
def by_hand(model: CausalLM, run: Callable[[], object]) -> Iterator[None]:
    """While the block runs, plain LoRA layers compute their training steps by hand, and those that read the
    same tensor share it.

    Which these are is seen in one call of `run`, not guessed from names.
    """
    layers = [m for m in model.modules() if isinstance(m, LoraLinear)]
    groups = _readers_of_one_tensor(layers, run)
    for layer in layers:
        layer.matrices = layer.find_matrices()
    for group in groups:
        if all(layer.matrices is not None for layer in group):
            siblings = Siblings(group)
            for layer in group:
                layer.siblings = siblings
    try:
        yield
    finally:
        for layer in layers:
            layer.matrices = layer.siblings = None


def _readers_of_one_tensor(layers: Sequence[LoraLinear], run: Callable[[], object]) -> list[list[LoraLinear]]:
    """Layers that were called one after the other with one and the same tensor."""
    calls: list[tuple[LoraLinear, Tensor]] = []
    hooks = [
        layer.register_forward_pre_hook(lambda layer, inputs: calls.append((layer, inputs[0])))
        for layer in layers
    ]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    groups = []
    # the tensors are all held in `calls`, so that no two of them share an identity
    for _, together in groupby(calls, key=lambda call: id(call[1])):
        group = [layer for layer, _ in together]
        if 1 < len(group) == len({id(layer) for layer in group}):
            groups.append(group)
    return groups


def lora_outputs(x: Tensor, parts: Sequence[Matrices]) -> tuple[Tensor, ...]:
    """Return the outputs of all layers for x (..., inputs), each (..., outputs)."""
    frozen = [(m.weight, m.bias, m.scale) for m in parts]
    outputs = _LoraProducts.apply(  # type: ignore[no-untyped-call]
        x.reshape(-1, x.shape[-1]), Kept(x), frozen, *[m.a for m in parts], *[m.b for m in parts]
    )
    return tuple(y.reshape(*x.shape[:-1], y.shape[1]) for y in outputs)


class Kept:
    """The input of layers, kept for their backward pass: itself, or what a norm made it from."""

    def __init__(self, x: Tensor) -> None:
        self.recipe = recipe_of(x)

    def tensors(self, flat: Tensor) -> tuple[Tensor, Tensor]:
        """Return what has to be saved for flat (tokens, inputs)."""
        return (flat, flat) if self.recipe is None else (self.recipe.x, self.recipe.inverse)

    def flat(self, x: Tensor, inverse: Tensor) -> Tensor:
        """Return the input (tokens, inputs) again, from what was saved."""
        if self.recipe is None:
            return x
        return replace(self.recipe, x=x, inverse=inverse).make().reshape(-1, x.shape[-1])

    def forget(self) -> None:
        """Hold no tensor: what is needed was saved with autograd, which frees it."""
        if self.recipe is not None:
            nothing = self.recipe.inverse.new_empty(0)
            self.recipe = replace(self.recipe, x=nothing, inverse=nothing)


Frozen = Sequence[tuple[Weight, "Tensor | None", float]]  # weight, bias and scale of each layer


class _LoraProducts(torch.autograd.Function):
    """x (tokens, inputs), then a of each layer, then b of each layer → the output of each layer (tokens,
    outputs).
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, x: Tensor, kept: Kept, frozen: Frozen, *adapters: Tensor
    ) -> tuple[Tensor, ...]:
        count = len(frozen)
        downs = joined_downs(adapters[:count], x.dtype)
        ups = [b.to(x.dtype) for b in adapters[count:]]
        outputs, inner = forward_products(x, frozen, downs, ups)
        ctx.save_for_backward(*kept.tensors(x), inner, downs, *ups)
        kept.forget()
        ctx.kept, ctx.frozen = kept, frozen  # type: ignore[attr-defined]
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *dys: Tensor) -> tuple[Tensor | None, ...]:
        source, inverse, inner, downs, *ups = ctx.saved_tensors
        x = ctx.kept.flat(source, inverse)
        dx, das, dbs = backward_products(
            x, inner, downs, ups, ctx.frozen, dys, needs_dx=ctx.needs_input_grad[0]
        )
        return dx, None, None, *das, *dbs


def joined_downs(downs: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    """Return the A's of all layers, one below the other: (ranks, inputs)."""
    return torch.cat([a.to(dtype) for a in downs]) if len(downs) > 1 else downs[0].to(dtype)


def forward_products(
    x: Tensor, frozen: Frozen, downs: Tensor, ups: Sequence[Tensor], places: Sequence[Tensor | None] = ()
) -> tuple[list[Tensor], Tensor]:
    """Return the outputs of the layers, written to `places` where given, and what their adapters see of x,
    (tokens, ranks).
    """
    inner = x @ downs.t()
    outputs = []
    narrows = torch.split(inner, [b.shape[1] for b in ups], dim=1)
    for (weight, bias, scale), up, narrow, y in zip(
        frozen, ups, narrows, places or [None] * len(ups), strict=True
    ):
        matrix = dense(weight, x.dtype).t()
        product = torch.mm(x, matrix, out=y) if bias is None else torch.addmm(bias, x, matrix, out=y)
        outputs.append(product.addmm_(narrow, up.t(), alpha=scale))
    return outputs, inner


def backward_products(
    x: Tensor,
    inner: Tensor,
    downs: Tensor,
    ups: Sequence[Tensor],
    frozen: Frozen,
    dys: Sequence[Tensor],
    *,
    needs_dx: bool,
) -> tuple[Tensor | None, list[Tensor], list[Tensor]]:
    """Return gradients of x (None where nobody asks), of the A's and of the B's; the latter two in
    float32.
    """
    # Of each layer y = x Wᵀ + s (x Aᵀ) Bᵀ, with inner = x Aᵀ (tokens, rank):
    #   dB = s dyᵀ inner,  d_inner = s dy B,  dx = dy W + d_inner A,  dA = d_innerᵀ x.
    # Layers that read the same x have their A's joined, one below the other: dx takes one product for all of
    # them at the end, and each dA is cut out of one product (q, k and v of rank 8: columns 0, 8 and 16 on).
    ranks = [b.shape[1] for b in ups]
    d_inner = torch.empty_like(inner)  # (tokens, ranks)
    dx: Tensor | None = None
    dbs = []
    for (weight, _, scale), up, dy, narrow, d_narrow in zip(
        frozen, ups, dys, torch.split(inner, ranks, 1), torch.split(d_inner, ranks, 1), strict=True
    ):
        dy = dy.contiguous()
        torch.mm(dy, up, out=d_narrow)
        db = (dy.t() @ narrow).float()
        if scale != 1:
            d_narrow *= scale
            db *= scale
        dbs.append(db)
        if needs_dx:
            matrix = dense(weight, dy.dtype)
            dx = dy @ matrix if dx is None else dx.addmm_(dy, matrix)
    if dx is not None:
        dx.addmm_(d_inner, downs)
    # the other way round, (ranks, tokens) times x, takes twice as long (docs/log.md)
    das = torch.split((x.t() @ d_inner).t().float(), ranks)
    return dx, list(das), dbs
