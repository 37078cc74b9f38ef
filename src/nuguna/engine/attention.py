"""Attention over documents that lie end to end in one row: each sees itself alone, and no pad token is ever computed.

It is handed to transformers by its public AttentionInterface, as one more implementation beside `sdpa` and `eager`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

NAME = "nuguna_packed"


@contextmanager
def packed_attention(model: Any, is_wanted: bool) -> Iterator[None]:
    """Within, the model takes rows of documents and wants `document_lengths` with each call; afterwards it is as before.

    Recomputed activations (gradient checkpointing) need it during the backward pass too. transformers makes no mask for an
    implementation that it does not know, so that `document_lengths` alone says who sees whom.
    """
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    before = causal.config._attn_implementation
    if is_wanted:
        AttentionInterface.register(NAME, attend_within_documents)
        causal.set_attn_implementation(NAME)
    try:
        yield
    finally:
        if is_wanted:
            causal.set_attn_implementation(before)


def attend_within_documents(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    *,
    document_lengths: Sequence[int],
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention of each document with itself.

    query is (1, heads, tokens, head_dim), key and value (1, kv_heads, tokens, head_dim), the result (1, tokens, heads, head_dim).
    Documents of equal length that lie side by side go through together. What a model passes beyond the named arguments is not
    honoured: `forward.find_shortcuts` compares numbers before this path is taken.
    """
    groups = [(length, len(list(same))) for length, same in groupby(document_lengths)]
    sizes = [length * count for length, count in groups]
    parts = []
    # split, not slices: the gradient of each slice would be a row of zeros as wide as the whole batch
    for (length, count), *rows in zip(groups, *(torch.split(x[0], sizes, dim=1) for x in (query, key, value)), strict=True):
        q, k, v = (row.reshape(row.shape[0], count, length, -1).transpose(0, 1) for row in rows)  # (count, heads, length, dim)
        if softcap is not None:
            part = _capped(q, k, v, scaling, softcap, sliding_window)
        else:
            band = _band(length, sliding_window, query.device)
            part = scaled_dot_product_attention(
                q, k, v, attn_mask=band, is_causal=band is None, scale=scaling, enable_gqa=q.shape[1] != k.shape[1]
            )
        parts.append(part.transpose(1, 2).flatten(0, 1))  # (count * length, heads, dim)
    return torch.cat(parts)[None], None


def _band(length: int, sliding_window: int | None, device: torch.device) -> Tensor | None:
    """(length, length), true where a token is seen; None where plain causal attention says the same."""
    if sliding_window is None or length <= sliding_window:
        return None
    distance = torch.arange(length, device=device)[:, None] - torch.arange(length, device=device)[None]
    return (distance >= 0) & (distance < sliding_window)


def _capped(q: Tensor, k: Tensor, v: Tensor, scaling: float | None, softcap: float, sliding_window: int | None) -> Tensor:
    """Attention whose scores are bent into ±softcap (Gemma 2, arXiv 2408.00118, section 2); no fused kernel knows that."""
    k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], dim=1) for x in (k, v))
    scores = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scaling is None else scaling)
    scores = softcap * torch.tanh(scores / softcap)  # (count, heads, length, length)
    seen = _band(q.shape[2], sliding_window or q.shape[2] + 1, q.device)
    if seen is None:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
    return scores.masked_fill(~seen, float("-inf")).softmax(-1, dtype=torch.float32).to(q.dtype) @ v
