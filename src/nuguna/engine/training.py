"""The form in which a model trains: the same numbers from fewer passes. Modules are put in place and taken
out again, as peft does with its layers; no library's code is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..tokens.batch import collate
from ..tokens.encode import Encoded
from .adapter import find_blocks
from .attention import packed_attention
from .causal_lm import CausalLM
from .forward import ROUNDING, Shortcuts, decoder, target_hidden
from .last import LastBlock
from .linear import by_hand
from .mlp import GatedMlp
from .norm import RmsNorm
from .pool import Pool


@contextmanager
def training_form(model: CausalLM, shortcuts: Shortcuts, most_tokens: int = 0) -> Iterator[None]:
    """While the block runs, `loss_sum` computes the model in the short way that `shortcuts` allow; afterwards
    it is as before.

    `most_tokens`: of a micro-batch, so that memory can be set aside once.
    """
    with packed_attention(model, shortcuts.packed):
        if not shortcuts.fused:
            yield
            return
        with (
            _replaced(model, Pool(most_tokens, _device(model))),
            _last_block(model, shortcuts),
            by_hand(model, lambda: _probe(model, shortcuts)),
        ):
            yield


def switch_checkpointing(model: CausalLM, *, is_on: bool) -> None:
    """Whether blocks compute their activations again in the backward pass instead of keeping them (arXiv
    1604.06174).
    """
    name = f"checkpointing_{'enable' if is_on else 'disable'}"
    # the older name ends with 6.0
    switch = getattr(model, f"activation_{name}", None) or getattr(model, f"gradient_{name}")
    switch(*([{"use_reentrant": False}] if is_on else []))


@torch.no_grad()
def _probe(model: CausalLM, shortcuts: Shortcuts) -> Tensor:
    """Return what the head would read for two short documents, at a few places."""
    documents = [
        Encoded(np.array(range(5, 12)), np.arange(7) >= 4),
        Encoded(np.array((5, 6, 7)), np.arange(3) == 2),
    ]
    return target_hidden(model, collate(documents, _device(model)), shortcuts)[0]


@contextmanager
def _last_block(model: CausalLM, shortcuts: Shortcuts) -> Iterator[None]:
    """Put `LastBlock` in its place, where it computes the same."""
    _, blocks = find_blocks(model)
    block = blocks[-1]
    if not shortcuts.packed or not LastBlock.fits(block):
        yield
        return
    expected = _probe(model, shortcuts).float()
    blocks[-1] = LastBlock(block)
    try:
        found = _probe(model, shortcuts).float()
        if float((found - expected).abs().max()) > ROUNDING[next(model.parameters()).dtype] * float(
            expected.abs().max()
        ):
            blocks[-1] = block
        yield
    finally:
        blocks[-1] = block


def _device(model: CausalLM) -> torch.device:
    return next(model.parameters()).device


@contextmanager
def _replaced(model: CausalLM, pool: Pool) -> Iterator[None]:
    """Put our modules in the place of those that compute the same."""
    found: dict[type, Callable[[Any], nn.Module] | None] = {}
    before: list[tuple[nn.Module, str, nn.Module]] = []
    for parent in list(decoder(model).modules()):
        for name, module in parent.named_children():
            if not (GatedMlp.fits(module) or RmsNorm.fits(module)):
                continue
            # one of a kind is compared, and all of the kind that have its parts are replaced
            if type(module) not in found:
                found[type(module)] = _ours_like(module, pool)
            if make := found[type(module)]:
                before.append((parent, name, module))
                setattr(parent, name, make(module))
    try:
        yield
    finally:
        for parent, name, module in before:
            setattr(parent, name, module)


def _ours_like(module: nn.Module, pool: Pool) -> Callable[[Any], nn.Module] | None:
    """Return what makes a module of ours that computes the same as this one; None when we have none."""
    if GatedMlp.fits(module):
        width = module.get_submodule("gate_proj").in_features
        return partial(GatedMlp, pool=pool) if _agree(module, GatedMlp(module, pool), width) else None  # type: ignore[arg-type]
    if RmsNorm.fits(module):
        for adds_one in (False, True):
            make = partial(RmsNorm, adds_one=adds_one)
            if _agree(module, make(module), len(module.weight)):  # type: ignore[arg-type]
                return make
    return None


def _agree(module: nn.Module, ours: nn.Module, width: int) -> bool:
    """Compare the outputs for random numbers, those that a training step would compute."""
    parameter = next(p for p in module.parameters() if p.is_floating_point())  # quantized weights are bytes
    x = torch.randn(4, width, generator=torch.Generator().manual_seed(0)).to(
        parameter.device, parameter.dtype
    )
    with torch.enable_grad():
        expected, found = module(x).detach().float(), ours(x).detach().float()
    return float((found - expected).abs().max()) <= ROUNDING[x.dtype] * float(expected.abs().max())
