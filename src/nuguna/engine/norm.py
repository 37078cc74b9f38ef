"""RMSNorm that keeps its input and one number a token; autograd over a model's own keeps two float32 copies
of the input.

Its output need not be kept either: the layers that read it know by `recipe_of` how to make it again in their
backward pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable


@dataclass(frozen=True)
class NormInput:
    """What a norm's output is made of: x / rms(x), times the weight. Making it again gives the same bits."""

    x: Tensor  # (..., hidden)
    inverse: Tensor  # (..., 1): 1 / rms(x), float32
    weight: Tensor  # (hidden,)
    adds_one: bool  # Gemma keeps its weight less one, and multiplies before it rounds

    def make(self) -> Tensor:
        """Return the output."""
        normed = self.x.float() * self.inverse
        if self.adds_one:
            return normed.mul_(self.weight.float() + 1).to(self.x.dtype)
        return normed.to(self.x.dtype).mul_(self.weight)


_MADE_BY = "nuguna_recipe"


def recipe_of(y: Tensor) -> NormInput | None:
    """Return how to make y again, if it came from a norm of ours just now."""
    return getattr(y, _MADE_BY, None)


class RmsNorm(nn.Module):
    """In the place of a model's own norm during training, with the same weight (Zhang & Sennrich, arXiv
    1910.07467).
    """

    def __init__(self, norm: nn.Module, *, adds_one: bool) -> None:
        super().__init__()
        self.weight = norm.get_parameter("weight")
        self.adds_one = adds_one
        self.eps: float = _eps(norm)
        self.train(norm.training)

    @staticmethod
    def fits(norm: nn.Module) -> bool:
        """Return whether a module has a weight and an epsilon and nothing else. What it computes is compared
        by numbers.
        """
        return (
            not list(norm.children())
            and [name for name, _ in norm.named_parameters()] == ["weight"]
            and not norm.weight.requires_grad
            and _eps(norm) is not None
        )

    def forward(self, x: Tensor) -> Tensor:
        """x (..., hidden) → (..., hidden)."""
        length = torch.linalg.vector_norm(x.detach(), dim=-1, keepdim=True, dtype=torch.float32)
        inverse = (length.square_() / x.shape[-1]).add_(self.eps).rsqrt_()
        recipe = NormInput(x.detach(), inverse, self.weight, self.adds_one)
        y: Tensor = _RmsNorm.apply(x, recipe)  # type: ignore[no-untyped-call]
        setattr(y, _MADE_BY, recipe)
        return y


def _eps(norm: nn.Module) -> Any:
    return getattr(norm, "variance_epsilon", getattr(norm, "eps", None))


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, recipe: NormInput) -> Tensor:
        ctx.save_for_backward(x, recipe.inverse)
        ctx.weight = recipe.weight.float() + recipe.adds_one  # type: ignore[attr-defined]
        return recipe.make()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        """dx = (g - n mean(g n)) / rms with n = x / rms and g = dy · weight."""
        x, inverse = ctx.saved_tensors
        normed = x.float() * inverse
        g = dy.float() * ctx.weight
        mean = (g * normed).mean(-1, keepdim=True)
        return g.sub_(normed.mul_(mean)).mul_(inverse).to(x.dtype), None
