"""What is measured: the chance that answers end, on numbers that can be worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import nuguna.measure.evaluate as evaluate
from nuguna.base_models.checked import check_model
from nuguna.engine import forward
from nuguna.engine.forward import Shortcuts
from nuguna.measure.evaluate import stop_probability
from nuguna.model.load import Loaded, load_base
from nuguna.tokens.encode import Encoded

END = 2
# two answers in one conversation, and one that the window cuts
TWO = Encoded(ids=(9, 9, 5, 6, END, 9, 7, END), loss_mask=(False, False, True, True, True, False, True, True))
PACKED = Shortcuts(split_head=True, packed=True, fused=True)
CUT = Encoded(ids=(9, 9, 5, 6), loss_mask=(False, False, True, True), cut=True)


def loaded(folder: Path) -> Loaded:
    return load_base(check_model(folder), dtype="float32", device="cpu")


def fixed_ends(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the model expect an end with the same probability everywhere."""
    real = forward.target_logits

    def target_logits(*args: Any) -> tuple[torch.Tensor, torch.Tensor]:
        logits, labels = real(*args)
        flat = torch.zeros_like(logits)
        others = logits.shape[-1] - 2
        flat[:, [0, END]] = math.log(share / 2 * others / (1 - share))  # <|endoftext|> ends an answer as well
        return flat, labels

    monkeypatch.setattr(evaluate, "target_logits", target_logits)


def test_the_chance_of_having_ended_is_counted_answer_by_answer(
    model_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = loaded(model_folder())
    fixed_ends(0.2, monkeypatch)
    found = stop_probability(Loaded(model.model, model.tokenizer, frozenset({0, END}), PACKED), [TWO, CUT], 2)
    expected = ((1 - 0.8**3) + (1 - 0.8**2)) / 2  # three places where the first could end, two for the second
    assert found == pytest.approx(expected, rel=1e-4)


def test_a_model_that_never_ends_has_no_chance(model_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    fixed_ends(1e-9, monkeypatch)
    found = stop_probability(replace(loaded(model_folder()), shortcuts=PACKED), [TWO], 1)
    assert found is not None and found < 1e-6


def test_where_every_answer_is_cut_nothing_is_known(model_folder: Callable[..., Path]) -> None:
    assert stop_probability(replace(loaded(model_folder()), shortcuts=PACKED), [CUT], 1) is None
