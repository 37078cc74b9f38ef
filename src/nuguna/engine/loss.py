"""The training loss: cross-entropy of trained tokens, summed; the caller normalises over the whole optimizer batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..data.batch import Batch


def loss_sum(model: Any, batch: Batch, head_only_on_targets: bool) -> Tensor:
    """Sum of the cross-entropies of all trained tokens of a micro-batch, a float32 scalar."""
    logits, labels = target_logits(model, batch, head_only_on_targets)
    return cross_entropy(logits.float(), labels, reduction="sum")


def target_logits(model: Any, batch: Batch, head_only_on_targets: bool) -> tuple[Tensor, Tensor]:
    """Logits (trained, vocabulary) that predict the trained tokens, and these tokens (trained,), example after example.

    With `head_only_on_targets` the vocabulary head runs only where something is learned, which saves most of its time and memory;
    `can_split_head` says for which models that is exact.
    """
    places = batch.targets[:, 1:]  # (examples, tokens - 1): where the next token is trained
    labels = batch.ids[:, 1:][places]
    if head_only_on_targets:
        hidden = decoder(model)(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False)[0]  # (examples, tokens, hidden)
        return head(model)(hidden[:, :-1][places]), labels
    return model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False).logits[:, :-1][places], labels


def decoder(model: Any) -> Any:
    """The model without its vocabulary head, adapters included (peft puts them in place)."""
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    return causal.base_model


def head(model: Any) -> Any:
    """The vocabulary head."""
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    return causal.get_output_embeddings()


@torch.no_grad()
def can_split_head(model: Any, vocab_size: int) -> bool:
    """Whether decoder and head, run apart, give the model's own logits.

    Some models scale or cap logits after the head (Gemma 2, Cohere, Granite). Rather than a list, one short
    input is compared.
    """
    if head(model) is None or decoder(model) is model:
        return False
    if model.config.get_text_config().to_dict().get("final_logit_softcapping"):
        return False  # a cap bends only large logits, which a short input need not show
    ids = torch.arange(1, 9, device=next(model.parameters()).device).remainder(vocab_size)[None]  # (1, 8)
    mask = torch.ones_like(ids)
    whole = model(input_ids=ids, attention_mask=mask, use_cache=False).logits.float()
    apart = head(model)(decoder(model)(input_ids=ids, attention_mask=mask, use_cache=False)[0]).float()
    return whole.shape == apart.shape and torch.allclose(whole, apart, rtol=1e-4, atol=1e-4)
