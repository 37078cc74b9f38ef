"""Run a model over a flat batch: only its own tokens, and the vocabulary head only where something is
learned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..tokens.batch import Batch, collate
from ..tokens.encode import Encoded
from .attention import causal, packed_attention
from .causal_lm import CausalLM

# Largest difference that may come from adding in another order, as a share of the largest number. A document
# that sees its neighbour, or a scale that is left out, differs by far more.
ROUNDING = {torch.float32: 1e-4, torch.bfloat16: 0.05, torch.float16: 0.01}


WANTED = "wanted_places"  # the keyword by which `LastBlock` learns what is read of its output


@dataclass(frozen=True)
class Shortcuts:
    """What may be left out for this model without changing what it computes."""

    split_head: bool  # decoder and head may run apart, so that the head runs on trained places alone
    packed: bool  # documents may lie end to end, so that nothing is padded
    fused: bool  # layers may be computed by hand in training: `training_form`


CAREFUL = Shortcuts(split_head=False, packed=False, fused=False)  # a model at which nobody has looked


def target_logits(model: CausalLM, batch: Batch, shortcuts: Shortcuts) -> tuple[Tensor, Tensor]:
    """Logits (trained, vocabulary) that predict the trained tokens, and these tokens (trained,), document
    after document.
    """
    if shortcuts.split_head:
        hidden, labels = target_hidden(model, batch, shortcuts)
        output = head(model)
        assert output is not None
        return output(hidden), labels
    return _run(model, batch, shortcuts.packed)[batch.trained - 1], batch.ids[batch.trained]


def target_hidden(model: CausalLM, batch: Batch, shortcuts: Shortcuts) -> tuple[Tensor, Tensor]:
    """Return what the head would read to predict the trained tokens, (trained, hidden), and these tokens
    (trained,).
    """
    return run_decoder(model, batch, shortcuts, batch.trained - 1), batch.ids[batch.trained]


def run_decoder(model: CausalLM, batch: Batch, shortcuts: Shortcuts, wanted: Tensor) -> Tensor:
    """Return what the head would read at the places `wanted` of the row: (wanted, hidden)."""
    hidden = _run(decoder(model), batch, shortcuts.packed, wanted)
    # the last block may have left out the rest
    return hidden if len(hidden) == len(wanted) else hidden[wanted]


def _run(part: Callable[..., Any], batch: Batch, packed: bool, wanted: Tensor | None = None) -> Tensor:
    """Return the first output of decoder or model for every token of the batch: (tokens, width)."""
    if packed:
        ids, positions = batch.ids[None], batch.positions[None]  # (1, tokens)
        layout = {"document_lengths": batch.lengths, "shared_prefix": batch.prefix, WANTED: wanted}
        return part(input_ids=ids, position_ids=positions, use_cache=False, **layout)[0][0]  # type: ignore[no-any-return]
    rows = torch.repeat_interleave(torch.arange(len(batch.lengths)), torch.tensor(batch.lengths)).to(
        batch.ids.device
    )
    # (documents, longest); which token pads is all the same
    ids = batch.ids.new_zeros(len(batch.lengths), max(batch.lengths))
    mask = torch.zeros_like(ids)
    ids[rows, batch.positions], mask[rows, batch.positions] = batch.ids, 1
    return part(input_ids=ids, attention_mask=mask, use_cache=False)[0][rows, batch.positions]  # type: ignore[no-any-return]


def decoder(model: CausalLM) -> nn.Module:
    """Return the model without its vocabulary head, adapters included (peft puts them in place)."""
    return causal(model).base_model


def head(model: CausalLM) -> nn.Module | None:
    """Return the vocabulary head: (…, hidden) → (…, vocabulary)."""
    return causal(model).get_output_embeddings()


@torch.no_grad()
def find_shortcuts(model: CausalLM) -> Shortcuts:
    """Compare two short documents with the model's own way, padded and with all logits. No list of models has
    to be kept.

    Some models scale or cap logits after the head (Gemma 2, Cohere, Granite); some cannot restart positions
    within a row.
    """
    device = next(model.parameters()).device
    vocabulary = model.get_input_embeddings().weight.shape[0]
    documents = [[i % vocabulary for i in ids] for ids in (range(5, 12), range(20, 24))]
    batch = collate([Encoded(np.array(ids), np.arange(len(ids)) > 0) for ids in documents], device)
    expected, _ = target_logits(model, batch, CAREFUL)
    split = (
        head(model) is not None
        and id(decoder(model)) != id(model)
        # a cap bends only large logits, which a short input need not show
        and not model.config.get_text_config().to_dict().get("final_logit_softcapping")
        and _agrees(model, batch, Shortcuts(split_head=True, packed=False, fused=False), expected)
    )
    with packed_attention(model, True):
        packed = _agrees(model, batch, Shortcuts(split_head=False, packed=True, fused=False), expected)
    return Shortcuts(split, packed, fused=True)


def _agrees(model: CausalLM, batch: Batch, shortcuts: Shortcuts, expected: Tensor) -> bool:
    try:
        found, _ = target_logits(model, batch, shortcuts)
    except (
        TypeError,
        ValueError,
        NotImplementedError,
        RuntimeError,
    ):  # a model that does not take such a call
        return False
    if found.shape != expected.shape:
        return False
    largest = float((found.float() - expected.float()).abs().max())
    return largest <= ROUNDING[found.dtype] * float(expected.float().abs().max())
