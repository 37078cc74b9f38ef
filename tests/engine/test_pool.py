"""What one step kept lies where the step before kept it, and never where something is still read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from nuguna.base_models.checked import check_model
from nuguna.engine.forward import Shortcuts
from nuguna.engine.loss import loss_sum
from nuguna.engine.mlp import GatedMlp
from nuguna.engine.pool import Pool
from nuguna.engine.training import training_form
from nuguna.model.adapter import attach_adapter
from nuguna.model.load import load_base
from nuguna.tokens.batch import collate
from nuguna.tokens.encode import Encoded

CPU = torch.device("cpu")


def test_what_was_given_back_is_taken_again_and_nothing_else() -> None:
    pool = Pool(8, CPU)
    first, second = pool.take(5, 3, torch.float32), pool.take(5, 3, torch.float32)
    assert first.data_ptr() != second.data_ptr()
    pool.give(first)
    assert pool.take(8, 3, torch.float32).data_ptr() == first.data_ptr()  # also for another number of rows
    assert pool.take(5, 3, torch.float32).data_ptr() not in (first.data_ptr(), second.data_ptr())
    longer = pool.take(9, 3, torch.float32)  # more than was foreseen
    pool.give(longer)
    assert pool.take(9, 3, torch.float32).shape == (9, 3)


def test_training_steps_use_the_same_buffers_and_two_losses_at_once_do_not(model_folder: Callable[..., Path]) -> None:
    base = load_base(check_model(model_folder()), dtype="float32", device="cpu").model
    model: Any = attach_adapter(base, base_name="x", lora_r=4, lora_alpha=8, seed=1, gradient_checkpointing=False).train()
    short = Shortcuts(split_head=True, packed=True, fused=True)
    batches = [collate([Encoded(tuple(range(9, 9 + n)), (False,) * 3 + (True,) * (n - 3))], "cpu") for n in (20, 12)]
    with training_form(model, short, 32):
        pool = next(m for m in model.modules() if isinstance(m, GatedMlp)).pool
        counts = []
        for batch in (*batches, *batches):
            loss_sum(model, batch, short).backward()
            counts.append(sum(len(free) for free in pool._free.values()))
        assert counts == [4, 4, 4, 4]  # gate and up of two blocks
        model.zero_grad()
        losses = [loss_sum(model, batch, short) for batch in batches]  # both forward before any backward
        for loss in losses:
            loss.backward()
        found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        model.zero_grad()
        for batch in batches:
            loss_sum(model, batch, short).backward()
        expected = [p.grad for p in model.parameters() if p.grad is not None]
    assert len(found) == len(expected) > 0
    assert all(torch.allclose(a, b, rtol=1e-5, atol=1e-7) for a, b in zip(found, expected, strict=True))
