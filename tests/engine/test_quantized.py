"""Weights of 4 and 8 bits: the same training step by hand as through the library, from weights made whole for
one product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from nuguna.base_models.checked import check_model
from nuguna.data.dataset import load_dataset
from nuguna.engine import quantized
from nuguna.engine.adapter import adapter_parameters
from nuguna.engine.forward import find_shortcuts
from nuguna.engine.linear import LoraLinear
from nuguna.engine.loss import loss_sum
from nuguna.engine.quantized import Quantized, is_quantized, problem
from nuguna.engine.training import training_form
from nuguna.errors import EnvironmentFault
from nuguna.measure.bootstrap import ratio_of
from nuguna.model.adapter import attach_adapter
from nuguna.model.load import load_base, require_quantization
from nuguna.model.losses import heldout_losses
from nuguna.tokens.batch import collate
from nuguna.tokens.encode import Encoded, encode
from nuguna.tokens.tokenizer import silence_libraries
from nuguna.train.loop import Recipe
from tests.conftest import DEMO_MODEL
from tests.training import train_model

pytest.importorskip("bitsandbytes")
BATCH = [Encoded(tuple(range(5, 5 + n)), (False,) * 3 + (True,) * (n - 3)) for n in (9, 14, 30)]


@pytest.fixture(autouse=True)
def silence() -> None:
    silence_libraries()


def tuned(place: Path, kind: str) -> Any:
    base = load_base(check_model(place), dtype="float32", device="cpu", quantization=kind).model
    model = attach_adapter(base, base_name="x", lora_r=4, lora_alpha=8, seed=1, gradient_checkpointing=False)
    for name, parameter in adapter_parameters(model).items():
        if "lora_B" in name:  # zeros would hide what the other matrix does
            torch.nn.init.normal_(parameter, std=0.1)
    return model.train()


def loss_and_gradients(model: Any, by_hand: bool) -> tuple[float, list[Tensor]]:
    shortcuts = find_shortcuts(model)
    batch = collate(BATCH, "cpu")
    for parameter in adapter_parameters(model).values():
        parameter.grad = None
    if by_hand:
        with training_form(model, shortcuts, 100):
            loss = loss_sum(model, batch, shortcuts)
            loss.backward()
    else:
        loss = loss_sum(model, batch, type(shortcuts)(split_head=False, packed=False, fused=False))
        loss.backward()
    return float(loss.detach()), [p.grad.clone() for p in adapter_parameters(model).values() if p.grad is not None]


@pytest.mark.parametrize(
    ("kind", "tolerance"), [("4bit", 1e-4), ("8bit", 0.03)]
)  # the library's 8-bit products round activations
@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gpt_neox"])
def test_a_step_by_hand_is_that_of_the_library(
    architecture: str, kind: str, tolerance: float, model_folder: Callable[..., Path]
) -> None:
    model = tuned(model_folder(architecture), kind)
    layers = [m for m in model.modules() if isinstance(m, LoraLinear)]
    assert layers and all(is_quantized(layer.base_layer) for layer in layers)
    expected, gradients = loss_and_gradients(model, by_hand=False)
    found, ours = loss_and_gradients(model, by_hand=True)
    assert found == pytest.approx(expected, rel=tolerance)
    for a, b in zip(ours, gradients, strict=True):
        assert float((a - b).norm()) <= 10 * tolerance * float(b.norm()) + 1e-6


@pytest.mark.parametrize("kind", ["4bit", "8bit"])
def test_a_model_that_has_answered_trains_from_the_same_weights(kind: str) -> None:
    """bitsandbytes lays 4-bit weights out anew when a model answers on some processors."""
    base = load_base(check_model(DEMO_MODEL), dtype="bfloat16", device="cpu", quantization=kind).model
    layer: Any = next(module for module in base.modules() if is_quantized(module))
    with torch.no_grad():
        base(torch.tensor([[5, 6, 7, 8]]))
        before = Quantized(layer).values(torch.float32)
        base.eval()(torch.tensor([[5, 6, 7, 8]]))
        x = torch.randn(3, layer.in_features, generator=torch.Generator().manual_seed(0))
        expected = layer(x)
    whole = Quantized(layer).values(torch.float32)
    assert torch.equal(whole, before) and float((x @ whole.t() - expected).norm()) < 0.02 * float(expected.norm())


@pytest.mark.parametrize(("kind", "most"), [("4bit", 0.12), ("8bit", 0.02)])
def test_the_whole_weight_is_near_the_original(kind: str, most: float) -> None:
    plain: Any = load_base(check_model(DEMO_MODEL), dtype="float32", device="cpu").model
    packed = load_base(check_model(DEMO_MODEL), dtype="float32", device="cpu", quantization=kind).model
    layers = {name: module for name, module in packed.named_modules() if is_quantized(module)}
    assert len(layers) == 7 * len(plain.model.layers)
    for name, layer in layers.items():
        expected = plain.get_submodule(name).weight
        assert float((Quantized(layer).values(torch.float32) - expected).norm()) <= most * float(expected.norm())


def test_a_quantized_model_learns_as_well(tmp_path: Path) -> None:
    """On the medical set; the loss of what it was not trained on, against that of whole weights. In float32:
    a processor without arithmetic for bfloat16 takes minutes for it.
    """
    rows = load_dataset("demo")
    loaded = load_base(check_model(DEMO_MODEL), dtype="float32", device="cpu")
    encoded = [encode(loaded.tokenizer, row, 512, loaded.eos_ids) for row in [*rows.train[:120], *rows.heldout[:24]]]
    recipe = Recipe(
        max_steps=15,
        batch_size=8,
        micro_batch_size=8,
        learning_rate=1.5e-3,
        warmup_steps=3,
        weight_decay=0.0,
        max_grad_norm=1.0,
        seed=1,
        checkpoint_every=1000,
    )
    losses = {}
    for name in ("none", "8bit", "4bit"):
        loaded = load_base(check_model(DEMO_MODEL), dtype="float32", device="cpu", quantization=name)
        model = attach_adapter(loaded.model, base_name="x", lora_r=16, lora_alpha=16, seed=1, gradient_checkpointing=False)
        shortcuts = find_shortcuts(model)
        before = ratio_of(heldout_losses(replace(loaded, model=model, shortcuts=shortcuts), encoded[120:], 8)).value
        train_model(model, encoded[:120], recipe, tmp_path / name, shortcuts=shortcuts)
        losses[name] = ratio_of(heldout_losses(replace(loaded, model=model, shortcuts=shortcuts), encoded[120:], 8)).value
        assert losses[name] < 0.8 * before
    assert losses["8bit"] == pytest.approx(losses["none"], rel=0.02), losses
    assert losses["4bit"] == pytest.approx(losses["none"], rel=0.02), losses


def test_whether_it_works_is_found_by_trying(monkeypatch: pytest.MonkeyPatch) -> None:
    assert problem("4bit", "cpu") is None and problem("8bit", "cpu") is None
    require_quantization("4bit", "cpu")
    monkeypatch.setattr(quantized.Quantized, "values", lambda self, dtype: torch.zeros(64, 128))
    assert "wrong results" in str(problem("4bit", "cpu"))
    with pytest.raises(EnvironmentFault, match="QUANTIZATION=none"):
        require_quantization("4bit", "cpu")


def test_nothing_is_printed_at_each_call(model_folder: Callable[..., Path], capfd: pytest.CaptureFixture[str]) -> None:
    for kind in ("4bit", "8bit"):
        loss_and_gradients(tuned(model_folder(), kind), by_hand=True)
    shown = capfd.readouterr()
    assert shown.out == shown.err == ""
