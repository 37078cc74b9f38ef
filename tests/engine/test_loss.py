"""The loss of the vocabulary head in chunks, and the parts that training computes by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from nuguna.engine import loss
from nuguna.engine.mlp import find_activation
from nuguna.machine.device_profile import DEVICE_PROFILES


@pytest.mark.parametrize("rows", [1, 3, 64])
@pytest.mark.parametrize("has_bias", [False, True])
def test_in_chunks_of_any_size_it_is_the_cross_entropy(rows: int, has_bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss, "LOGITS_BYTES", rows * 4 * 50)
    monkeypatch.setitem(DEVICE_PROFILES, "cpu", replace(DEVICE_PROFILES["cpu"], softmax_bytes=2 * 4 * 50))
    hidden, weight = torch.randn(10, 8), 3 * torch.randn(50, 8)
    bias, labels = torch.randn(50) if has_bias else None, torch.randint(0, 50, (10,))
    totals, gradients = [], []
    functions: tuple[Callable[[torch.Tensor], torch.Tensor], ...] = (
        lambda x: loss.chunked_loss(x, weight, bias, labels),
        lambda x: functional.cross_entropy(functional.linear(x, weight, bias), labels, reduction="sum"),
    )
    for function in functions:
        x = hidden.clone().requires_grad_()
        total = function(x)
        (total / 7).backward()
        totals.append(total.detach())
        gradients.append(x.grad)
    torch.testing.assert_close(totals[0], totals[1], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-5, atol=1e-6)


def test_a_label_with_hardly_any_probability_has_a_finite_loss() -> None:
    weight = torch.zeros(5, 2)
    weight[0, 0] = 1000.0
    total = loss.chunked_loss(torch.tensor([[1.0, 0.0]]), weight, None, torch.tensor([3]))
    assert float(total) == 1000.0


def test_without_gradient_none_is_made() -> None:
    with torch.no_grad():
        total = loss.chunked_loss(torch.randn(4, 8), torch.randn(20, 8), None, torch.zeros(4, dtype=torch.long))
    assert not total.requires_grad and total.dtype == torch.float32


@pytest.mark.parametrize("name", ["silu", "gelu", "gelu_new", "gelu_pytorch_tanh"])
def test_the_gradient_of_an_activation_is_known_by_what_it_computes(name: str) -> None:
    from transformers.activations import ACT2FN

    activation = find_activation(ACT2FN[name])
    assert activation is not None
    x = torch.linspace(-4, 4, 50, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(ACT2FN[name](x).sum(), x)
    torch.testing.assert_close(activation[1](torch.ones_like(x), x.detach()), expected, rtol=1e-6, atol=1e-6)


def test_an_activation_that_is_not_known_is_left_alone() -> None:
    assert find_activation(torch.tanh) is None
